/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msr.h - model-specific registers.
 */
#pragma once

#include "vmm/soft/cpu.h"

/* false: #GP. */
bool msr_read(struct cpu *cpu, uint32_t msr, uint64_t *ret);
bool msr_write(struct cpu *cpu, uint32_t msr, uint64_t value);
