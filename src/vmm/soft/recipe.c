/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recipe.c - which instruction made the flags, and how it is done again.
 */
#include "vmm/soft/recipe.h"

#include "vmm/soft/registers.h"

/* Of the eight operations in two operands. */
#define ALU_ADD 0
#define ALU_SUB 5
#define ALU_CMP 7

/* Its operands, if they are registers or constants of one size. */
static bool take_operands(const struct step *step, struct recipe *to)
{
	const struct insn *insn = &step->insn;
	uint32_t opcode = insn->opcode, form = opcode & 7;
	bool is_test =
		(opcode & 0xfe) == 0x84 || (opcode & 0xfe) == 0xa8 || (opcode & 0xfe) == 0xf6;
	if (insn->map != MAP_ONE_BYTE || insn->has_vex)
		return false;
	to->bytes = opcode & 1 ? insn->operand_bytes : 1;
	to->second = INSN_NONE;
	to->imm = (int32_t)insn->imm;
	if (opcode < 0x40) {
		to->which = opcode >> 3 & 7;
		to->first = form < 2 ? insn->rm : form < 4 ? insn->reg : CPU_RAX;
		if (form < 4)
			to->second = form < 2 ? insn->reg : insn->rm;
	} else if (opcode >= 0x80 && opcode <= 0x83 && opcode != 0x82) {
		to->which = insn->modrm >> 3 & 7;
		to->first = insn->rm;
	} else if (is_test) {
		to->which = RECIPE_TEST;
		to->first = (opcode & 0xfe) == 0xa8 ? CPU_RAX : insn->rm;
		if ((opcode & 0xfe) == 0x84)
			to->second = insn->reg;
		if ((opcode & 0xfe) == 0xf6 && (insn->modrm >> 3 & 7) > 1)
			return false;
	} else {
		return false;
	}
	return to->bytes != 2;
}

static bool is_high_byte(const struct recipe *of, const struct insn *insn, uint32_t reg)
{
	return of->bytes == 1 && !insn->has_rex && reg >= 4 && reg < 8;
}

static bool understand(const struct step *step, struct recipe *to)
{
	const struct insn *insn = &step->insn;
	uint32_t class = step->effect.class;
	bool has_both = insn->has_modrm && !insn->is_memory;
	if ((class != EFFECT_MODRM && class != EFFECT_PLAIN) || !take_operands(step, to))
		return false;
	bool is_logic = to->which == 1 || to->which == 4 || to->which == 6;
	bool is_sum = to->which == ALU_ADD || to->which == ALU_SUB;
	bool compares = to->which == ALU_CMP || to->which == RECIPE_TEST;
	/* Of the result alone, which is in a register though the other operand may have been in memory. */
	bool in_reg = insn->opcode < 0x40 && (insn->opcode & 7) >= 2;
	if (class == EFFECT_MODRM && !has_both && !(is_logic && in_reg))
		return false;
	if (is_high_byte(to, insn, to->first))
		return false;
	if (is_logic || (to->which == ALU_SUB && to->second == to->first)) {
		to->which = RECIPE_TEST;
		to->second = to->first;
		return true;
	}
	if (to->second != INSN_NONE && is_high_byte(to, insn, to->second))
		return false;
	return compares || (is_sum && to->second != to->first && to->bytes >= 4);
}

/* Nothing is known of others. */
static bool is_known(const struct step *step)
{
	switch (step->effect.class) {
	case EFFECT_MODRM:
	case EFFECT_VECTOR:
	case EFFECT_PUSH:
	case EFFECT_PUSH_IMMEDIATE:
	case EFFECT_POP:
	case EFFECT_NOTHING:
	case EFFECT_PLAIN:
	case EFFECT_LEA:
	case EFFECT_MOVE_IMMEDIATE:
	case EFFECT_BYTE_SWAP:
	case EFFECT_EXCHANGE_A:
	case EFFECT_CONDITION:
		return !(step->effect.needs & LIVE_X87);
	default:
		return false;
	}
}

bool recipe_find(const struct writing *w, uint32_t count, struct recipe *ret)
{
	uint32_t at = count;
	while (at > 0 && !w->steps[at - 1].effect.touches) {
		if (!is_known(&w->steps[--at]))
			return false;
	}
	struct recipe found = { .is_there = true };
	if (at == 0 || w->steps[at - 1].effect.kills != EFFECT_FLAGS ||
		!understand(&w->steps[at - 1], &found))
		return false;
	int64_t moved = 0, by;
	for (; at < count; at++) {
		const struct step *step = &w->steps[at];
		if (!registers_moved(step, found.first, &by) ||
			(found.second != INSN_NONE && found.second != found.first &&
				registers_written(step, found.second)))
			return false;
		moved += by;
	}
	if (found.second == CPU_RSP || (found.first == CPU_RSP && found.bytes != 8))
		return false;
	if (moved && (found.bytes != 8 || moved != (int32_t)moved))
		return false;
	found.moved = (int32_t)moved;
	*ret = found;
	return true;
}

static void get(struct emitter *to, uint32_t target, uint32_t guest)
{
	uint32_t host = host_register(guest);
	if (host == HOST_NONE)
		emit_load(to, target, offsetof(struct cpu, r) + 8 * guest);
	else
		emit_move(to, target, host);
}

/* T1 = T1 op T2, or the constant. */
static void operate(struct emitter *to, const struct recipe *recipe, uint32_t which)
{
	uint32_t wide = recipe->bytes == 8 ? EMIT_WIDE : 0, form = recipe->bytes == 1 ? 0 : 1;
	bool is_test = which == RECIPE_TEST;
	if (recipe->second != INSN_NONE) {
		uint8_t opcode = (uint8_t)((is_test ? 0x84 : which << 3) | form);
		emit_op_reg(to, wide, opcode, HOST_T2, HOST_T1);
		return;
	}
	emit_op_reg(
		to, wide, (uint8_t)((is_test ? 0xf6 : 0x80) | form), is_test ? 0 : which, HOST_T1);
	if (recipe->bytes == 1)
		EMIT(to, (uint8_t)recipe->imm);
	else
		emit_32(to, (uint32_t)recipe->imm);
}

void recipe_write(struct writing *w, const struct recipe *recipe)
{
	struct emitter *to = &w->to;
	int32_t moved = recipe->moved + (recipe->first == CPU_RSP ? recipe->stack_moved : 0);
	get(to, HOST_T1, recipe->first);
	if (recipe->second != INSN_NONE)
		get(to, HOST_T2, recipe->second);
	if (moved) {
		struct host_operand at = { .base = HOST_T1, .index = HOST_NONE, .disp = -moved };
		emit_lea(to, HOST_T1, &at);
	}
	if (recipe->which == ALU_ADD || recipe->which == ALU_SUB)
		operate(to, recipe, recipe->which ^ ALU_SUB);
	operate(to, recipe, recipe->which);
}
