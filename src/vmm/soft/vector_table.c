/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vector_table.c - one row for each run of opcodes that are alike.
 */
#include "vmm/soft/vector_table.h"

#include "vmm/soft/cpuid.h"

#define N   1u
#define P66 2u
#define PF3 4u
#define PF2 8u

#define L    V_LEGACY
#define LV   (V_LEGACY | V_VEX)
#define V    V_VEX
#define NV   V_NO_VVVV
#define FP   V_FP
#define INT  V_INTEGER
#define MM   V_MMX
#define FULL SIZE_FULL

#define ONE(map, opcode, prefixes, size, flags) \
	{ \
		map, opcode, opcode, prefixes, size, flags, 0 \
	}
#define RUN(map, first, last, prefixes, size, flags) \
	{ \
		map, first, last, prefixes, size, flags, 0 \
	}
#define HAS(map, first, last, prefixes, size, flags, feature) \
	{ \
		map, first, last, prefixes, size, flags, feature \
	}

static const struct vector_entry table[] = {
	/* Moves */
	RUN(MAP_0F, 0x10, 0x10, N | P66, FULL, LV | NV | V_ANY),
	RUN(MAP_0F, 0x11, 0x11, N | P66, FULL, LV | NV | V_ANY | V_STORE),
	RUN(MAP_0F, 0x10, 0x10, PF3, 4, LV | V_SCALAR_VVVV),
	RUN(MAP_0F, 0x10, 0x10, PF2, 8, LV | V_SCALAR_VVVV),
	RUN(MAP_0F, 0x11, 0x11, PF3, 4, LV | V_SCALAR_VVVV | V_STORE),
	RUN(MAP_0F, 0x11, 0x11, PF2, 8, LV | V_SCALAR_VVVV | V_STORE),
	RUN(MAP_0F, 0x12, 0x12, N, 8, LV | V_L0),
	RUN(MAP_0F, 0x12, 0x12, P66, 8, LV | V_L0 | V_MEMORY),
	RUN(MAP_0F, 0x12, 0x12, PF3, FULL, LV | NV),
	RUN(MAP_0F, 0x12, 0x12, PF2, SIZE_DDUP, LV | NV),
	RUN(MAP_0F, 0x16, 0x16, N, 8, LV | V_L0),
	RUN(MAP_0F, 0x16, 0x16, P66, 8, LV | V_L0 | V_MEMORY),
	RUN(MAP_0F, 0x16, 0x16, PF3, FULL, LV | NV),
	RUN(MAP_0F, 0x13, 0x13, N | P66, 8, LV | NV | V_L0 | V_MEMORY | V_STORE),
	RUN(MAP_0F, 0x17, 0x17, N | P66, 8, LV | NV | V_L0 | V_MEMORY | V_STORE),
	RUN(MAP_0F, 0x14, 0x15, N | P66, FULL, LV),
	RUN(MAP_0F, 0x28, 0x28, N | P66, FULL, LV | NV | V_ALIGNED),
	RUN(MAP_0F, 0x29, 0x29, N | P66, FULL, LV | NV | V_ALIGNED | V_STORE),
	RUN(MAP_0F, 0x2b, 0x2b, N | P66, FULL, LV | NV | V_ALIGNED | V_STORE | V_MEMORY),
	RUN(MAP_0F, 0x50, 0x50, N | P66, FULL, LV | NV | V_REG_GPR | V_RM_ONLY),
	/* Conversions */
	RUN(MAP_0F, 0x2a, 0x2a, N | P66, 8, L | FP | V_RM_MMX),
	RUN(MAP_0F, 0x2a, 0x2a, PF3 | PF2, SIZE_W, LV | FP | V_RM_GPR),
	RUN(MAP_0F, 0x2c, 0x2d, N, 8, L | FP | V_REG_MMX),
	RUN(MAP_0F, 0x2c, 0x2d, P66, FULL, L | FP | V_REG_MMX),
	RUN(MAP_0F, 0x2c, 0x2d, PF3, 4, LV | NV | FP | V_REG_GPR),
	RUN(MAP_0F, 0x2c, 0x2d, PF2, 8, LV | NV | FP | V_REG_GPR),
	RUN(MAP_0F, 0x2e, 0x2f, N, 4, LV | NV | FP | V_FLAGS),
	RUN(MAP_0F, 0x2e, 0x2f, P66, 8, LV | NV | FP | V_FLAGS),
	RUN(MAP_0F, 0x5a, 0x5a, N, SIZE_HALF, LV | NV | FP),
	RUN(MAP_0F, 0x5a, 0x5a, P66, FULL, LV | NV | FP),
	RUN(MAP_0F, 0x5a, 0x5a, PF3, 4, LV | FP),
	RUN(MAP_0F, 0x5a, 0x5a, PF2, 8, LV | FP),
	RUN(MAP_0F, 0x5b, 0x5b, N | P66 | PF3, FULL, LV | NV | FP),
	RUN(MAP_0F, 0xe6, 0xe6, P66 | PF2, FULL, LV | NV | FP),
	RUN(MAP_0F, 0xe6, 0xe6, PF3, SIZE_HALF, LV | NV | FP),
	/* Arithmetic */
	RUN(MAP_0F, 0x51, 0x51, N | P66, FULL, LV | NV | FP),
	RUN(MAP_0F, 0x51, 0x51, PF3, 4, LV | FP),
	RUN(MAP_0F, 0x51, 0x51, PF2, 8, LV | FP),
	RUN(MAP_0F, 0x52, 0x53, N, FULL, LV | NV),
	RUN(MAP_0F, 0x52, 0x53, PF3, 4, LV),
	RUN(MAP_0F, 0x54, 0x57, N | P66, FULL, LV),
	RUN(MAP_0F, 0x58, 0x59, N | P66, FULL, LV | FP),
	RUN(MAP_0F, 0x58, 0x59, PF3, 4, LV | FP),
	RUN(MAP_0F, 0x58, 0x59, PF2, 8, LV | FP),
	RUN(MAP_0F, 0x5c, 0x5f, N | P66, FULL, LV | FP),
	RUN(MAP_0F, 0x5c, 0x5f, PF3, 4, LV | FP),
	RUN(MAP_0F, 0x5c, 0x5f, PF2, 8, LV | FP),
	RUN(MAP_0F, 0x7c, 0x7d, P66 | PF2, FULL, LV | FP),
	RUN(MAP_0F, 0xd0, 0xd0, P66 | PF2, FULL, LV | FP),
	RUN(MAP_0F, 0xc2, 0xc2, N | P66, FULL, LV | FP | V_IMM),
	RUN(MAP_0F, 0xc2, 0xc2, PF3, 4, LV | FP | V_IMM),
	RUN(MAP_0F, 0xc2, 0xc2, PF2, 8, LV | FP | V_IMM),
	RUN(MAP_0F, 0xc6, 0xc6, N | P66, FULL, LV | V_IMM),
	/* Integers; without prefix on MMX */
	RUN(MAP_0F, 0x60, 0x62, N, SIZE_MMX4, L | MM),
	RUN(MAP_0F, 0x60, 0x62, P66, FULL, LV | INT),
	RUN(MAP_0F, 0x63, 0x6b, N | P66, FULL, LV | INT | MM),
	RUN(MAP_0F, 0x6c, 0x6d, P66, FULL, LV | INT),
	RUN(MAP_0F, 0x6e, 0x6e, N | P66, SIZE_W, LV | NV | V_L0 | MM | V_RM_GPR),
	RUN(MAP_0F, 0x7e, 0x7e, N | P66, SIZE_W, LV | NV | V_L0 | MM | V_RM_GPR | V_STORE),
	RUN(MAP_0F, 0x7e, 0x7e, PF3, 8, LV | NV | V_L0),
	RUN(MAP_0F, 0x6f, 0x6f, N, FULL, L | MM),
	RUN(MAP_0F, 0x6f, 0x6f, P66, FULL, LV | NV | V_ALIGNED),
	RUN(MAP_0F, 0x6f, 0x6f, PF3, FULL, LV | NV | V_ANY),
	RUN(MAP_0F, 0x7f, 0x7f, N, FULL, L | MM | V_STORE),
	RUN(MAP_0F, 0x7f, 0x7f, P66, FULL, LV | NV | V_ALIGNED | V_STORE),
	RUN(MAP_0F, 0x7f, 0x7f, PF3, FULL, LV | NV | V_ANY | V_STORE),
	RUN(MAP_0F, 0x70, 0x70, N, FULL, L | MM | V_IMM),
	RUN(MAP_0F, 0x70, 0x70, P66 | PF3 | PF2, FULL, LV | NV | INT | V_IMM),
	RUN(MAP_0F, 0x71, 0x73, N | P66, FULL, LV | INT | MM | V_GROUP | V_RM_ONLY | V_IMM),
	RUN(MAP_0F, 0x74, 0x76, N | P66, FULL, LV | INT | MM),
	RUN(MAP_0F, 0xc4, 0xc4, N | P66, 2, LV | V_L0 | MM | V_RM_GPR | V_IMM),
	RUN(MAP_0F, 0xc5, 0xc5, N | P66, 2, LV | NV | V_L0 | MM | V_REG_GPR | V_RM_ONLY | V_IMM),
	RUN(MAP_0F, 0xd6, 0xd6, P66, 8, LV | NV | V_L0 | V_STORE),
	RUN(MAP_0F, 0xd6, 0xd6, PF3, 8, L | V_RM_MMX | V_RM_ONLY),
	RUN(MAP_0F, 0xd6, 0xd6, PF2, 8, L | V_REG_MMX | V_RM_ONLY),
	RUN(MAP_0F, 0xd7, 0xd7, N | P66, FULL, LV | NV | INT | MM | V_REG_GPR | V_RM_ONLY),
	/* Shifts by a register take 16 bytes of memory, however wide they are. */
	RUN(MAP_0F, 0xd1, 0xd3, N, FULL, L | MM),
	RUN(MAP_0F, 0xd1, 0xd3, P66, 16, LV | INT),
	RUN(MAP_0F, 0xe1, 0xe2, N, FULL, L | MM),
	RUN(MAP_0F, 0xe1, 0xe2, P66, 16, LV | INT),
	RUN(MAP_0F, 0xf1, 0xf3, N, FULL, L | MM),
	RUN(MAP_0F, 0xf1, 0xf3, P66, 16, LV | INT),
	RUN(MAP_0F, 0xe7, 0xe7, N, FULL, L | MM | V_STORE | V_MEMORY),
	RUN(MAP_0F, 0xe7, 0xe7, P66, FULL, LV | NV | V_ALIGNED | V_STORE | V_MEMORY),
	RUN(MAP_0F, 0xf0, 0xf0, PF2, FULL, LV | NV | V_ANY | V_MEMORY),
	RUN(MAP_0F, 0xd4, 0xd5, N | P66, FULL, LV | INT | MM),
	RUN(MAP_0F, 0xd8, 0xdf, N | P66, FULL, LV | INT | MM),
	RUN(MAP_0F, 0xe0, 0xe0, N | P66, FULL, LV | INT | MM),
	RUN(MAP_0F, 0xe3, 0xe5, N | P66, FULL, LV | INT | MM),
	RUN(MAP_0F, 0xe8, 0xef, N | P66, FULL, LV | INT | MM),
	RUN(MAP_0F, 0xf4, 0xf6, N | P66, FULL, LV | INT | MM),
	RUN(MAP_0F, 0xf8, 0xfe, N | P66, FULL, LV | INT | MM),
	/* 0F 38 */
	RUN(MAP_0F38, 0x00, 0x0b, N | P66, FULL, LV | INT | MM),
	RUN(MAP_0F38, 0x0c, 0x0d, P66, FULL, V | V_W0),
	RUN(MAP_0F38, 0x0e, 0x0f, P66, FULL, V | NV | V_W0 | V_FLAGS),
	RUN(MAP_0F38, 0x10, 0x10, P66, FULL, L | V_XMM0),
	RUN(MAP_0F38, 0x14, 0x15, P66, FULL, L | V_XMM0),
	HAS(MAP_0F38, 0x13, 0x13, P66, SIZE_HALF, V | NV | V_W0 | FP, HOST_HAS_F16C),
	HAS(MAP_0F38, 0x16, 0x16, P66, FULL, V | V_W0 | V_L1, HOST_HAS_AVX2),
	RUN(MAP_0F38, 0x17, 0x17, P66, FULL, LV | NV | V_FLAGS),
	HAS(MAP_0F38, 0x18, 0x18, P66, 4, V | NV | V_W0, 0),
	HAS(MAP_0F38, 0x19, 0x19, P66, 8, V | NV | V_W0 | V_L1, 0),
	RUN(MAP_0F38, 0x1a, 0x1a, P66, 16, V | NV | V_W0 | V_L1 | V_MEMORY),
	RUN(MAP_0F38, 0x1c, 0x1e, N | P66, FULL, LV | NV | INT | MM),
	RUN(MAP_0F38, 0x20, 0x20, P66, SIZE_HALF, LV | NV | INT),
	RUN(MAP_0F38, 0x21, 0x21, P66, SIZE_QUARTER, LV | NV | INT),
	RUN(MAP_0F38, 0x22, 0x22, P66, SIZE_EIGHTH, LV | NV | INT),
	RUN(MAP_0F38, 0x23, 0x23, P66, SIZE_HALF, LV | NV | INT),
	RUN(MAP_0F38, 0x24, 0x24, P66, SIZE_QUARTER, LV | NV | INT),
	RUN(MAP_0F38, 0x25, 0x25, P66, SIZE_HALF, LV | NV | INT),
	RUN(MAP_0F38, 0x28, 0x29, P66, FULL, LV | INT),
	RUN(MAP_0F38, 0x2a, 0x2a, P66, FULL, LV | NV | INT | V_ALIGNED | V_MEMORY),
	RUN(MAP_0F38, 0x2b, 0x2b, P66, FULL, LV | INT),
	RUN(MAP_0F38, 0x30, 0x30, P66, SIZE_HALF, LV | NV | INT),
	RUN(MAP_0F38, 0x31, 0x31, P66, SIZE_QUARTER, LV | NV | INT),
	RUN(MAP_0F38, 0x32, 0x32, P66, SIZE_EIGHTH, LV | NV | INT),
	RUN(MAP_0F38, 0x33, 0x33, P66, SIZE_HALF, LV | NV | INT),
	RUN(MAP_0F38, 0x34, 0x34, P66, SIZE_QUARTER, LV | NV | INT),
	RUN(MAP_0F38, 0x35, 0x35, P66, SIZE_HALF, LV | NV | INT),
	HAS(MAP_0F38, 0x36, 0x36, P66, FULL, V | V_W0 | V_L1, HOST_HAS_AVX2),
	RUN(MAP_0F38, 0x37, 0x40, P66, FULL, LV | INT),
	RUN(MAP_0F38, 0x41, 0x41, P66, FULL, LV | NV | V_L0),
	HAS(MAP_0F38, 0x45, 0x45, P66, FULL, V, HOST_HAS_AVX2),
	HAS(MAP_0F38, 0x46, 0x46, P66, FULL, V | V_W0, HOST_HAS_AVX2),
	HAS(MAP_0F38, 0x47, 0x47, P66, FULL, V, HOST_HAS_AVX2),
	HAS(MAP_0F38, 0x58, 0x58, P66, 4, V | NV | V_W0, HOST_HAS_AVX2),
	HAS(MAP_0F38, 0x59, 0x59, P66, 8, V | NV | V_W0, HOST_HAS_AVX2),
	HAS(MAP_0F38, 0x5a, 0x5a, P66, 16, V | NV | V_W0 | V_L1 | V_MEMORY, HOST_HAS_AVX2),
	HAS(MAP_0F38, 0x78, 0x78, P66, 1, V | NV | V_W0, HOST_HAS_AVX2),
	HAS(MAP_0F38, 0x79, 0x79, P66, 2, V | NV | V_W0, HOST_HAS_AVX2),
	HAS(MAP_0F38, 0x96, 0x98, P66, FULL, V | FP, HOST_HAS_FMA),
	HAS(MAP_0F38, 0x9a, 0x9a, P66, FULL, V | FP, HOST_HAS_FMA),
	HAS(MAP_0F38, 0x9c, 0x9c, P66, FULL, V | FP, HOST_HAS_FMA),
	HAS(MAP_0F38, 0x9e, 0x9e, P66, FULL, V | FP, HOST_HAS_FMA),
	HAS(MAP_0F38, 0x99, 0x9f, P66, SIZE_W, V | FP, HOST_HAS_FMA),
	HAS(MAP_0F38, 0xa6, 0xa8, P66, FULL, V | FP, HOST_HAS_FMA),
	HAS(MAP_0F38, 0xaa, 0xaa, P66, FULL, V | FP, HOST_HAS_FMA),
	HAS(MAP_0F38, 0xac, 0xac, P66, FULL, V | FP, HOST_HAS_FMA),
	HAS(MAP_0F38, 0xae, 0xae, P66, FULL, V | FP, HOST_HAS_FMA),
	HAS(MAP_0F38, 0xa9, 0xaf, P66, SIZE_W, V | FP, HOST_HAS_FMA),
	HAS(MAP_0F38, 0xb6, 0xb8, P66, FULL, V | FP, HOST_HAS_FMA),
	HAS(MAP_0F38, 0xba, 0xba, P66, FULL, V | FP, HOST_HAS_FMA),
	HAS(MAP_0F38, 0xbc, 0xbc, P66, FULL, V | FP, HOST_HAS_FMA),
	HAS(MAP_0F38, 0xbe, 0xbe, P66, FULL, V | FP, HOST_HAS_FMA),
	HAS(MAP_0F38, 0xb9, 0xbf, P66, SIZE_W, V | FP, HOST_HAS_FMA),
	/* AMD's CPUs do not ask for alignment here; Intel's do. */
	HAS(MAP_0F38, 0xcb, 0xcb, N, FULL, L | V_XMM0 | V_ANY_AMD, HOST_HAS_SHA),
	HAS(MAP_0F38, 0xc8, 0xcd, N, FULL, L | V_ANY_AMD, HOST_HAS_SHA),
	HAS(MAP_0F38, 0xcf, 0xcf, P66, FULL, LV | V_W0, HOST_HAS_GFNI),
	HAS(MAP_0F38, 0xdb, 0xdb, P66, FULL, LV | NV | V_L0, HOST_HAS_AES),
	HAS(MAP_0F38, 0xdc, 0xdf, P66, FULL, LV, HOST_HAS_AES),
	/* 0F 3A */
	HAS(MAP_0F3A, 0x00, 0x01, P66, FULL, V | NV | V_W1 | V_L1 | V_IMM, HOST_HAS_AVX2),
	HAS(MAP_0F3A, 0x02, 0x02, P66, FULL, V | V_W0 | V_IMM, HOST_HAS_AVX2),
	RUN(MAP_0F3A, 0x04, 0x05, P66, FULL, V | NV | V_W0 | V_IMM),
	RUN(MAP_0F3A, 0x06, 0x06, P66, FULL, V | V_W0 | V_L1 | V_IMM),
	RUN(MAP_0F3A, 0x08, 0x09, P66, FULL, LV | NV | FP | V_IMM),
	RUN(MAP_0F3A, 0x0a, 0x0a, P66, 4, LV | FP | V_IMM),
	RUN(MAP_0F3A, 0x0b, 0x0b, P66, 8, LV | FP | V_IMM),
	RUN(MAP_0F3A, 0x0c, 0x0d, P66, FULL, LV | V_IMM),
	RUN(MAP_0F3A, 0x0e, 0x0e, P66, FULL, LV | INT | V_IMM),
	RUN(MAP_0F3A, 0x0f, 0x0f, N | P66, FULL, LV | INT | MM | V_IMM),
	RUN(MAP_0F3A, 0x14, 0x14, P66, 1, LV | NV | V_L0 | V_RM_GPR | V_STORE | V_IMM),
	RUN(MAP_0F3A, 0x15, 0x15, P66, 2, LV | NV | V_L0 | V_RM_GPR | V_STORE | V_IMM),
	RUN(MAP_0F3A, 0x16, 0x16, P66, SIZE_W, LV | NV | V_L0 | V_RM_GPR | V_STORE | V_IMM),
	RUN(MAP_0F3A, 0x17, 0x17, P66, 4, LV | NV | V_L0 | V_RM_GPR | V_STORE | V_IMM),
	RUN(MAP_0F3A, 0x18, 0x18, P66, 16, V | V_W0 | V_L1 | V_IMM),
	RUN(MAP_0F3A, 0x19, 0x19, P66, 16, V | NV | V_W0 | V_L1 | V_STORE | V_IMM),
	HAS(MAP_0F3A, 0x1d, 0x1d, P66, SIZE_HALF, V | NV | V_W0 | FP | V_HALVES | V_STORE | V_IMM,
		HOST_HAS_F16C),
	RUN(MAP_0F3A, 0x20, 0x20, P66, 1, LV | V_L0 | V_RM_GPR | V_IMM),
	RUN(MAP_0F3A, 0x21, 0x21, P66, 4, LV | V_L0 | V_IMM),
	RUN(MAP_0F3A, 0x22, 0x22, P66, SIZE_W, LV | V_L0 | V_RM_GPR | V_IMM),
	HAS(MAP_0F3A, 0x38, 0x38, P66, 16, V | V_W0 | V_L1 | V_IMM, HOST_HAS_AVX2),
	HAS(MAP_0F3A, 0x39, 0x39, P66, 16, V | NV | V_W0 | V_L1 | V_STORE | V_IMM, HOST_HAS_AVX2),
	RUN(MAP_0F3A, 0x40, 0x40, P66, FULL, LV | FP | V_IMM),
	RUN(MAP_0F3A, 0x41, 0x41, P66, FULL, LV | V_L0 | FP | V_IMM),
	RUN(MAP_0F3A, 0x42, 0x42, P66, FULL, LV | INT | V_IMM),
	HAS(MAP_0F3A, 0x44, 0x44, P66, FULL, LV | V_IMM, HOST_HAS_PCLMUL),
	HAS(MAP_0F3A, 0x46, 0x46, P66, FULL, V | V_W0 | V_L1 | V_IMM, HOST_HAS_AVX2),
	RUN(MAP_0F3A, 0x4a, 0x4b, P66, FULL, V | V_W0 | V_IMM | V_IS4),
	RUN(MAP_0F3A, 0x4c, 0x4c, P66, FULL, V | V_W0 | INT | V_IMM | V_IS4),
	RUN(MAP_0F3A, 0x60, 0x60, P66, FULL,
		LV | NV | V_L0 | V_ANY | V_FLAGS | V_XMM0 | V_RAX_RDX | V_IMM),
	RUN(MAP_0F3A, 0x61, 0x61, P66, FULL,
		LV | NV | V_L0 | V_ANY | V_FLAGS | V_RAX_RDX | V_RCX | V_IMM),
	RUN(MAP_0F3A, 0x62, 0x62, P66, FULL, LV | NV | V_L0 | V_ANY | V_FLAGS | V_XMM0 | V_IMM),
	RUN(MAP_0F3A, 0x63, 0x63, P66, FULL, LV | NV | V_L0 | V_ANY | V_FLAGS | V_RCX | V_IMM),
	HAS(MAP_0F3A, 0xcc, 0xcc, N, FULL, L | V_ANY_AMD | V_IMM, HOST_HAS_SHA),
	HAS(MAP_0F3A, 0xce, 0xcf, P66, FULL, LV | V_W1 | V_IMM, HOST_HAS_GFNI),
	HAS(MAP_0F3A, 0xdf, 0xdf, P66, FULL, LV | NV | V_L0 | V_IMM, HOST_HAS_AES),
};

