/* SPDX-License-Identifier: Apache-2.0 */
/*
 * soft.h - an x86-64 CPU in software.
 */
#pragma once

#include "vmm/cpu/engine.h"

extern const struct engine soft_engine;

/* Instructions that the CPU has done, about: those since the last taken branch may be missing. */
uint64_t soft_instructions(const struct cpus *cpus, uint32_t cpu);
