/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generate_string.c - MOVS, STOS and LODS forwards; with REP what lies in one page at each end.
 *
 * The rest is the interpreter's: other directions, more than a page, the comparing ones.
 */
#include "vmm/soft/generate_string.h"

#include "vmm/soft/hold.h"

static const struct host_operand at_t1 = { .base = HOST_T1, .index = HOST_NONE };

static uint32_t bytes_of(const struct insn *insn)
{
	return insn->opcode & 1 ? insn->operand_bytes : 1;
}

static void check_direction(struct writing *w)
{
	emit_op_cpu(&w->to, 0, 0xf7, 0, AT(rflags_rest)); /* test */
	emit_32(&w->to, FLAG_DF);
	block_callout_if(w, 5);
}

/* MOV between a register and [T1], of 1 to 8 bytes. */
static void move_value(struct writing *w, uint32_t bytes, bool is_load, uint32_t reg)
{
	if (bytes == 2)
		EMIT(&w->to, 0x66);
	uint8_t opcode = (uint8_t)((is_load ? 0x8a : 0x88) | (bytes > 1));
	emit_op(&w->to, bytes == 8 ? EMIT_WIDE : 0, opcode, reg, &at_t1);
}

static void advance(struct writing *w, uint32_t reg, uint32_t bytes)
{
	struct host_operand next = {
		.base = (uint8_t)reg, .index = HOST_NONE, .disp = (int32_t)bytes
	};
	emit_lea(&w->to, reg, &next);
}

static void one_element(struct writing *w, uint32_t kind, uint32_t bytes)
{
	if (kind != STRING_STORE) {
		emit_move(&w->to, HOST_T1, HOST_RSI);
		block_access(w, bytes, ACCESS_READ, false, true);
		move_value(w, bytes, true, kind == STRING_LOAD ? HOST_RAX : HOST_T2);
	}
	if (kind == STRING_MOVE)
		emit_store(&w->to, AT(native_value), HOST_T2);
	if (kind != STRING_LOAD) {
		emit_move(&w->to, HOST_T1, HOST_RDI);
		block_access(w, bytes, ACCESS_WRITE, false, true);
		if (kind == STRING_MOVE)
			emit_load(&w->to, HOST_T2, AT(native_value));
		move_value(w, bytes, false, kind == STRING_MOVE ? HOST_T2 : HOST_RAX);
		advance(w, HOST_RDI, bytes);
	}
	if (kind != STRING_STORE)
		advance(w, HOST_RSI, bytes);
}

static uint8_t scale_of(uint32_t bytes)
{
	return (uint8_t)__builtin_ctz(bytes);
}

/* T2 = host address of the first element; all RCX of them are in its page, or it leaves. */
static void whole_operand(struct writing *w, uint32_t reg, uint32_t bytes, uint32_t access)
{
	struct host_operand sum = { .base = HOST_T1, .index = HOST_T2 };
	struct host_operand end = { .base = HOST_T1, .index = HOST_RCX, .scale = scale_of(bytes) };
	emit_move(&w->to, HOST_T1, reg);
	block_access(w, 1, access, false, false);
	emit_lea(&w->to, HOST_T2, &sum);
	emit_lea(&w->to, HOST_T1, &end);
	emit_op_reg(&w->to, EMIT_WIDE, 0x81, 7, HOST_T1); /* cmp */
	emit_32(&w->to, (uint32_t)GUEST_PAGE);
	block_callout_if(w, 7);
}

/* Native REP with the host's addresses; the guest's new ones wait in T1 and T2. */
static void repeat(struct writing *w, uint32_t kind, uint32_t bytes)
{
	struct emitter *to = &w->to;
	struct host_operand end_1 = {
		.base = HOST_RDI, .index = HOST_RCX, .scale = scale_of(bytes)
	};
	struct host_operand end_2 = {
		.base = HOST_RSI, .index = HOST_RCX, .scale = scale_of(bytes)
	};
	const struct insn *insn = &step_now(w)->insn;
	emit_op_reg(to, EMIT_WIDE, 0x85, HOST_RCX, HOST_RCX); /* test */
	uint8_t *none = emit_jcc(to, 4);
	emit_op_reg(to, EMIT_WIDE, 0x81, 7, HOST_RCX); /* cmp */
	emit_32(to, (uint32_t)GUEST_PAGE / bytes);
	block_callout_if(w, 7);
	whole_operand(w, HOST_RDI, bytes, ACCESS_WRITE);
	if (kind == STRING_MOVE) {
		emit_store(to, AT(native_value), HOST_T2);
		whole_operand(w, HOST_RSI, bytes, ACCESS_READ);
		emit_lea(to, HOST_T1, &end_1);
		emit_load(to, HOST_RDI, AT(native_value));
		emit_store(to, AT(native_value), HOST_T2);
		emit_lea(to, HOST_T2, &end_2);
		emit_load(to, HOST_RSI, AT(native_value));
	} else {
		emit_lea(to, HOST_T1, &end_1);
		emit_move(to, HOST_RDI, HOST_T2);
	}
	if (bytes == 2)
		EMIT(to, 0x66);
	EMIT(to, 0xf3);
	if (bytes == 8)
		EMIT(to, 0x48);
	EMIT(to, insn->opcode);
	emit_move(to, HOST_RDI, HOST_T1);
	if (kind == STRING_MOVE)
		emit_move(to, HOST_RSI, HOST_T2);
	emit_set_target(none, to->at);
}

bool generate_string(struct writing *w)
{
	const struct insn *insn = &step_now(w)->insn;
	uint32_t bytes = bytes_of(insn);
	uint32_t kind = (insn->opcode & 0xfe) == 0xa4 ? STRING_MOVE
		: (insn->opcode & 0xfe) == 0xaa       ? STRING_STORE
						      : STRING_LOAD;
	bool repeats = insn->has_rep || insn->has_repne;
	if (insn->address_bytes != 8 || (repeats && kind == STRING_LOAD) ||
		(insn->has_segment && insn->segment >= CPU_FS))
		return false;
	w->has_two = kind == STRING_MOVE;
	hold_begin(w);
	check_direction(w);
	if (repeats)
		repeat(w, kind, bytes);
	else
		one_element(w, kind, bytes);
	return true;
}
