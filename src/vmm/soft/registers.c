/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registers.c - which general registers an instruction leaves alone.
 */
#include "vmm/soft/registers.h"

/* The bit of a register, of which a high byte may be meant. */
static uint16_t bit_of(const struct insn *insn, uint32_t number, bool is_byte)
{
	if (is_byte && !insn->has_rex && number >= 4 && number < 8)
		number -= 4;
	return (uint16_t)(1u << (number & 15));
}

/* RAX, RCX and RDX are written without being named. */
static bool writes_unnamed(const struct step *step)
{
	const struct insn *insn = &step->insn;
	if (step->effect.class == EFFECT_PLAIN || step->effect.class == EFFECT_EXCHANGE_A)
		return true;
	if (insn->map == MAP_ONE_BYTE)
		return (insn->opcode & 0xfe) == 0xf6;
	if (insn->map == MAP_0F)
		return (insn->opcode & 0xfe) == 0xb0 || insn->opcode == 0xc7;
	return insn->map == MAP_0F3A && (insn->opcode & 0xfc) == 0x60; /* PCMPESTRI and its like */
}

void registers_find(struct step *step)
{
	const struct insn *insn = &step->insn;
	const struct effect *effect = &step->effect;
	uint32_t class = effect->class, bits = 0;
	if (class == EFFECT_BYTE_SWAP || class == EFFECT_POP || class == EFFECT_EXCHANGE_A)
		bits |= 1u << insn->rm;
	if (class == EFFECT_LEA)
		bits |= 1u << insn->reg;
	if (effect->reg_is_gpr && effect->reg_is_written)
		bits |= bit_of(insn, insn->reg, effect->reg_is_byte);
	if (effect->rm_is_gpr && effect->rm_is_written && !insn->is_memory)
		bits |= bit_of(insn, insn->rm, effect->rm_is_byte);
	if (effect->vvvv_is_written)
		bits |= 1u << insn->vvvv;
	if (writes_unnamed(step))
		bits |= 1u << CPU_RAX | 1u << CPU_RCX | 1u << CPU_RDX;
	step->written = (uint16_t)bits;
	bool moves_stack =
		class == EFFECT_PUSH || class == EFFECT_PUSH_IMMEDIATE || class == EFFECT_POP;
	step->touched = (uint16_t)(bits | (moves_stack ? 1u << CPU_RSP : 0));
}

bool registers_moved_by(const struct step *step, uint32_t reg, int64_t *by)
{
	const struct insn *insn = &step->insn;
	uint32_t class = step->effect.class, which = insn->modrm >> 3 & 7;
	*by = 0;
	if (reg == CPU_RSP) {
		bool pushes = class == EFFECT_PUSH || class == EFFECT_PUSH_IMMEDIATE;
		*by = pushes ? -8 : class == EFFECT_POP && insn->rm != CPU_RSP ? 8 : 0;
		if (*by)
			return true;
	}
	bool is_long = insn->operand_bytes == 8;
	if (class == EFFECT_LEA && insn->reg == reg && insn->base == reg &&
		insn->index == INSN_NONE && insn->address_bytes == 8 && is_long) {
		*by = insn->disp;
		return true;
	}
	bool is_sum = class == EFFECT_MODRM && insn->map == MAP_ONE_BYTE &&
		(insn->opcode == 0x81 || insn->opcode == 0x83) && (which == 0 || which == 5);
	if (is_sum && !insn->is_memory && insn->rm == reg && is_long) {
		*by = which == 0 ? (int64_t)insn->imm : -(int64_t)insn->imm;
		return true;
	}
	return !registers_written(step, reg);
}
