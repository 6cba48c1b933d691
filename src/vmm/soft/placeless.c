/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placeless.c - registers that live in struct cpu.
 *
 * Memory that is written with 32 bits keeps its upper half, which a register does not: only what writes 64 bits is done
 * there. Bytes and words are not, either: whoever reads all of the register then would wait for the store.
 */
#include "vmm/soft/placeless.h"

static bool has_place(uint32_t guest)
{
	return host_register(guest) != HOST_NONE;
}

/* ADD, OR, ADC, SBB, AND, SUB, XOR, CMP between ModRM's operands, not of bytes. */
static bool is_arithmetic(const struct insn *insn)
{
	return insn->map == MAP_ONE_BYTE && insn->opcode < 0x40 && (insn->opcode & 5) == 1;
}

/* XOR and SUB of a register with itself. */
static bool is_zero(const struct insn *insn)
{
	uint32_t which = insn->opcode >> 3;
	return is_arithmetic(insn) && (which == 5 || which == 6) && !insn->is_memory &&
		insn->reg == insn->rm;
}

bool placeless_reg_is_new(const struct insn *insn)
{
	uint32_t opcode = insn->opcode;
	if (insn->operand_bytes < 4 || insn->has_vex)
		return false;
	if (insn->map == MAP_ONE_BYTE)
		return opcode == 0x63 || opcode == 0x69 || opcode == 0x6b || opcode == 0x8b ||
			is_zero(insn);
	return insn->map == MAP_0F && (opcode & 0xf6) == 0xb6; /* MOVZX, MOVSX */
}

bool placeless_rm_is_new(const struct insn *insn)
{
	return insn->map == MAP_ONE_BYTE && insn->operand_bytes >= 4 && !insn->has_vex &&
		(insn->opcode == 0x89 || insn->opcode == 0xc7);
}

static bool is_written_there(const struct insn *insn)
{
	uint32_t opcode = insn->opcode, which = insn->modrm >> 3 & 7;
	if (insn->map != MAP_ONE_BYTE || insn->operand_bytes != 8 || insn->has_vex)
		return false;
	if (opcode == 0xf7)
		return which == 2 || which == 3; /* NOT, NEG */
	return (is_arithmetic(insn) && !(opcode & 2)) || opcode == 0x81 || opcode == 0x83 ||
		opcode == 0x89 || opcode == 0xc1 || opcode == 0xc7 || opcode == 0xd1 ||
		opcode == 0xd3 || opcode == 0xff;
}

bool placeless_rm_is_memory(const struct step *step)
{
	const struct insn *insn = &step->insn;
	const struct effect *effect = &step->effect;
	bool is_bit_test = insn->map == MAP_0F && insn->opcode == 0xa3;
	return effect->class == EFFECT_MODRM && !has_place(insn->rm) && !is_bit_test &&
		!is_zero(insn) && (!effect->rm_is_written || is_written_there(insn));
}

bool placeless_swaps(const struct step *step, uint8_t *opcode)
{
	const struct insn *insn = &step->insn;
	const struct effect *effect = &step->effect;
	if (effect->class != EFFECT_MODRM || insn->is_memory || insn->map != MAP_ONE_BYTE ||
		insn->has_vex || !effect->reg_is_gpr || effect->reg_is_written ||
		!effect->rm_is_gpr || has_place(insn->reg) || !has_place(insn->rm))
		return false;
	bool is_test = insn->opcode == 0x85;
	if (!is_test && insn->opcode != 0x89 && !is_arithmetic(insn))
		return false;
	*opcode = is_test ? insn->opcode : insn->opcode ^ 2;
	return true;
}
