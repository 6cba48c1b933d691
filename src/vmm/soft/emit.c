/* SPDX-License-Identifier: Apache-2.0 */
/*
 * emit.c - prefixes, ModRM, SIB, displacements.
 */
#include "vmm/soft/emit.h"

/*
 * Each of these is written to `at` and returns what is behind it; bytes that are not wanted are overwritten by what
 * follows.
 */
static uint8_t *put(uint8_t *at, uint32_t byte, bool is_wanted)
{
	*at = (uint8_t)byte;
	return at + is_wanted;
}

static bool is_byte(int32_t value)
{
	return value == (int8_t)value;
}

/* `unit`: what a displacement of one byte counts. */
static inline uint8_t *put_rm(
	uint8_t *at, uint32_t reg, const struct host_operand *rm, int32_t unit)
{
	static const uint8_t bytes[3] = { 0, 1, 4 };
	uint32_t top = (reg & 7) << 3, low = rm->base & 7, mod = 2;
	uint32_t sib = (uint32_t)(rm->scale << 6 | (rm->index & 7) << 3);
	int32_t disp = rm->disp;
	if (rm->base == HOST_NONE) { /* index alone: always 32 bits of displacement */
		at[0] = (uint8_t)(top | 4);
		at[1] = (uint8_t)(sib | 5);
		memcpy(at + 2, &disp, 4);
		return at + 6;
	}
	if (disp == 0 && low != 5)
		mod = 0;
	else if (unit == 1 ? is_byte(disp) : disp % unit == 0 && is_byte(disp / unit))
		mod = 1;
	if (mod == 1 && unit != 1)
		disp /= unit;
	bool has_sib = rm->index != HOST_NONE || low == 4;
	at[0] = (uint8_t)(mod << 6 | top | (has_sib ? 4 : low));
	at[1] = (uint8_t)(sib | low);
	at += 1 + has_sib;
	memcpy(at, &disp, 4);
	return at + bytes[mod];
}

/* 0: none is needed. */
static inline uint32_t rex_of(uint32_t how, uint32_t reg, uint32_t index, uint32_t base)
{
	static_assert(EMIT_WIDE == 1 && !(HOST_NONE & 8) && (HOST_NONE & 7) == 4, "REX and SIB");
	uint32_t rex = (how & EMIT_WIDE) << 3 | (reg & 8) >> 1 | (index & 8) >> 2 | (base & 8) >> 3;
	return rex || (how & EMIT_REX) ? 0x40 | rex : 0;
}

static inline uint8_t *put_opcode(
	struct emitter *to, uint8_t *at, uint32_t how, uint32_t rex, uint8_t opcode)
{
	if (how & EMIT_NO_REX)
		to->is_full |= rex != 0;
	at = put(at, rex, rex != 0);
	at = put(at, 0x0f, how & EMIT_0F);
	return put(at, opcode, true);
}

static bool is_free(uint32_t reg)
{
	return reg == HOST_T1;
}

void emit_op(struct emitter *to, uint32_t how, uint8_t opcode, uint32_t reg,
	const struct host_operand *rm)
{
	if (!emit_has_room(to))
		return;
	to->spoils |= is_free(reg);
	uint32_t rex = rex_of(how, reg, rm->index, rm->base);
	to->at = put_rm(put_opcode(to, to->at, how, rex, opcode), reg, rm, 1);
}

void emit_op_cpu(struct emitter *to, uint32_t how, uint8_t opcode, uint32_t reg, size_t offset)
{
	if (!emit_has_room(to))
		return;
	to->spoils |= is_free(reg);
	uint8_t *at = put_opcode(to, to->at, how, rex_of(how, reg, 0, 0), opcode);
	uint32_t value = (uint32_t)offset;
	bool is_short = value < 128;
	at[0] = (uint8_t)((value == 0 ? 0 : is_short ? 0x40 : 0x80) | (reg & 7) << 3 | 4);
	at[1] = 0x24;
	memcpy(at + 2, &value, 4);
	to->at = at + 2 + (value == 0 ? 0 : is_short ? 1 : 4);
}

void emit_op_reg(struct emitter *to, uint32_t how, uint8_t opcode, uint32_t reg, uint32_t rm)
{
	if (!emit_has_room(to))
		return;
	to->spoils |= is_free(reg) || is_free(rm);
	uint8_t *at = put_opcode(to, to->at, how, rex_of(how, reg, 0, rm), opcode);
	to->at = put(at, 0xc0 | (reg & 7) << 3 | (rm & 7), true);
}

