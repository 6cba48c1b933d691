/* SPDX-License-Identifier: Apache-2.0 */
/*
 * soft.h - the engine that runs CPUs in software.
 */
#pragma once

#include "vmm/cpu/engine.h"

extern const struct engine soft_engine;            /* translates 64-bit code, interprets the rest */
extern const struct engine soft_translator_engine; /* runs no program directly */
extern const struct engine soft_interpreter_engine; /* only interprets */
extern const struct engine soft_lockstep_engine;    /* both, and compares; one CPU */
extern const struct engine
	soft_mapped_engine; /* translates, and says what; see code_map.h; one CPU */

/* How many instructions the CPU has interpreted. */
uint64_t soft_instructions(const struct cpus *cpus, uint32_t cpu);
