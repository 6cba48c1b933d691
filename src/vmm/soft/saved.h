/* SPDX-License-Identifier: Apache-2.0 */
/*
 * saved.h - a CPU of the software engine to and from struct cpu_state.
 */
#pragma once

#include "vmm/soft/cpu.h"

void saved_from(struct cpu *cpu, struct cpu_state *state);

/* -EINVAL if the version is another one or a register holds what the CPU cannot. */
int saved_to(struct cpu *cpu, const struct cpu_state *state) must_use;

/* As after the INIT message. */
void saved_init(struct cpu *cpu);
