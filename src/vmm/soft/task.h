/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.h - hardware task switches.
 */
#pragma once

#include "vmm/soft/segment.h"

enum task_how { TASK_JUMP, TASK_CALL, TASK_RETURN };

/* Switches to the TSS that `selector` names; the outgoing task goes on at `rip`. */
void task_switch(
	struct cpu *cpu, const struct op *op, uint16_t selector, enum task_how how, uint64_t rip);

/* Through a task gate of the interrupt table; pushes the event's code if it has one. */
void task_enter_by_event(struct cpu *cpu, uint16_t selector);

/* LTR, LLDT. */
void task_load_register(struct cpu *cpu, const struct op *op, uint16_t selector);
void task_load_ldt(struct cpu *cpu, const struct op *op, uint16_t selector, uint32_t vector);

/* IRET with NT set. */
void task_return(struct cpu *cpu, const struct op *op, uint64_t rip);