bool vector_is_mmx(const struct vector_entry *entry, const struct insn *insn)
{
	return ((entry->flags & V_MMX) && insn->pp == PP_NONE) ||
		(entry->flags & (V_REG_MMX | V_RM_MMX));
}

/* 71 to 73: which of the eight there are. */
static bool is_good_group(const struct insn *insn)
{
	uint32_t which = insn->modrm >> 3 & 7;
	if (which == 2 || which == 6)
		return true;
	if (insn->opcode == 0x73)
		return insn->pp == PP_66 && (which == 3 || which == 7);
	return which == 4;
}

static bool is_good_vex(const struct vector_entry *entry, const struct insn *insn)
{
	uint32_t flags = entry->flags;
	bool needs_none = (flags & V_NO_VVVV) || ((flags & V_SCALAR_VVVV) && insn->is_memory);
	if (!(flags & V_VEX) || vector_is_mmx(entry, insn) || !cpuid_host_has(HOST_HAS_AVX))
		return false;
	if (needs_none && insn->vvvv != 0)
		return false;
	if (((flags & V_L0) && insn->l) || ((flags & V_L1) && !insn->l) ||
		((flags & V_W0) && insn->w) || ((flags & V_W1) && !insn->w))
		return false;
	if (insn->l && (flags & V_INTEGER) && !cpuid_host_has(HOST_HAS_AVX2))
		return false;
	if (insn->map == MAP_0F38 && insn->opcode >= 0xdc && insn->opcode <= 0xdf && insn->l)
		return cpuid_host_has(HOST_HAS_VAES);
	if (insn->map == MAP_0F3A && insn->opcode == 0x44 && insn->l)
		return cpuid_host_has(HOST_HAS_VPCLMUL);
	bool is_broadcast = insn->map == MAP_0F38 && (insn->opcode == 0x18 || insn->opcode == 0x19);
	return !is_broadcast || insn->is_memory || cpuid_host_has(HOST_HAS_AVX2);
}

