/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bind.c - the fields of an op that every instruction has.
 */
#include "vmm/soft/bind.h"

static uint8_t register_at(const struct insn *insn, uint32_t number, uint32_t bytes)
{
	if (bytes == 1 && !insn->has_rex && !insn->has_vex && number >= 4 && number < 8)
		return (uint8_t)((number - 4) * 8 + 1); /* AH CH DH BH */
	return (uint8_t)(number * 8);
}

void op_set_bytes(const struct insn *insn, struct op *op, uint32_t bytes)
{
	op->bytes = (uint8_t)bytes;
	op->reg = register_at(insn, insn->reg, bytes);
	op->rm = register_at(insn, insn->rm, bytes);
	if (insn->is_memory)
		op_set_access(op, bytes, ACCESS_READ);
}

void op_fill(const struct insn *insn, uint32_t offset, struct op *op)
{
	*op = (struct op){
		.disp = insn->disp,
		.imm = insn->imm,
		.offset = (uint16_t)offset,
		.length = insn->length,
		.base = (uint8_t)(insn->base * 8),
		.index = (uint8_t)(insn->index * 8),
		.scale = insn->scale,
		.segment = insn->segment,
		.address_bytes = insn->address_bytes,
	};
	op->flags = (uint8_t)((insn->is_memory ? OP_MEMORY : 0) | (insn->has_lock ? OP_LOCK : 0) |
		(insn->has_rep ? OP_REP : 0) | (insn->has_repne ? OP_REPNE : 0) |
		(insn->code_bytes == 8 ? OP_LONG : 0));
	if (insn->base == INSN_RIP)
		op->disp += offset + insn->length;
	op_set_bytes(insn, op, insn->operand_bytes);
}

static const struct op *undefined(struct cpu *cpu, const struct op *op)
{
	fault_ud(cpu, op);
}

op_run *op_undefined(void)
{
	return undefined;
}

static const struct op *too_long(struct cpu *cpu, const struct op *op)
{
	fault_gp(cpu, op);
}

op_run *op_too_long(void)
{
	return too_long;
}
