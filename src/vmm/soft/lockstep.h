/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstep.h - each block twice, by the translator and by the interpreter.
 */
#pragma once

#include "vmm/soft/cpu.h"

/* Runs the block at cpu->rip; says on standard error what differs and aborts. */
void lockstep_run(struct cpu *cpu, uint32_t block);

/* Whether it was right often enough. */
bool lockstep_believes(const struct cpu *cpu, uint32_t block);
