/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fallback.h - the interpreter for what is not translated.
 */
#pragma once

#include "vmm/soft/cpu.h"

/* One instruction at cpu->rip; sets cpu->rip to the next. May fault. */
void fallback_one(struct cpu *cpu);

/* A few dozen, or fewer. */
void fallback_some(struct cpu *cpu);

/* As fallback_cold() if the ops at cpu->rip are found by its address, else false. */
bool fallback_known(struct cpu *cpu);

/*
 * The block at cpu->rip and those behind it, until one is to be translated or the loop has to look around; false if it
 * is the first. cpu->link stays for cache_find().
 */
bool fallback_cold(struct cpu *cpu);

/* LIVE_... that the host's registers may hold now. */
uint32_t fallback_available(const struct cpu *cpu);
