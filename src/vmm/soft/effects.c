/* SPDX-License-Identifier: Apache-2.0 */
/*
 * effects.c - by opcode. What is not here is the interpreter's.
 */
#include "vmm/soft/effects.h"

#include "vmm/soft/cpu.h"
#include "vmm/soft/cpuid.h"
#include "vmm/soft/evex.h"
#include "vmm/soft/opmask.h"
#include "vmm/soft/vector_table.h"
#include "vmm/soft/x87_table.h"

#define CF  FLAG_CF
#define ALL EFFECT_FLAGS
#define DEF (FLAG_CF | FLAG_OF | FLAG_ZF | FLAG_SF)

uint16_t effect_condition(uint32_t code)
{
	static const uint16_t flags[8] = { FLAG_OF, FLAG_CF, FLAG_ZF, FLAG_CF | FLAG_ZF, FLAG_SF,
		FLAG_PF, FLAG_SF | FLAG_OF, FLAG_SF | FLAG_OF | FLAG_ZF };
	return flags[code >> 1 & 7];
}

static void set_flags(struct effect *effect, uint32_t reads, uint32_t kills, uint32_t touches)
{
	effect->reads = (uint16_t)reads;
	effect->kills = (uint16_t)kills;
	effect->touches = (uint16_t)touches;
}

/* Two operands of the integer unit; the one at reg is `reg_write`, and so on. */
static void set_modrm(
	struct effect *effect, uint32_t bytes, bool has_reg, bool reg_write, bool rm_write)
{
	effect->class = EFFECT_MODRM;
	effect->reg_is_gpr = has_reg;
	effect->reg_is_written = reg_write;
	effect->rm_is_gpr = true;
	effect->rm_is_written = effect->memory_is_written = rm_write;
	effect->memory_bytes = (uint8_t)bytes;
	effect->reg_is_byte = has_reg && bytes == 1;
	effect->rm_is_byte = bytes == 1;
}

static void set_alu_flags(struct effect *effect, uint32_t which)
{
	bool takes_carry = which == 2 || which == 3;
	set_flags(effect, takes_carry ? CF : 0, ALL, ALL);
}

static void alu_row(const struct insn *insn, struct effect *effect)
{
	uint32_t which = insn->opcode >> 3 & 7, form = insn->opcode & 7;
	uint32_t bytes = form & 1 ? insn->operand_bytes : 1;
	if (form < 4)
		set_modrm(effect, bytes, true, form >= 2 && which != 7, form < 2 && which != 7);
	else
		effect->class = EFFECT_PLAIN;
	set_alu_flags(effect, which);
	if (insn->has_lock && (form >= 2 || which == 7))
		effect->class = EFFECT_OTHER;
}

static void shift(const struct insn *insn, struct effect *effect)
{
	uint32_t which = insn->modrm >> 3 & 7;
	uint32_t bytes = insn->opcode & 1 ? insn->operand_bytes : 1;
	set_modrm(effect, bytes, false, false, true);
	uint32_t count = insn->opcode < 0xd0 ? (uint32_t)insn->imm : 1;
	count &= bytes == 8 ? 63 : 31;
	uint32_t reads = which == 2 || which == 3 ? CF : 0;
	if (count != 1)
		effect->undefined = FLAG_OF;
	if (insn->opcode >= 0xd2)
		set_flags(effect, ALL, 0, ALL);
	else if (count == 0)
		set_flags(effect, 0, 0, 0);
	else if (which < 4)
		set_flags(effect, reads, reads ? CF : CF | FLAG_OF, CF | FLAG_OF);
	else
		set_flags(effect, 0, ALL, ALL);
}

static void group3(const struct insn *insn, struct effect *effect)
{
	uint32_t which = insn->modrm >> 3 & 7;
	uint32_t bytes = insn->opcode & 1 ? insn->operand_bytes : 1;
	set_modrm(effect, bytes, false, false, which == 2 || which == 3);
	switch (which) {
	case 0:
	case 1:
		set_flags(effect, 0, ALL, ALL);
		break;
	case 2:
		break;
	case 3:
		set_flags(effect, 0, ALL, ALL);
		break;
	case 4:
	case 5:
		set_flags(effect, 0, CF | FLAG_OF, ALL);
		break;
	default:
		/* A byte's quotient has its limits at other places. */
		effect->class = bytes >= 4 ? EFFECT_DIVIDE : EFFECT_OTHER;
		break;
	}
	if (insn->has_lock && (which < 2 || which > 3))
		effect->class = EFFECT_OTHER;
}

