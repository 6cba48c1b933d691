/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power.h - ACPI's fixed registers (power button, sleep, timer, general events), and the old ways to
 * reset a PC: keyboard controller and port 0x92.
 */
#pragma once

#include "vmm/bus.h"
#include "vmm/state.h"
#include "vmm/wires.h"

#define POWER_PORT        0x600
#define POWER_PORT_BYTES  0x80
#define POWER_PM1_EVENT   0x00
#define POWER_PM1_CONTROL 0x04
#define POWER_TIMER       0x08
#define POWER_GPE         0x20
#define POWER_GPE_BYTES   4
#define POWER_SMI_ENABLE  0x30
#define POWER_SCI_LINE    9
#define POWER_SLEEP_OFF   0 /* SLP_TYP of S5 */

#define POWER_GPE_HOTPLUG    1u /* a PCI device came, or shall go */
#define POWER_GPE_GENERATION 5u /* the VM generation id has changed */

struct power {
	struct bus *bus;
	const struct wires *wires;
	struct region acpi, keyboard_data, keyboard_command, fast_reset;
	uint64_t timer_start_ns;
	uint16_t status, enable, control;
	uint16_t gpe_status, gpe_enable;
	uint8_t keyboard_output, keyboard_command_byte, keyboard_expects;
	bool keyboard_full;
	uint8_t fast;
	bool level;

	/* The guest wants to be reset, or off. The bus lock is held. */
	void (*reset)(void *data);
	void (*off)(void *data);
	void *data;
};

int power_init(
	struct power *power, struct bus *bus, const struct wires *wires, struct error *e) must_use;
void power_done(struct power *power);
void power_reset(struct power *power);

/* Presses the power button / raises a general event. The bus lock is held. */
void power_button(struct power *power);
void power_event(struct power *power, uint32_t gpe);

void power_save(const struct power *power, struct state *state);
int power_load(struct power *power, const struct state *state, struct error *e) must_use;
