/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vector.h - MMX, SSE and AVX.
 */
#pragma once

#include "vmm/soft/bind.h"
#include "vmm/soft/stub.h"

op_run *vector_bind(struct stubs *stubs, const struct insn *insn, struct op *op);

/*
 * An instruction that uses MXCSR, whose run() may be done with exceptions that are found afterwards; none are if `is_quiet`.
 */
void vector_floating(struct cpu *cpu, const struct op *op,
	void (*run)(struct cpu *cpu, const struct op *op), bool is_quiet);

int vector_init(struct cpu *cpu, struct error *e) must_use;
void vector_done(struct cpu *cpu);

/* Drops all stubs; no op is left that has one. */
void vector_flush(struct cpu *cpu);