static void group5(const struct insn *insn, struct effect *effect)
{
	uint32_t which = insn->modrm >> 3 & 7;
	uint32_t bytes = insn->opcode & 1 ? insn->operand_bytes : 1;
	if (which < 2) {
		set_modrm(effect, bytes, false, false, true);
		set_flags(effect, 0, ALL & ~CF, ALL & ~CF);
		return;
	}
	if (insn->opcode == 0xfe || insn->has_lock || insn->operand_bytes != 8)
		return;
	set_modrm(effect, 8, false, false, false);
	effect->class = which == 2 ? EFFECT_CALL_INDIRECT
		: which == 4       ? EFFECT_JUMP_INDIRECT
		: which == 6       ? EFFECT_PUSH_MEMORY
				   : EFFECT_OTHER;
}

static void plain(struct effect *effect, uint32_t reads, uint32_t kills)
{
	effect->class = EFFECT_PLAIN;
	set_flags(effect, reads, kills, kills);
}

static void one_byte(const struct insn *insn, struct effect *effect)
{
	uint32_t bytes = insn->opcode & 1 ? insn->operand_bytes : 1;
	uint32_t which = insn->modrm >> 3 & 7, opcode = insn->opcode;
	switch (opcode) {
	case 0x63:
		set_modrm(effect, 4, true, true, false);
		if (insn->operand_bytes == 2)
			effect->class = EFFECT_OTHER;
		break;
	case 0x68:
	case 0x6a:
		effect->class = insn->operand_bytes == 8 ? EFFECT_PUSH_IMMEDIATE : EFFECT_OTHER;
		break;
	case 0x69:
	case 0x6b:
		set_modrm(effect, insn->operand_bytes, true, true, false);
		set_flags(effect, 0, CF | FLAG_OF, ALL);
		break;
	case 0x80:
	case 0x81:
	case 0x83:
		set_modrm(effect, bytes, false, false, which != 7);
		set_alu_flags(effect, which);
		if (insn->has_lock && which == 7)
			effect->class = EFFECT_OTHER;
		break;
	case 0x84:
	case 0x85:
		set_modrm(effect, bytes, true, false, false);
		set_flags(effect, 0, ALL, ALL);
		break;
	case 0x86:
	case 0x87:
		set_modrm(effect, bytes, true, true, true);
		break;
	case 0x88:
	case 0x89:
		set_modrm(effect, bytes, true, false, true);
		break;
	case 0x8a:
	case 0x8b:
		set_modrm(effect, bytes, true, true, false);
		break;
	case 0x8c:
		if ((insn->modrm >> 3 & 7) < 6)
			effect->class = EFFECT_SELECTOR;
		break;
	case 0x8d:
		set_modrm(effect, insn->operand_bytes, true, true, false);
		effect->class = insn->is_memory ? EFFECT_LEA : EFFECT_OTHER;
		break;
	case 0x98:
	case 0x99:
		plain(effect, 0, 0);
		break;
	case 0x9c:
		effect->class = insn->operand_bytes == 8 ? EFFECT_PUSH_FLAGS : EFFECT_OTHER;
		set_flags(effect, ALL, 0, 0);
		break;
	case 0xa4:
	case 0xa5:
	case 0xaa:
	case 0xab:
	case 0xac:
	case 0xad:
		effect->class = EFFECT_STRING;
		break;
	case 0xfa:
	case 0xfb:
		effect->class = EFFECT_INTERRUPTS;
		break;
	case 0x9e:
		plain(effect, 0, ALL & ~FLAG_OF);
		break;
	case 0x9f:
		plain(effect, ALL & ~FLAG_OF, 0);
		break;
	case 0xa8:
	case 0xa9:
		plain(effect, 0, ALL);
		break;
	case 0xc0:
	case 0xc1:
	case 0xd0:
	case 0xd1:
	case 0xd2:
	case 0xd3:
		shift(insn, effect);
		break;
	case 0xc2:
	case 0xc3:
		effect->class = EFFECT_RETURN;
		break;
	case 0xc6:
	case 0xc7:
		set_modrm(effect, bytes, false, false, true);
		if (which != 0)
			effect->class = EFFECT_OTHER;
		break;
	case 0xc9:
		effect->class = insn->operand_bytes == 8 ? EFFECT_LEAVE : EFFECT_OTHER;
		break;
	case 0xcf:
		effect->class = insn->operand_bytes == 8 ? EFFECT_CROSSING : EFFECT_OTHER;
		set_flags(effect, ALL, 0, 0);
		break;
	case 0xe3:
		effect->class = insn->address_bytes == 8 ? EFFECT_IF_ZERO : EFFECT_OTHER;
		break;
	case 0xe8:
		effect->class = EFFECT_CALL;
		break;
	case 0xe9:
	case 0xeb:
		effect->class = EFFECT_JUMP;
		break;
	case 0xf5:
		plain(effect, CF, CF);
		break;
	case 0xf8:
	case 0xf9:
		plain(effect, 0, CF);
		break;
	case 0xfc:
	case 0xfd:
		effect->class = EFFECT_DIRECTION;
		break;
	case 0xf6:
	case 0xf7:
		group3(insn, effect);
		break;
	case 0xfe:
	case 0xff:
		group5(insn, effect);
		break;
	default:
		break;
	}
	bool may_lock = (opcode >= 0x80 && opcode <= 0x83) || opcode == 0x86 || opcode == 0x87 ||
		opcode >= 0xf6;
	if (insn->has_lock && (!may_lock || !insn->is_memory))
		effect->class = EFFECT_OTHER;
}

