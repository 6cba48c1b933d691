/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bind.h - what each room of instructions offers: the run() for a decoded instruction.
 *
 * Each *_bind() returns NULL if the instruction is none of its own. `op` has its general fields from
 * op_fill(); a room may change them, say for operands of another width.
 */
#pragma once

#include "vmm/soft/cpu.h"
#include "vmm/soft/decode.h"

typedef op_run *op_bind(const struct insn *insn, struct op *op);

/* The general fields of `op`, for an instruction at `offset` of its page. */
void op_fill(const struct insn *insn, uint32_t offset, struct op *op);

/* Sets op->bytes and the byte offsets of reg and rm for operands of that width. */
void op_set_bytes(const struct insn *insn, struct op *op, uint32_t bytes);

/* For handlers: what the memory operand is used for (with op->memory_bytes). */
static inline void op_set_access(struct op *op, uint32_t bytes, uint32_t access)
{
	op->memory_bytes = (uint8_t)bytes;
	op->access = (uint8_t)access;
}

op_run *op_undefined(void); /* a run() that raises #UD */
op_run *op_too_long(void);  /* #GP: over 15 bytes */
