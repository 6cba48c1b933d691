/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87_table.c - by opcode and ModRM.
 */
#include "vmm/soft/x87_table.h"

/* Size of the memory operand by opcode and modrm.reg; 0: no instruction; negative: a store. */
static const int8_t sizes[8][8] = {
	{ 4, 4, 4, 4, 4, 4, 4, 4 },
	{ 4, 0, -4, -4, 28, 2, -28, -2 },
	{ 4, 4, 4, 4, 4, 4, 4, 4 },
	{ 4, -4, -4, -4, 0, 10, 0, -10 },
	{ 8, 8, 8, 8, 8, 8, 8, 8 },
	{ 8, -8, -8, -8, 108, 0, -108, -2 },
	{ 2, 2, 2, 2, 2, 2, 2, 2 },
	{ 2, -2, -2, -2, 10, 8, -10, -8 },
};

/* Register forms that do not exist: one bit a modrm byte from c0 up. */
static const uint64_t missing[8] = {
	0, UINT64_C(0x000080cc00fe0000), /* d9: d1-d7, e2 e3 e6 e7, ef */
	UINT64_C(0xfffffdff00000000),    /* da: all from e0 but e9 */
	UINT64_C(0xff0000e000000000),    /* db: e5-e7, f8-ff */
	0, UINT64_C(0xffff000000000000), /* dd: from f0 */
	UINT64_C(0x00000000fd000000),    /* de: d8-df but d9 */
	UINT64_C(0xff0000fe00000000),    /* df: e1-e7, f8-ff */
};

int32_t x87_size(const struct insn *insn)
{
	return sizes[insn->opcode & 7][insn->modrm >> 3 & 7];
}

bool x87_is_missing(const struct insn *insn)
{
	return missing[insn->opcode & 7] >> (insn->modrm - 0xc0) & 1;
}

bool x87_is_simple(const struct insn *insn)
{
	uint32_t row = insn->opcode & 7, which = insn->modrm >> 3 & 7;
	if (!insn->is_memory) {
		/* FNCLEX, FNINIT and what was of older coprocessors */
		bool is_control = row == 3 && insn->modrm >= 0xe0 && insn->modrm <= 0xe4;
		return !is_control && !x87_is_missing(insn);
	}
	if (x87_size(insn) == 0)
		return false;
	/* FLDENV, FLDCW, FNSTENV; FRSTOR, FNSAVE */
	return !(row == 1 && which >= 4 && which <= 6) && !(row == 5 && (which == 4 || which == 6));
}