static void by_register(const struct insn *insn, struct effect *effect)
{
	uint8_t opcode = insn->opcode;
	if (insn->has_lock)
		return;
	if (opcode >= 0xb0) {
		effect->class = EFFECT_MOVE_IMMEDIATE;
		effect->rm_is_gpr = effect->rm_is_written = true;
		effect->rm_is_byte = opcode < 0xb8;
	} else if (opcode >= 0x90) {
		effect->class = insn->has_rep ? EFFECT_OTHER /* PAUSE */
			: insn->rm == 0       ? EFFECT_NOTHING
					      : EFFECT_EXCHANGE_A;
	} else if (insn->operand_bytes == 8) {
		effect->class = opcode < 0x58 ? EFFECT_PUSH : EFFECT_POP;
	}
}

static void bit_test(const struct insn *insn, struct effect *effect)
{
	bool is_immediate = insn->opcode == 0xba;
	uint32_t which = is_immediate ? insn->modrm >> 3 & 3 : insn->opcode >> 3 & 3;
	if (is_immediate && (insn->modrm >> 3 & 7) < 4)
		return;
	set_modrm(effect, insn->operand_bytes, !is_immediate, false, which != 0);
	set_flags(effect, 0, CF, ALL);
	/* With a register the bit may be anywhere in memory. */
	if (!is_immediate && insn->is_memory)
		effect->class = insn->operand_bytes > 2 ? EFFECT_BIT_FAR : EFFECT_OTHER;
	if (insn->has_lock && which == 0)
		effect->class = EFFECT_OTHER;
}

static void shift_double(const struct insn *insn, struct effect *effect)
{
	set_modrm(effect, insn->operand_bytes, true, false, true);
	uint32_t count = (uint32_t)insn->imm & (insn->operand_bytes == 8 ? 63 : 31);
	if (insn->opcode & 1)
		set_flags(effect, ALL, 0, ALL);
	else if (count)
		set_flags(effect, 0, ALL, ALL);
	/* More than 16 of 16 bits is undefined, and CPUs differ. */
	if (insn->operand_bytes == 2)
		effect->class = EFFECT_OTHER;
}