const struct vector_entry *vector_entry(const struct insn *insn)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct vector_entry *entry = &table[i];
		if (entry->map != insn->map || insn->opcode < entry->first ||
			insn->opcode > entry->last || !(entry->prefixes >> insn->pp & 1))
			continue;
		uint32_t flags = entry->flags;
		if ((flags & V_RM_ONLY) && insn->is_memory)
			return NULL;
		if ((flags & V_MEMORY) && !insn->is_memory)
			return NULL;
		if ((flags & V_GROUP) && !is_good_group(insn))
			return NULL;
		if (insn->has_vex ? !is_good_vex(entry, insn) : !(flags & V_LEGACY))
			return NULL;
		return cpuid_host_has(entry->feature) ? entry : NULL;
	}
	return NULL;
}

uint32_t vector_memory_bytes(const struct vector_entry *entry, const struct insn *insn)
{
	uint32_t full = vector_is_mmx(entry, insn) && insn->pp == PP_NONE ? 8 : insn->l ? 32 : 16;
	switch (entry->size) {
	case SIZE_FULL:
		return full;
	case SIZE_HALF:
		return full / 2;
	case SIZE_QUARTER:
		return full / 4;
	case SIZE_EIGHTH:
		return full / 8;
	case SIZE_W:
		return insn->w && (insn->code_bytes == 8 || !(entry->flags & V_RM_GPR)) ? 8 : 4;
	case SIZE_DDUP:
		return insn->l ? 32 : 8;
	case SIZE_MMX4:
		return 4;
	default:
		return entry->size;
	}
}
