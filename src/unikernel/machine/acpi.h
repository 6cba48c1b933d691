/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi.h - the little that is read of a machine's ACPI tables: interrupt controllers, virtio devices that are windows
 * of memory, the power button, and how a machine without fixed registers is turned off.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The fixed registers of the power button, and how a PC is told that a system listens. */
struct acpi_button {
	uint32_t line; /* of interrupts */
	uint16_t event, event_bytes, control;
	uint16_t command; /* a port, or 0: a system is taken for granted */
	uint8_t enable;
};

struct acpi_takers {
	void (*controller)(uint64_t physical, uint32_t first_line);
	void (*window)(uint64_t physical, uint32_t line);
	void (*button)(const struct acpi_button *button);
	void (*off)(
		uint64_t physical, uint8_t value); /* a byte that is written there turns it off */
};

/* The root pointer is at `rsdp`, or where a PC's firmware has it if that is 0; memory is seen up to `seen_end`. */
void acpi_read(uint64_t rsdp, uint64_t seen_end, const struct acpi_takers *takers);
