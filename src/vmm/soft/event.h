/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event.h - exceptions and interrupts on their way into the guest.
 */
#pragma once

#include "vmm/soft/cpu.h"

/* What cpu_fault() has left becomes the event to deliver; false: a triple fault. */
bool event_from_fault(struct cpu *cpu);

/* An external interrupt or NMI. */
void event_external(struct cpu *cpu, uint32_t vector);

/* INT n, INT3, INTO, INT1 of `length` bytes at cpu->rip. `is_checked`: the gate's DPL counts. */
void event_software(struct cpu *cpu, uint32_t vector, uint32_t length, bool is_checked);

/* A debug trap after an instruction; dr6 has its bits. */
void event_debug_trap(struct cpu *cpu);

/* Delivers the pending event; faults on the way by cpu_fault(). */
void event_deliver(struct cpu *cpu);
