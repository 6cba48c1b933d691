/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vector_table.h - which MMX, SSE and AVX instructions there are, and what each one touches. Pure.
 */
#pragma once

#include "vmm/soft/decode.h"

#define V_LEGACY      0x000001u
#define V_VEX         0x000002u
#define V_MMX         0x000004u /* without prefix it works on MMX registers */
#define V_ANY         0x000008u /* legacy memory operand need not be aligned */
#define V_ALIGNED     0x000010u /* aligned with VEX, too */
#define V_NO_VVVV     0x000020u
#define V_STORE       0x000040u /* rm is written */
#define V_REG_GPR     0x000080u
#define V_RM_GPR      0x000100u
#define V_RM_ONLY     0x000200u /* no memory form */
#define V_MEMORY      0x000400u /* no register form */
#define V_FP          0x000800u /* uses MXCSR */
#define V_FLAGS       0x001000u
#define V_XMM0        0x002000u
#define V_L0          0x004000u
#define V_L1          0x008000u
#define V_W0          0x010000u
#define V_W1          0x020000u
#define V_INTEGER     0x040000u /* 256 bits wide only with AVX2 */
#define V_GROUP       0x080000u /* modrm.reg is part of the opcode, vvvv the destination */
#define V_SCALAR_VVVV 0x100000u /* vvvv only in the register form */
#define V_RCX         0x200000u /* writes ECX */
#define V_RAX_RDX     0x400000u /* reads them */
#define V_REG_MMX     0x800000u /* reg is an MMX register though rm is not, whatever the prefix */
#define V_RM_MMX      0x1000000u
#define V_IMM         0x2000000u
#define V_NOT_MMX_RM  0x4000000u
#define V_IS4         0x8000000u
#define V_ANY_AMD     0x10000000u /* V_ANY if the host is AMD's */
#define V_HALVES      0x20000000u /* results are halves, which are not flushed to zero */

/* Sizes of the memory operand that depend on something. */
enum { SIZE_FULL = 64, SIZE_HALF, SIZE_QUARTER, SIZE_EIGHTH, SIZE_W, SIZE_DDUP, SIZE_MMX4 };

struct vector_entry {
	uint8_t map, first, last;
	uint8_t prefixes; /* bit n: enum insn_prefix n */
	uint8_t size;     /* of the memory operand, bytes or SIZE_... */
	uint32_t flags;
	uint64_t feature; /* HOST_HAS_..., of the legacy or any form */
};

/* NULL if the instruction is none that this engine knows or its fields are wrong. */
const struct vector_entry *vector_entry(const struct insn *insn);

/* Bytes of its memory operand. */
uint32_t vector_memory_bytes(const struct vector_entry *entry, const struct insn *insn);

/* Whether MMX registers take part. */
bool vector_is_mmx(const struct vector_entry *entry, const struct insn *insn);
