/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fpu.h - x87, and the instructions that save and load the vector state.
 */
#pragma once

#include "vmm/soft/bind.h"
#include "vmm/soft/stub.h"

op_run *x87_bind(struct stubs *stubs, const struct insn *insn, struct op *op);
op_bind fpu_bind;

/* The XSAVE image, standard format, of struct cpu_state. */
void fpu_save(const struct cpu *cpu, uint8_t *image);
void fpu_load(struct cpu *cpu, const uint8_t *image);
