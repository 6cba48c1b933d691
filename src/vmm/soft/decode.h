/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode.h - bytes into one x86 instruction: prefixes, opcode, operands. Pure.
 */
#pragma once

#include "vmm/soft/insn.h"

enum {
	DECODE_OK,
	DECODE_SHORT = -1,   /* more bytes are needed */
	DECODE_INVALID = -2, /* #UD */
	DECODE_LONG = -3,    /* over 15 bytes: #GP */
};

/* Bytes that are read at most, whatever they say: up to the opcode no more than fit, then operands and immediates. */
#define DECODE_READS 32

/* Decodes for code of 2, 4 or 8 bytes (16, 32, 64 bit). *ret is of no use unless DECODE_OK. */
int decode(const uint8_t *bytes, size_t count, uint32_t code_bytes, struct insn *ret);