static void two_byte(const struct insn *insn, struct effect *effect)
{
	uint8_t opcode = insn->opcode;
	uint32_t bytes = insn->operand_bytes, which = insn->modrm >> 3 & 7;
	switch (opcode) {
	case 0x01:
		if (insn->modrm == 0xca || insn->modrm == 0xcb)
			effect->class = insn->pp == PP_NONE ? EFFECT_ACCESS : EFFECT_OTHER;
		else if (insn->modrm == 0xf8)
			effect->class = insn->pp == PP_NONE ? EFFECT_SWAP_GS : EFFECT_OTHER;
		else if (insn->modrm == 0xf9)
			effect->class = EFFECT_TIME_STAMP;
		break;
	case 0x05:
	case 0x07:
		if (opcode == 0x05 || bytes == 8)
			effect->class = EFFECT_CROSSING;
		set_flags(effect, ALL, 0, 0);
		break;
	case 0x20:
		effect->class = which == 2 || which == 3 ? EFFECT_CONTROL : EFFECT_OTHER;
		break;
	case 0x31:
		effect->class = EFFECT_TIME_STAMP;
		break;
	case 0xa3:
	case 0xab:
	case 0xb3:
	case 0xbb:
	case 0xba:
		bit_test(insn, effect);
		break;
	case 0xa4:
	case 0xa5:
	case 0xac:
	case 0xad:
		shift_double(insn, effect);
		break;
	case 0xae: /* fences */
		if (!insn->is_memory && which >= 5 && insn->pp == PP_NONE)
			effect->class = EFFECT_PLAIN;
		else if (!insn->is_memory && which < 4 && insn->pp == PP_F3)
			effect->class = EFFECT_BASE;
		break;
	case 0xaf:
		set_modrm(effect, bytes, true, true, false);
		set_flags(effect, 0, CF | FLAG_OF, ALL);
		break;
	case 0xb0:
	case 0xb1:
		set_modrm(effect, opcode & 1 ? bytes : 1, true, false, true);
		set_flags(effect, 0, ALL, ALL);
		break;
	case 0xc0:
	case 0xc1:
		set_modrm(effect, opcode & 1 ? bytes : 1, true, true, true);
		set_flags(effect, 0, ALL, ALL);
		break;
	case 0xb6:
	case 0xb7:
	case 0xbe:
	case 0xbf:
		set_modrm(effect, opcode & 1 ? 2 : 1, true, true, false);
		effect->reg_is_byte = false;
		break;
	case 0xb8:
		if (insn->pp != PP_F3)
			break;
		set_modrm(effect, bytes, true, true, false);
		set_flags(effect, 0, ALL, ALL);
		break;
	case 0xbc:
	case 0xbd:
		/* The target of BSF stays if there is no bit: it is read, too. */
		set_modrm(effect, bytes, true, true, false);
		set_flags(effect, 0, insn->pp == PP_F3 ? CF | FLAG_ZF : FLAG_ZF, ALL);
		if (insn->pp == PP_F2)
			effect->class = EFFECT_OTHER;
		break;
	case 0xc3:
		set_modrm(effect, bytes, true, false, true);
		if (!insn->is_memory || insn->pp != PP_NONE)
			effect->class = EFFECT_OTHER;
		break;
	case 0xc7:
		set_modrm(effect, bytes == 8 ? 16 : 8, false, false, true);
		set_flags(effect, 0, FLAG_ZF, FLAG_ZF);
		effect->is_aligned = bytes == 8;
		if (which != 1 || !insn->is_memory || insn->has_66)
			effect->class = EFFECT_OTHER;
		break;
	default:
		break;
	}
	bool may_lock = opcode == 0xab || opcode == 0xb3 || opcode == 0xbb || opcode == 0xba ||
		opcode == 0xb0 || opcode == 0xb1 || opcode == 0xc0 || opcode == 0xc1 ||
		opcode == 0xc7;
	if (insn->has_lock && (!may_lock || !insn->is_memory))
		effect->class = EFFECT_OTHER;
}

/* Runs of opcodes behind 0F. */
static bool two_byte_run(const struct insn *insn, struct effect *effect)
{
	uint8_t opcode = insn->opcode;
	uint16_t reads = effect_condition(opcode & 15);
	switch (opcode >> 4) {
	case 0x4:
		set_modrm(effect, insn->operand_bytes, true, true, false);
		set_flags(effect, reads, 0, 0);
		break;
	case 0x8:
		effect->class = EFFECT_CONDITION;
		set_flags(effect, reads, 0, 0);
		break;
	case 0x9:
		set_modrm(effect, 1, false, false, true);
		set_flags(effect, reads, 0, 0);
		break;
	case 0x1:
		if (opcode < 0x18)
			return false;
		effect->class = EFFECT_NOTHING;
		break;
	case 0x0:
		if (opcode != 0x0d)
			return false;
		effect->class = EFFECT_NOTHING;
		break;
	case 0xc:
		if (opcode < 0xc8)
			return false;
		effect->class = insn->operand_bytes == 2 ? EFFECT_OTHER : EFFECT_BYTE_SWAP;
		break;
	default:
		return false;
	}
	if (insn->has_lock)
		effect->class = EFFECT_OTHER;
	return true;
}

static void set_vex(const struct insn *insn, struct effect *effect, bool vvvv_write)
{
	set_modrm(effect, insn->w ? 8 : 4, true, true, false);
	effect->vvvv_is_gpr = true;
	effect->vvvv_is_written = vvvv_write;
}

