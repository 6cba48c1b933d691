/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode.h - bytes into one x86 instruction: prefixes, opcode, operands. Pure.
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
	bool is_memory;   /* the rm operand */
	bool has_segment; /* overridden */
	uint8_t w, l;     /* REX.W or VEX.W; VEX.L */
	uint8_t vvvv;     /* VEX */
	uint8_t modrm;
	uint8_t reg, rm; /* 0 to 15 */
	uint8_t base, index, scale;
	uint8_t segment; /* enum cpu_segment_name */
	int64_t disp;
	uint64_t imm;  /* sign-extended; relative to the next instruction for branches */
	uint32_t imm2; /* selector of a far pointer, nesting of ENTER */
};

enum {
	DECODE_OK,
	DECODE_SHORT = -1,   /* more bytes are needed */
	DECODE_INVALID = -2, /* #UD */
	DECODE_LONG = -3,    /* over 15 bytes: #GP */
};

/* Decodes for code of 2, 4 or 8 bytes (16, 32, 64 bit). Touches *ret on DECODE_OK only. */
int decode(const uint8_t *bytes, size_t count, uint32_t code_bytes, struct insn *ret);
