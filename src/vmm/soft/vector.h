/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vector.h - MMX, SSE and AVX.
 */
#pragma once

#include "vmm/soft/bind.h"
#include "vmm/soft/stub.h"

op_run *vector_bind(struct stubs *stubs, const struct insn *insn, struct op *op);

/* How an instruction that uses MXCSR differs from most. */
struct floating {
	bool is_quiet;         /* no exceptions */
	bool is_flushed;       /* to zero if MXCSR has it so, but never underflows */
	uint64_t halves;       /* bit n: its nth is a half, which is not flushed */
	const void *halves_at; /* in a register */
};

/* Its run() may be done with exceptions that are found afterwards. */
void vector_floating(struct cpu *cpu, const struct op *op,
	void (*run)(struct cpu *cpu, const struct op *op), struct floating how);

int vector_init(struct cpu *cpu, struct error *e) must_use;
void vector_done(struct cpu *cpu);

/* Drops all stubs; no op is left that has one. */
void vector_flush(struct cpu *cpu);