/* BMI1 and BMI2. */
static bool vex_integer(const struct insn *insn, struct effect *effect)
{
	uint32_t which = insn->modrm >> 3 & 7;
	if (insn->l)
		return false;
	if (insn->map == MAP_0F3A && insn->opcode == 0xf0 && insn->pp == PP_F2) {
		set_modrm(effect, insn->w ? 8 : 4, true, true, false);
		if (insn->vvvv)
			effect->class = EFFECT_OTHER;
		return true;
	}
	if (insn->map != MAP_0F38)
		return false;
	switch (insn->opcode << 4 | insn->pp) {
	case 0xf20 | PP_NONE:
		set_vex(insn, effect, false);
		set_flags(effect, 0, DEF, ALL);
		return true;
	case 0xf30 | PP_NONE:
		set_modrm(effect, insn->w ? 8 : 4, false, false, false);
		effect->vvvv_is_gpr = effect->vvvv_is_written = true;
		set_flags(effect, 0, DEF, ALL);
		if (which < 1 || which > 3)
			effect->class = EFFECT_OTHER;
		return true;
	case 0xf50 | PP_NONE:
	case 0xf70 | PP_NONE:
		set_vex(insn, effect, false);
		set_flags(effect, 0, CF | FLAG_OF | FLAG_ZF, ALL);
		return true;
	case 0xf50 | PP_F3:
	case 0xf50 | PP_F2:
	case 0xf70 | PP_66:
	case 0xf70 | PP_F3:
	case 0xf70 | PP_F2:
		set_vex(insn, effect, false);
		return true;
	case 0xf60 | PP_F2:
		set_vex(insn, effect, true);
		return true;
	default:
		return false;
	}
}

static void map_0f38(const struct insn *insn, struct effect *effect)
{
	uint8_t opcode = insn->opcode;
	if (insn->map != MAP_0F38 || insn->has_lock)
		return;
	if ((opcode & 0xfe) == 0xf0 && insn->has_repne) {
		set_modrm(effect, opcode == 0xf0 ? 1 : insn->operand_bytes, true, true, false);
		effect->reg_is_byte = false;
	} else if ((opcode & 0xfe) == 0xf0 && insn->is_memory && !insn->has_rep) {
		set_modrm(effect, insn->operand_bytes, true, !(opcode & 1), opcode & 1);
	} else if (opcode == 0xf6 && (insn->pp == PP_66 || insn->pp == PP_F3)) {
		uint32_t flag = insn->pp == PP_66 ? CF : FLAG_OF;
		set_modrm(effect, insn->w ? 8 : 4, true, true, false);
		set_flags(effect, flag, flag, flag);
	}
}

static void vector(const struct insn *insn, struct effect *effect)
{
	if (insn->has_lock)
		return;
	if (insn->map == MAP_0F && insn->opcode == 0x77 && insn->has_vex) {
		bool is_good = insn->pp == PP_NONE && insn->vvvv == 0;
		effect->class = is_good ? EFFECT_VECTOR : EFFECT_OTHER;
		effect->needs = LIVE_SSE | LIVE_AVX;
		return;
	}
	const struct vector_entry *entry = vector_entry(insn);
	if (!entry || vector_is_mmx(entry, insn))
		return;
	uint32_t flags = entry->flags;
	effect->class = EFFECT_VECTOR;
	effect->needs = LIVE_SSE | (insn->has_vex ? LIVE_AVX : 0) | (flags & V_FP ? LIVE_FP : 0);
	effect->memory_bytes = (uint8_t)vector_memory_bytes(entry, insn);
	effect->memory_is_written = flags & V_STORE;
	effect->reg_is_gpr = effect->reg_is_written = flags & V_REG_GPR;
	effect->rm_is_gpr = flags & V_RM_GPR;
	effect->rm_is_written = (flags & V_RM_GPR) && (flags & V_STORE);
	bool is_whole = effect->memory_bytes >= 16;
	bool is_any = (flags & V_ANY) || ((flags & V_ANY_AMD) && cpuid_host_is_amd());
	effect->is_aligned = is_whole && (insn->has_vex ? (flags & V_ALIGNED) != 0 : !is_any);
	if (flags & V_FLAGS)
		set_flags(effect, 0, ALL, ALL);
}

