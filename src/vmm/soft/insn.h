/* SPDX-License-Identifier: Apache-2.0 */
/*
 * insn.h - one x86 instruction as it was decoded.
 */
#pragma once

#include "base/base.h"

#define INSN_BYTES_MAX 15

enum insn_map { MAP_ONE_BYTE, MAP_0F, MAP_0F38, MAP_0F3A };
enum insn_prefix { PP_NONE, PP_66, PP_F3, PP_F2 }; /* what selects among SSE instructions */

#define INSN_NONE 16 /* no base, no index */
#define INSN_RIP  17 /* base */

struct insn {
	uint8_t length;
	uint8_t immediate_at; /* where the immediates begin */
	uint8_t map;          /* enum insn_map */
	uint8_t opcode;
	uint8_t code_bytes;    /* 2, 4 or 8: the mode it was decoded for */
	uint8_t operand_bytes; /* 2, 4 or 8 */
	uint8_t address_bytes;
	uint8_t pp; /* enum insn_prefix, of a legacy or a VEX instruction */

	bool has_lock, has_rep, has_repne, has_66, has_rex, has_vex, has_modrm;
	bool has_evex;    /* has_vex is set, too */
	bool is_memory;   /* the rm operand */
	bool has_segment; /* overridden */
	uint8_t w, l;     /* REX.W or VEX.W; VEX.L, EVEX.L'L */
	uint8_t vvvv;     /* VEX; 0 to 31 with EVEX */
	uint8_t modrm;
	uint8_t reg, rm; /* 0 to 15; vectors of EVEX to 31 */
	uint8_t base, index, scale;
	uint8_t segment; /* enum cpu_segment_name */
	/* EVEX: mask, zeroing, broadcast or rounding; bit 4 of vvvv or of a vector index; bits 4 and 3 of reg. */
	uint8_t opmask, zeroes, extra, high, reg_high;
	uint8_t vector_index; /* SIB's index, if it is one of vectors; 0 to 15 */
	uint8_t disp_unit; /* EVEX: what a displacement of one byte counts; the displacement is in bytes */
	int64_t disp;
	uint64_t imm;  /* sign-extended; relative to the next instruction for branches */
	uint32_t imm2; /* selector of a far pointer, nesting of ENTER */
};
