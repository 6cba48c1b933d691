/* SPDX-License-Identifier: Apache-2.0 */
/*
 * emit.c - prefixes, ModRM, SIB, displacements.
 */
#include "vmm/soft/emit.h"

#include <string.h>

void emit_bytes(struct emitter *to, const void *bytes, uint32_t count)
{
	if ((size_t)(to->end - to->at) < count) {
		to->is_full = true;
		return;
	}
	memcpy(to->at, bytes, count);
	to->at += count;
}

void emit_32(struct emitter *to, uint32_t value)
{
	emit_bytes(to, &value, 4);
}

static bool is_byte(int32_t value)
{
	return value >= -128 && value <= 127;
}

/* `unit`: what a displacement of one byte counts. */
static void put_rm(struct emitter *to, uint32_t reg, const struct host_operand *rm, int32_t unit)
{
	uint32_t mod = 2, low = rm->base & 7;
	if (rm->disp == 0 && low != 5)
		mod = 0;
	else if (rm->disp % unit == 0 && is_byte(rm->disp / unit))
		mod = 1;
	uint32_t top = mod << 6 | (reg & 7) << 3;
	if (rm->base == HOST_NONE) { /* index alone: always 32 bits of displacement */
		uint32_t index = rm->index == HOST_NONE ? 4 : rm->index & 7;
		EMIT(to, (uint8_t)((reg & 7) << 3 | 4), (uint8_t)(rm->scale << 6 | index << 3 | 5));
		emit_32(to, (uint32_t)rm->disp);
		return;
	}
	if (rm->index != HOST_NONE || low == 4) {
		uint32_t index = rm->index == HOST_NONE ? 4 : rm->index & 7;
		EMIT(to, (uint8_t)(top | 4), (uint8_t)(rm->scale << 6 | index << 3 | low));
	} else {
		EMIT(to, (uint8_t)(top | low));
	}
	if (mod == 1)
		EMIT(to, (uint8_t)(rm->disp / unit));
	else if (mod == 2)
		emit_32(to, (uint32_t)rm->disp);
}

static uint32_t rex_of(uint32_t how, uint32_t reg, uint32_t index, uint32_t base)
{
	uint32_t rex = (how & EMIT_WIDE ? 8u : 0) | (reg & 8) >> 1 |
		(index != HOST_NONE ? (index & 8) >> 2 : 0) |
		(base != HOST_NONE ? (base & 8) >> 3 : 0);
	return rex || (how & EMIT_REX) ? 0x40 | rex : 0;
}

static void put_rex(struct emitter *to, uint32_t how, uint32_t rex)
{
	if (!rex)
		return;
	if (how & EMIT_NO_REX)
		to->is_full = true;
	EMIT(to, (uint8_t)rex);
}

static void put_opcode(struct emitter *to, uint32_t how, uint32_t rex, uint8_t opcode)
{
	put_rex(to, how, rex);
	if (how & EMIT_0F)
		EMIT(to, 0x0f);
	EMIT(to, opcode);
}

static bool is_free(uint32_t reg)
{
	return reg == HOST_T1;
}

void emit_op(struct emitter *to, uint32_t how, uint8_t opcode, uint32_t reg,
	const struct host_operand *rm)
{
	to->spoils |= is_free(reg);
	put_opcode(to, how, rex_of(how, reg, rm->index, rm->base), opcode);
	put_rm(to, reg, rm, 1);
}

void emit_op_reg(struct emitter *to, uint32_t how, uint8_t opcode, uint32_t reg, uint32_t rm)
{
	to->spoils |= is_free(reg) || is_free(rm);
	put_opcode(to, how, rex_of(how, reg, HOST_NONE, rm), opcode);
	EMIT(to, (uint8_t)(0xc0 | (reg & 7) << 3 | (rm & 7)));
}

static struct host_operand in_cpu(size_t offset)
{
	return (struct host_operand){
		.base = HOST_RSP, .index = HOST_NONE, .disp = (int32_t)offset
	};
}

void emit_load(struct emitter *to, uint32_t reg, size_t offset)
{
	struct host_operand at = in_cpu(offset);
	emit_op(to, EMIT_WIDE, 0x8b, reg, &at);
}

void emit_store(struct emitter *to, size_t offset, uint32_t reg)
{
	struct host_operand at = in_cpu(offset);
	emit_op(to, EMIT_WIDE, 0x89, reg, &at);
}

void emit_load_32(struct emitter *to, uint32_t reg, size_t offset)
{
	struct host_operand at = in_cpu(offset);
	emit_op(to, 0, 0x8b, reg, &at);
}

void emit_store_imm_32(struct emitter *to, size_t offset, uint32_t value)
{
	struct host_operand at = in_cpu(offset);
	emit_op(to, 0, 0xc7, 0, &at);
	emit_32(to, value);
}

void emit_move(struct emitter *to, uint32_t target, uint32_t source)
{
	emit_op_reg(to, EMIT_WIDE, 0x8b, target, source);
}

void emit_lea(struct emitter *to, uint32_t reg, const struct host_operand *rm)
{
	emit_op(to, EMIT_WIDE, 0x8d, reg, rm);
}

