/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parts.h - what a machine without a tender consists of: its network card, its disks, its source of random numbers.
 */
#pragma once

#include "unikernel/machine/command.h"
#include "unikernel/machine/disk.h"

/* The root pointer of ACPI (0: unknown) and up to where memory is seen. */
struct parts_place {
	uint64_t rsdp, seen_end;
};

/* Finds them and makes them work; memory for them comes from the head of `region`. */
void parts_find(
	const struct command *command, const struct parts_place *place, struct pages_range *region);

/* A disk has the image: it is read into the head of `region`. False: none has. */
bool parts_read_image(struct pages_range *region, struct pages_range *ret);

/* Flags for struct boot, and what the card says of itself. */
uint32_t parts_start_card(struct boot_net *ret);

/* The disk that is the volume, or NULL. */
struct disk *parts_volume(void);

/* Before the processor sleeps: no device has a wake-up pending, and what comes from here on wakes. */
void parts_listen(bool is_listening);
/* False: some device wakes nobody, so that the sleep has to be short. */
bool parts_wake(void);
