/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registers.c - which general registers an instruction leaves alone.
 */
#include "vmm/soft/registers.h"

/* A register that was written, which may be a high byte of another. */
static bool is_same(const struct insn *insn, uint32_t number, bool is_byte, uint32_t reg)
{
	if (is_byte && !insn->has_rex && number >= 4 && number < 8)
		number -= 4;
	return number == reg;
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

bool registers_written(const struct step *step, uint32_t reg)
{
	const struct insn *insn = &step->insn;
	const struct effect *effect = &step->effect;
	bool is_in_opcode = effect->class == EFFECT_BYTE_SWAP || effect->class == EFFECT_POP ||
		effect->class == EFFECT_EXCHANGE_A;
	if (is_in_opcode && insn->rm == reg)
		return true;
	if (effect->class == EFFECT_LEA && insn->reg == reg)
		return true;
	if (effect->reg_is_gpr && effect->reg_is_written &&
		is_same(insn, insn->reg, effect->reg_is_byte, reg))
		return true;
	if (effect->rm_is_gpr && effect->rm_is_written && !insn->is_memory &&
		is_same(insn, insn->rm, effect->rm_is_byte, reg))
		return true;
	if (effect->vvvv_is_written && insn->vvvv == reg)
		return true;
	return reg <= CPU_RDX && writes_unnamed(step);
}

bool registers_moved(const struct step *step, uint32_t reg, int64_t *by)
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
	return reg == INSN_NONE || reg == INSN_RIP || !registers_written(step, reg);
}
