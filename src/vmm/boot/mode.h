/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mode.h - a CPU in the mode in which a boot protocol starts: flat protected, or 64-bit.
 */
#pragma once

#include "vmm/cpu/state.h"
#include "vmm/guest.h"

/* 32-bit, flat segments, no paging, interrupts off. */
void mode_protected(struct cpu_state *state, uint64_t entry);

/* 64-bit, the first 4 GiB mapped at their own addresses, interrupts off. Writes tables to memory. */
int mode_long(struct cpu_state *state, struct guest *guest, uint64_t entry) must_use;

/* The PIC's interrupts and the NMI reach this CPU, as a PC's firmware leaves it. */
void mode_virtual_wire(struct cpu_state *state);
