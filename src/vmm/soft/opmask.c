/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opmask.c - they have VEX prefixes, and run as themselves in stubs.
 */
#include "vmm/soft/opmask.h"

#include "vmm/soft/cpuid.h"
#include "vmm/soft/memory.h"
#include "vmm/soft/vector_check.h"

#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

/* By prefix and W, as most have it; 0: there is none. */
static uint8_t usual_bytes(const struct insn *insn)
{
	if (insn->pp > PP_66)
		return 0;
	if (insn->w)
		return insn->pp == PP_66 ? 4 : 8;
	return insn->pp == PP_66 ? 1 : 2;
}

static uint8_t bytes_from_register(const struct insn *insn)
{
	if (insn->pp == PP_F2)
		return insn->w ? insn->code_bytes == 8 ? 8 : 0 : 4;
	return insn->w || insn->pp == PP_F3 ? 0 : usual_bytes(insn);
}

static bool of_0f(const struct insn *insn, struct opmask *ret)
{
	bool is_three = false, needs_register = true;
	ret->bytes = usual_bytes(insn);
	switch (insn->opcode) {
	case 0x41:
	case 0x42:
	case 0x45:
	case 0x46:
	case 0x47:
	case 0x4a:
		is_three = true;
		break;
	case 0x4b: /* the halves' width says which: BW, WD, DQ */
		is_three = true;
		if (insn->w && insn->pp == PP_66)
			return false;
		break;
	case 0x44:
		break;
	case 0x90:
		needs_register = false;
		break;
	case 0x91:
		needs_register = false;
		ret->is_store = true;
		if (!insn->is_memory)
			return false;
		break;
	case 0x92:
		ret->bytes = bytes_from_register(insn);
		ret->rm_is_gpr = true;
		break;
	case 0x93:
		ret->bytes = bytes_from_register(insn);
		ret->reg_is_gpr = true;
		break;
	case 0x98:
	case 0x99:
		ret->sets_flags = true;
		break;
	default:
		return false;
	}
	ret->has_vvvv = is_three;
	return ret->bytes && insn->l == is_three && !(needs_register && insn->is_memory);
}

/* Shifts: B and W, D and Q in opcodes of their own. */
static bool of_0f3a(const struct insn *insn, struct opmask *ret)
{
	if (insn->opcode < 0x30 || insn->opcode > 0x33 || insn->pp != PP_66)
		return false;
	ret->bytes = (uint8_t)((insn->opcode & 1 ? 4 : 1) << insn->w);
	ret->has_immediate = true;
	return insn->l == 0 && !insn->is_memory;
}

bool opmask_of(const struct insn *insn, struct opmask *ret)
{
	struct opmask of = {};
	if (!insn->has_vex || insn->has_evex || !cpuid_host_has(HOST_HAS_AVX512))
		return false;
	bool is_one = insn->map == MAP_0F ? of_0f(insn, &of)
					  : insn->map == MAP_0F3A && of_0f3a(insn, &of);
	if (!is_one || (!of.reg_is_gpr && insn->reg > 7) || insn->vvvv > (of.has_vvvv ? 7 : 0))
		return false;
	*ret = of;
	return true;
}

HANDLER(plain)
{
	vector_check(cpu, op, CLASS_512);
	op->stub->run(cpu, cpu->scratch);
	return op + 1;
}

HANDLER(load)
{
	vector_check(cpu, op, CLASS_512);
	cpu->opmask[op->reg] = load_any(cpu, op, op_linear(cpu, op), op->bytes);
	return op + 1;
}

HANDLER(store)
{
	vector_check(cpu, op, CLASS_512);
	store_any(cpu, op, op_linear(cpu, op), op->bytes, cpu->opmask[op->reg]);
	return op + 1;
}

op_run *opmask_bind(struct stubs *stubs, const struct insn *insn, struct op *op)
{
	struct opmask of;
	if (!opmask_of(insn, &of))
		return NULL;
	op->reg = insn->reg;
	op->bytes = of.bytes;
	op_set_access(op, of.bytes, of.is_store ? ACCESS_WRITE : ACCESS_READ);
	if (insn->is_memory)
		return of.is_store ? store : load;
	struct stub_recipe recipe = { .gpr = 0xff, .flags = of.sets_flags ? STUB_FLAGS_OUT : 0 };
	uint32_t reg = of.reg_is_gpr ? 0 : insn->reg, rm = of.rm_is_gpr ? 0 : insn->rm & 7;
	if (of.reg_is_gpr)
		recipe.gpr = (uint8_t)(8 * insn->reg);
	else
		recipe.opmasks |= (uint8_t)(1u << reg);
	if (of.rm_is_gpr)
		recipe.gpr = (uint8_t)(8 * insn->rm);
	else
		recipe.opmasks |= (uint8_t)(1u << rm);
	if (of.has_vvvv)
		recipe.opmasks |= (uint8_t)(1u << insn->vvvv);
	static const uint8_t prefix[4] = { 0, 1, 2, 3 };
	uint8_t *at = recipe.bytes;
	*at++ = 0xc4;
	*at++ = (uint8_t)(0xe0 | insn->map);
	*at++ = (uint8_t)(insn->w << 7 | (~insn->vvvv & 15) << 3 | insn->l << 2 | prefix[insn->pp]);
	*at++ = insn->opcode;
	*at++ = (uint8_t)(0xc0 | reg << 3 | rm);
	if (of.has_immediate)
		*at++ = (uint8_t)insn->imm;
	recipe.length = (uint8_t)(at - recipe.bytes);
	op->stub = stub_get(stubs, &recipe);
	return op->stub ? plain : vector_no_room;
}