void emit_slot(struct emitter *to, uint8_t by, uint32_t mask)
{
	EMIT(to, 0xc4, 0x43, 0x7b, 0xf0, 0xde, by); /* rorx r11d, r14d, imm8 */
	emit_op_reg(to, 0, 0x81, 4, HOST_T2);       /* and */
	emit_32(to, mask);
}

uint8_t *emit_jump(struct emitter *to)
{
	EMIT(to, 0xe9, 0, 0, 0, 0);
	return to->at - 4;
}

uint8_t *emit_jcc(struct emitter *to, uint32_t condition)
{
	EMIT(to, 0x0f, (uint8_t)(0x80 | condition), 0, 0, 0, 0);
	return to->at - 4;
}

uint8_t *emit_place(struct emitter *to, uint32_t reg)
{
	to->spoils |= is_free(reg);
	EMIT(to, reg >= 8 ? 0x4c : 0x48, 0x8d, (uint8_t)((reg & 7) << 3 | 5), 0, 0, 0, 0);
	return to->at - 4;
}

void emit_set_target(uint8_t *displacement, const uint8_t *target)
{
	int32_t value = (int32_t)(target - (displacement + 4));
	memcpy(displacement, &value, sizeof(value));
}

static void put_vex(struct emitter *to, const struct insn *insn, const struct emit_operands *o)
{
	static const uint8_t prefix[4] = { 0, 1, 2, 3 };
	uint32_t base = insn->is_memory ? o->rm.base : o->rm_reg;
	uint32_t index = insn->is_memory ? o->rm.index : HOST_NONE;
	uint32_t rex = rex_of(0, o->reg, index, base);
	EMIT(to, 0xc4, (uint8_t)((~rex & 7) << 5 | insn->map),
		(uint8_t)(insn->w << 7 | (~o->vvvv & 15) << 3 | insn->l << 2 | prefix[insn->pp]),
		insn->opcode);
}

void emit_evex(
	uint8_t bytes[5], const struct insn *insn, uint32_t reg, uint32_t rm_high, uint32_t vvvv)
{
	static const uint8_t prefix[4] = { 0, 1, 2, 3 };
	bytes[0] = 0x62;
	bytes[1] = (uint8_t)((reg & 8 ? 0 : 0x80) | (rm_high & 2 ? 0 : 0x40) |
		(rm_high & 1 ? 0 : 0x20) | (reg & 16 ? 0 : 0x10) | insn->map);
	bytes[2] = (uint8_t)(insn->w << 7 | (~vvvv & 15) << 3 | 4 | prefix[insn->pp]);
	bytes[3] = (uint8_t)(insn->zeroes << 7 | insn->l << 5 | insn->extra << 4 |
		(vvvv & 16 ? 0 : 8) | insn->opmask);
	bytes[4] = insn->opcode;
}

static void put_evex(struct emitter *to, const struct insn *insn, const struct emit_operands *o)
{
	uint8_t bytes[5];
	uint32_t base = insn->is_memory ? o->rm.base : o->rm_reg;
	uint32_t high = insn->is_memory ? (o->rm.index != HOST_NONE ? o->rm.index & 8 : 0) >> 2
					: o->rm_reg >> 3 & 2;
	if (base != HOST_NONE)
		high |= base >> 3 & 1;
	emit_evex(bytes, insn, o->reg, high, o->vvvv);
	emit_bytes(to, bytes, sizeof(bytes));
}

static void put_legacy(struct emitter *to, const struct insn *insn, const struct emit_operands *o)
{
	uint32_t base = insn->is_memory ? o->rm.base : o->rm_reg;
	uint32_t index = insn->is_memory ? o->rm.index : HOST_NONE;
	uint32_t how = o->how | (insn->w ? EMIT_WIDE : 0);
	if (insn->has_lock)
		EMIT(to, 0xf0);
	if (insn->has_66)
		EMIT(to, 0x66);
	if (insn->has_rep)
		EMIT(to, 0xf3);
	if (insn->has_repne)
		EMIT(to, 0xf2);
	put_rex(to, how, rex_of(how, o->reg, index, base));
	if (insn->map != MAP_ONE_BYTE)
		EMIT(to, 0x0f);
	if (insn->map == MAP_0F38)
		EMIT(to, 0x38);
	if (insn->map == MAP_0F3A)
		EMIT(to, 0x3a);
	EMIT(to, insn->opcode);
}

void emit_insn(struct emitter *to, const struct insn *insn, const uint8_t *bytes,
	const struct emit_operands *operands)
{
	to->spoils |= is_free(operands->reg) || is_free(operands->vvvv) ||
		(!insn->is_memory && is_free(operands->rm_reg));
	if (insn->has_evex)
		put_evex(to, insn, operands);
	else if (insn->has_vex)
		put_vex(to, insn, operands);
	else
		put_legacy(to, insn, operands);
	if (insn->is_memory)
		put_rm(to, operands->reg, &operands->rm, insn->has_evex ? insn->disp_unit : 1);
	else
		EMIT(to, (uint8_t)(0xc0 | (operands->reg & 7) << 3 | (operands->rm_reg & 7)));
	emit_bytes(to, bytes + insn->immediate_at, insn->length - insn->immediate_at);
}