void emit_slot(struct emitter *to, uint8_t by, uint32_t mask)
{
	/* rorx r11d, r14d, imm8; and r11d, imm32 */
	EMIT(to, 0xc4, 0x43, 0x7b, 0xf0, 0xde, by, 0x41, 0x81, 0xe3);
	emit_32(to, mask);
}

uint8_t *emit_place(struct emitter *to, uint32_t reg)
{
	to->spoils |= is_free(reg);
	EMIT(to, reg >= 8 ? 0x4c : 0x48, 0x8d, (uint8_t)((reg & 7) << 3 | 5), 0, 0, 0, 0);
	return to->at - 4;
}

static uint8_t *put_vex(uint8_t *at, const struct insn *insn, const struct emit_operands *o)
{
	static const uint8_t prefix[4] = { 0, 1, 2, 3 };
	uint32_t base = insn->is_memory ? o->rm.base : o->rm_reg;
	uint32_t index = insn->is_memory ? o->rm.index : 0;
	uint32_t rex = rex_of(0, o->reg, index, base);
	at[0] = 0xc4;
	at[1] = (uint8_t)((~rex & 7) << 5 | insn->map);
	at[2] = (uint8_t)(insn->w << 7 | (~o->vvvv & 15) << 3 | insn->l << 2 | prefix[insn->pp]);
	at[3] = insn->opcode;
	return at + 4;
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

static uint8_t *put_evex(uint8_t *at, const struct insn *insn, const struct emit_operands *o)
{
	uint32_t base = insn->is_memory ? o->rm.base : o->rm_reg;
	uint32_t high = insn->is_memory ? (o->rm.index & 8) >> 2 : o->rm_reg >> 3 & 2;
	emit_evex(at, insn, o->reg, high | (base >> 3 & 1), o->vvvv);
	return at + 5;
}

static uint8_t *put_legacy(
	struct emitter *to, uint8_t *at, const struct insn *insn, const struct emit_operands *o)
{
	uint32_t base = insn->is_memory ? o->rm.base : o->rm_reg;
	uint32_t index = insn->is_memory ? o->rm.index : 0;
	uint32_t how = o->how | (insn->w ? EMIT_WIDE : 0);
	at = put(at, 0xf0, insn->has_lock);
	at = put(at, 0x66, insn->has_66);
	at = put(at, 0xf3, insn->has_rep);
	at = put(at, 0xf2, insn->has_repne);
	uint32_t rex = rex_of(how, o->reg, index, base);
	if (how & EMIT_NO_REX)
		to->is_full |= rex != 0;
	at = put(at, rex, rex != 0);
	at = put(at, 0x0f, insn->map != MAP_ONE_BYTE);
	at = put(at, 0x38, insn->map == MAP_0F38);
	at = put(at, 0x3a, insn->map == MAP_0F3A);
	return put(at, insn->opcode, true);
}

static uint8_t *put_immediate(uint8_t *at, const struct insn *insn, const uint8_t *bytes)
{
	uint32_t count = insn->length - insn->immediate_at;
	bytes += insn->immediate_at;
	for (uint32_t i = 0; i < count; i++)
		at[i] = bytes[i];
	return at + count;
}

void emit_immediate(struct emitter *to, const struct insn *insn, const uint8_t *bytes)
{
	if (emit_has_room(to))
		to->at = put_immediate(to->at, insn, bytes);
}

void emit_insn(struct emitter *to, const struct insn *insn, const uint8_t *bytes,
	const struct emit_operands *operands)
{
	uint8_t *at = to->at;
	if (!emit_has_room(to))
		return;
	to->spoils |= is_free(operands->reg) || is_free(operands->vvvv) ||
		(!insn->is_memory && is_free(operands->rm_reg));
	if (insn->has_evex)
		at = put_evex(at, insn, operands);
	else if (insn->has_vex)
		at = put_vex(at, insn, operands);
	else
		at = put_legacy(to, at, insn, operands);
	if (insn->is_memory)
		at = put_rm(at, operands->reg, &operands->rm, insn->has_evex ? insn->disp_unit : 1);
	else
		at = put(at, 0xc0 | (operands->reg & 7) << 3 | (operands->rm_reg & 7), true);
	to->at = put_immediate(at, insn, bytes);
}
