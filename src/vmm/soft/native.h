/* SPDX-License-Identifier: Apache-2.0 */
/*
 * native.h - runs translated code.
 */
#pragma once

#include "vmm/soft/cpu.h"

/* `is_checked`: in lock-step with the interpreter. */
int native_init(struct cpu *cpu, bool is_checked, struct error *e) must_use;
void native_done(struct cpu *cpu);

/* Whether code of the present mode is translated at all. */
bool native_can(const struct cpu *cpu);

/* Runs from cpu->rip until the loop in soft.c has to look around; may fault. */
void native_run(struct cpu *cpu);

/* Forgets what was translated from the physical page. */
void native_drop(struct cpu *cpu, guest_addr page);

/* Forgets all. */
void native_flush(struct cpu *cpu);