static void x87(const struct insn *insn, struct effect *effect)
{
	uint32_t row = insn->opcode & 7;
	if (insn->has_lock || !x87_is_simple(insn))
		return;
	effect->class = EFFECT_MODRM;
	effect->needs = LIVE_X87;
	if (insn->is_memory) {
		int32_t size = x87_size(insn);
		effect->memory_bytes = (uint8_t)(size < 0 ? -size : size);
		effect->memory_is_written = size < 0;
	} else if ((row == 2 || row == 3) && insn->modrm < 0xe0) {
		set_flags(effect, CF | FLAG_ZF | FLAG_PF, 0, 0); /* FCMOV */
	} else if ((row == 3 || row == 7) && insn->modrm >= 0xe8) {
		set_flags(effect, 0, CF | FLAG_ZF | FLAG_PF, ALL); /* FCOMI */
	}
}

/* Whether there is an opmask or a vector from 16 on. */
static bool has_high(const struct evex_row *row, const struct insn *insn)
{
	uint32_t flags = row->flags;
	if (insn->opmask || (flags & (X_TO_MASK | X_OF_MASK)) || insn->vvvv > 15)
		return true;
	bool rm_is_vector = !insn->is_memory && !(flags & X_RM_GPR);
	return (!(flags & (X_REG_GPR | X_GROUP)) && insn->reg > 15) ||
		(rm_is_vector && insn->rm > 15);
}

/* Which elements of memory compress, expand, gather and scatter touch is the interpreter's to find out. */
static void evex(const struct insn *insn, struct effect *effect)
{
	const struct evex_row *row = evex_row_here(insn);
	if (!row || (row->flags & (X_GATHER | X_SCATTER)) ||
		((row->flags & X_PACK) && insn->is_memory))
		return;
	uint32_t flags = row->flags;
	effect->class = EFFECT_VECTOR;
	effect->needs = LIVE_SSE | LIVE_AVX | (flags & X_FP ? LIVE_FP : 0) |
		(has_high(row, insn) ? LIVE_HIGH : 0) |
		(evex_bytes(row, insn) == VECTOR_BYTES ? LIVE_UPPER : 0);
	effect->memory_bytes = (uint8_t)evex_memory_bytes(row, insn);
	effect->memory_is_written = flags & X_STORE;
	effect->is_aligned = flags & X_ALIGNED;
	effect->reg_is_gpr = effect->reg_is_written = flags & X_REG_GPR;
	effect->rm_is_gpr = flags & X_RM_GPR;
	effect->rm_is_written = (flags & X_RM_GPR) && (flags & X_STORE);
	if (flags & X_FLAGS)
		set_flags(effect, 0, ALL, ALL);
}

static bool opmask(const struct insn *insn, struct effect *effect)
{
	struct opmask of;
	if (!opmask_of(insn, &of))
		return false;
	effect->class = EFFECT_VECTOR;
	effect->needs = LIVE_AVX | LIVE_HIGH;
	effect->memory_bytes = of.bytes;
	effect->memory_is_written = of.is_store;
	effect->reg_is_gpr = effect->reg_is_written = of.reg_is_gpr;
	effect->rm_is_gpr = of.rm_is_gpr;
	if (of.sets_flags)
		set_flags(effect, 0, ALL, ALL);
	return true;
}

struct effect effect_of(const struct insn *insn)
{
	struct effect effect = {};
	if (insn->has_evex) {
		evex(insn, &effect);
		return effect;
	}
	if (insn->has_vex) {
		if (!vex_integer(insn, &effect) && !opmask(insn, &effect))
			vector(insn, &effect);
		return effect;
	}
	uint8_t opcode = insn->opcode;
	switch (insn->map) {
	case MAP_ONE_BYTE:
		if (opcode < 0x40)
			alu_row(insn, &effect);
		else if (opcode >> 4 == 7) {
			effect.class = insn->has_lock ? EFFECT_OTHER : EFFECT_CONDITION;
			effect.reads = effect_condition(opcode & 15);
		} else if (opcode >> 4 == 5 || (opcode & 0xf8) == 0x90 || opcode >> 4 == 0xb)
			by_register(insn, &effect);
		else if ((opcode & 0xf8) == 0xd8)
			x87(insn, &effect);
		else
			one_byte(insn, &effect);
		if (effect.class == EFFECT_MODRM && insn->has_lock && !insn->is_memory)
			effect.class = EFFECT_OTHER;
		break;
	case MAP_0F:
		if (!two_byte_run(insn, &effect))
			two_byte(insn, &effect);
		break;
	default:
		map_0f38(insn, &effect);
		break;
	}
	if (effect.class == EFFECT_OTHER && insn->map != MAP_ONE_BYTE)
		vector(insn, &effect);
	return effect;
}
