/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opmask.h - instructions between the mask registers of AVX-512, memory and general registers.
 */
#pragma once

#include "vmm/soft/bind.h"
#include "vmm/soft/stub.h"

struct opmask {
	uint8_t bytes; /* of the mask, and of the memory operand */
	bool reg_is_gpr, rm_is_gpr, has_vvvv, has_immediate, sets_flags, is_store;
};

/* False if the instruction is none of them, or this host has none. */
bool opmask_of(const struct insn *insn, struct opmask *ret);

op_run *opmask_bind(struct stubs *stubs, const struct insn *insn, struct op *op);
