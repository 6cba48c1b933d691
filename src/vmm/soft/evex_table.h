/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evex_table.h - which instructions of AVX-512 there are, and what each one touches. Pure, and the same on every host.
 */
#pragma once

#include "vmm/soft/insn.h"

#define X_NF       0x000001u /* faults of elements that the mask leaves out are not suppressed */
#define X_NO_MASK  0x000002u
#define X_TO_MASK  0x000004u /* reg is an opmask */
#define X_OF_MASK  0x000008u /* rm is an opmask */
#define X_STORE    0x000010u /* rm is written */
#define X_REG_GPR  0x000020u
#define X_RM_GPR   0x000040u
#define X_RM_ONLY  0x000080u /* no memory form */
#define X_MEMORY   0x000100u /* no register form */
#define X_FP       0x000200u /* uses MXCSR */
#define X_FLAGS    0x000400u
#define X_NV       0x000800u /* no vvvv */
#define X_SCALAR_V 0x001000u /* vvvv in the register form only */
#define X_GROUP    0x002000u /* modrm.reg is part of the opcode, vvvv the destination */
#define X_RC       0x004000u /* embedded rounding; without effect where nothing is rounded */
#define X_SAE      0x008000u
#define X_IMM      0x010000u
#define X_ALIGNED  0x020000u
#define X_SCALAR   0x040000u /* any L'L, one element */
#define X_PACK     0x080000u /* compress, expand: elements in memory are next to each other */
#define X_GATHER   0x100000u
#define X_SCATTER  0x200000u
#define X_ONE      0x400000u  /* memory is one for all elements */
#define X_FLUSHED  0x800000u  /* tiny results are flushed to zero, but do not underflow */
#define X_HALVES   0x1000000u /* results are halves, which are not flushed */

/* Bits of evex_row.feature; a host has X_BASE or nothing. */
#define X_BASE      0x01u /* F, CD, BW, DQ, VL */
#define X_IFMA      0x02u
#define X_VBMI      0x04u
#define X_VBMI2     0x08u
#define X_VNNI      0x10u
#define X_BITALG    0x20u
#define X_VPOPCNTDQ 0x40u
#define X_GFNI      0x80u
#define X_VAES      0x100u
#define X_VPCLMUL   0x200u

struct evex_row {
	uint8_t map, first, last;
	uint8_t prefixes; /* bit n: enum insn_prefix n */
	uint8_t widths;   /* bit n: W may be n */
	uint8_t tuple;    /* bytes of memory, or TUPLE_... */
	uint8_t element;  /* bytes of a vector for one bit of the mask; 0: by W */
	uint8_t lengths;  /* bit n: L'L may be n */
	uint32_t flags;
	uint16_t feature;
};

/* NULL if there is no such instruction. */
const struct evex_row *evex_row(const struct insn *insn);

/* How long vectors are: 16, 32 or 64 bytes. */
uint32_t evex_bytes(const struct evex_row *row, const struct insn *insn);

/* Of the memory operand; of one element if those that are touched depend on the mask or on indexes. */
uint32_t evex_memory_bytes(const struct evex_row *row, const struct insn *insn);

/* Elements that the mask has bits for, and the bytes of each. */
uint32_t evex_element_bytes(const struct evex_row *row, const struct insn *insn);
uint32_t evex_elements(const struct evex_row *row, const struct insn *insn);
