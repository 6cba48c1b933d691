/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evex_table.c - one row for each run of opcodes that are alike.
 */
#include "vmm/soft/evex_table.h"

#define N   1u
#define P66 2u
#define PF3 4u
#define PF2 8u

#define W0 1u
#define W1 2u
#define WW 3u

#define ALL 7u /* lengths */
#define L0  1u
#define L2  4u
#define HI  6u

#define NF    X_NF
#define NV    X_NV
#define NM    X_NO_MASK
#define TOK   X_TO_MASK
#define FP    X_FP
#define RC    (X_FP | X_RC)
#define SAE   (X_FP | X_SAE)
#define IMM   X_IMM
#define ST    X_STORE
#define SC    X_SCALAR
#define MOVES X_SCALAR | X_SCALAR_V

/* Memory: all of the vector's length, or of what a broadcast takes; a part of it. */
enum {
	TUPLE_FULL = 128,
	TUPLE_HALF,
	TUPLE_MEM,
	TUPLE_MEM_2,
	TUPLE_MEM_4,
	TUPLE_MEM_8,
	TUPLE_DUP,
	TUPLE_W
};
#define FV  TUPLE_FULL
#define HV  TUPLE_HALF
#define FM  TUPLE_MEM
#define M2  TUPLE_MEM_2
#define M4  TUPLE_MEM_4
#define M8  TUPLE_MEM_8
#define DUP TUPLE_DUP
#define TW  TUPLE_W

#define R(map, first, last, prefixes, widths, tuple, element, lengths, flags) \
	{ \
		map, first, last, prefixes, widths, tuple, element, lengths, flags, X_BASE \
	}
#define H(map, first, last, prefixes, widths, tuple, element, lengths, flags, feature) \
	{ \
		map, first, last, prefixes, widths, tuple, element, lengths, flags, \
			X_BASE | (feature) \
	}

/* Of PS without prefix and PD with 66; of SS and SD. */
#define PS_PD(op, tuple, flags) \
	R(1, op, op, N, W0, tuple, 4, ALL, flags), R(1, op, op, P66, W1, tuple, 8, ALL, flags)
#define SS_SD(op, flags) \
	R(1, op, op, PF3, W0, 4, 4, ALL, SC | (flags)), \
		R(1, op, op, PF2, W1, 8, 8, ALL, SC | (flags))

static const struct evex_row table[] = {
	/* Moves */
	PS_PD(0x10, FM, NV),
	PS_PD(0x11, FM, NV | ST),
	SS_SD(0x10, MOVES),
	SS_SD(0x11, MOVES | ST),
	R(1, 0x12, 0x12, N, W0, 8, 4, L0, NM),
	R(1, 0x12, 0x12, P66, W1, 8, 8, L0, NM | X_MEMORY),
	R(1, 0x12, 0x12, PF3, W0, FM, 4, ALL, NV | NF),
	R(1, 0x12, 0x12, PF2, W1, DUP, 8, ALL, NV | NF),
	R(1, 0x16, 0x16, N, W0, 8, 4, L0, NM),
	R(1, 0x16, 0x16, P66, W1, 8, 8, L0, NM | X_MEMORY),
	R(1, 0x16, 0x16, PF3, W0, FM, 4, ALL, NV | NF),
	R(1, 0x13, 0x13, N, W0, 8, 4, L0, NM | NV | X_MEMORY | ST),
	R(1, 0x13, 0x13, P66, W1, 8, 8, L0, NM | NV | X_MEMORY | ST),
	R(1, 0x17, 0x17, N, W0, 8, 4, L0, NM | NV | X_MEMORY | ST),
	R(1, 0x17, 0x17, P66, W1, 8, 8, L0, NM | NV | X_MEMORY | ST),
	PS_PD(0x14, FV, NF),
	PS_PD(0x15, FV, NF),
	PS_PD(0x28, FM, NV | X_ALIGNED),
	PS_PD(0x29, FM, NV | X_ALIGNED | ST),
	PS_PD(0x2b, FM, NV | NM | X_ALIGNED | ST | X_MEMORY),
	R(1, 0x6e, 0x6e, P66, WW, TW, 4, L0, NV | NM | X_RM_GPR),
	R(1, 0x7e, 0x7e, P66, WW, TW, 4, L0, NV | NM | X_RM_GPR | ST),
	R(1, 0x7e, 0x7e, PF3, W1, 8, 8, L0, NV | NM),
	R(1, 0xd6, 0xd6, P66, W1, 8, 8, L0, NV | NM | ST),
	R(1, 0x6f, 0x6f, P66, WW, FM, 0, ALL, NV | X_ALIGNED),
	R(1, 0x7f, 0x7f, P66, WW, FM, 0, ALL, NV | X_ALIGNED | ST),
	R(1, 0x6f, 0x6f, PF3, WW, FM, 0, ALL, NV),
	R(1, 0x7f, 0x7f, PF3, WW, FM, 0, ALL, NV | ST),
	R(1, 0x6f, 0x6f, PF2, W0, FM, 1, ALL, NV),
	R(1, 0x6f, 0x6f, PF2, W1, FM, 2, ALL, NV),
	R(1, 0x7f, 0x7f, PF2, W0, FM, 1, ALL, NV | ST),
	R(1, 0x7f, 0x7f, PF2, W1, FM, 2, ALL, NV | ST),
	R(1, 0xe7, 0xe7, P66, W0, FM, 4, ALL, NV | NM | X_ALIGNED | ST | X_MEMORY),
	/* Conversions */
	R(1, 0x2a, 0x2a, PF3, WW, TW, 4, ALL, SC | NM | X_RM_GPR | RC),
	R(1, 0x2a, 0x2a, PF2, WW, TW, 8, ALL, SC | NM | X_RM_GPR | RC),
	R(1, 0x7b, 0x7b, PF3, WW, TW, 4, ALL, SC | NM | X_RM_GPR | RC),
	R(1, 0x7b, 0x7b, PF2, WW, TW, 8, ALL, SC | NM | X_RM_GPR | RC),
	R(1, 0x2c, 0x2c, PF3, WW, 4, 4, ALL, SC | NV | NM | X_REG_GPR | SAE),
	R(1, 0x2c, 0x2c, PF2, WW, 8, 8, ALL, SC | NV | NM | X_REG_GPR | SAE),
	R(1, 0x78, 0x78, PF3, WW, 4, 4, ALL, SC | NV | NM | X_REG_GPR | SAE),
	R(1, 0x78, 0x78, PF2, WW, 8, 8, ALL, SC | NV | NM | X_REG_GPR | SAE),
	R(1, 0x2d, 0x2d, PF3, WW, 4, 4, ALL, SC | NV | NM | X_REG_GPR | RC),
	R(1, 0x2d, 0x2d, PF2, WW, 8, 8, ALL, SC | NV | NM | X_REG_GPR | RC),
	R(1, 0x79, 0x79, PF3, WW, 4, 4, ALL, SC | NV | NM | X_REG_GPR | RC),
	R(1, 0x79, 0x79, PF2, WW, 8, 8, ALL, SC | NV | NM | X_REG_GPR | RC),
	R(1, 0x2e, 0x2f, N, W0, 4, 4, ALL, SC | NV | NM | X_FLAGS | SAE),
	R(1, 0x2e, 0x2f, P66, W1, 8, 8, ALL, SC | NV | NM | X_FLAGS | SAE),
	R(1, 0x5a, 0x5a, N, W0, HV, 8, ALL, NV | SAE),
	R(1, 0x5a, 0x5a, P66, W1, FV, 8, ALL, NV | RC),
	R(1, 0x5a, 0x5a, PF3, W0, 4, 4, ALL, SC | SAE),
	R(1, 0x5a, 0x5a, PF2, W1, 8, 8, ALL, SC | RC),
	R(1, 0x5b, 0x5b, N, WW, FV, 0, ALL, NV | RC),
	R(1, 0x5b, 0x5b, P66, W0, FV, 4, ALL, NV | RC),
	R(1, 0x5b, 0x5b, PF3, W0, FV, 4, ALL, NV | SAE),
	R(1, 0x78, 0x78, N, WW, FV, 0, ALL, NV | SAE),
	R(1, 0x78, 0x78, P66, W0, HV, 8, ALL, NV | SAE),
	R(1, 0x78, 0x78, P66, W1, FV, 8, ALL, NV | SAE),
	R(1, 0x79, 0x79, N, WW, FV, 0, ALL, NV | RC),
	R(1, 0x79, 0x79, P66, W0, HV, 8, ALL, NV | RC),
	R(1, 0x79, 0x79, P66, W1, FV, 8, ALL, NV | RC),
	R(1, 0x7a, 0x7a, P66, W0, HV, 8, ALL, NV | SAE),
	R(1, 0x7a, 0x7a, P66, W1, FV, 8, ALL, NV | SAE),
	R(1, 0x7a, 0x7a, PF3, W0, HV, 8, ALL, NV | RC),
	R(1, 0x7a, 0x7a, PF3, W1, FV, 8, ALL, NV | RC),
	R(1, 0x7a, 0x7a, PF2, WW, FV, 0, ALL, NV | RC),
	R(1, 0x7b, 0x7b, P66, W0, HV, 8, ALL, NV | RC),
	R(1, 0x7b, 0x7b, P66, W1, FV, 8, ALL, NV | RC),
	R(1, 0xe6, 0xe6, P66, W1, FV, 8, ALL, NV | SAE),
	R(1, 0xe6, 0xe6, PF3, W0, HV, 8, ALL, NV | RC),
	R(1, 0xe6, 0xe6, PF3, W1, FV, 8, ALL, NV | RC),
	R(1, 0xe6, 0xe6, PF2, W1, FV, 8, ALL, NV | RC),
	/* Arithmetic */
	PS_PD(0x51, FV, NV | RC),
	SS_SD(0x51, RC),
	PS_PD(0x54, FV, 0),
	PS_PD(0x55, FV, 0),
	PS_PD(0x56, FV, 0),
	PS_PD(0x57, FV, 0),
	PS_PD(0x58, FV, RC),
	SS_SD(0x58, RC),
	PS_PD(0x59, FV, RC),
	SS_SD(0x59, RC),
	PS_PD(0x5c, FV, RC),
	SS_SD(0x5c, RC),
	PS_PD(0x5d, FV, SAE),
	SS_SD(0x5d, SAE),
	PS_PD(0x5e, FV, RC),
	SS_SD(0x5e, RC),
	PS_PD(0x5f, FV, SAE),
	SS_SD(0x5f, SAE),
	PS_PD(0xc2, FV, TOK | SAE | IMM),
	SS_SD(0xc2, TOK | SAE | IMM),
	PS_PD(0xc6, FV, NF | IMM),
	/* Integers */
	R(1, 0x60, 0x60, P66, WW, FM, 1, ALL, NF),
	R(1, 0x61, 0x61, P66, WW, FM, 2, ALL, NF),
	R(1, 0x62, 0x62, P66, W0, FV, 4, ALL, NF),
	R(1, 0x63, 0x63, P66, WW, FM, 1, ALL, NF),
	R(1, 0x64, 0x64, P66, WW, FM, 1, ALL, TOK),
	R(1, 0x65, 0x65, P66, WW, FM, 2, ALL, TOK),
	R(1, 0x66, 0x66, P66, W0, FV, 4, ALL, TOK),
	R(1, 0x67, 0x67, P66, WW, FM, 1, ALL, NF),
	R(1, 0x68, 0x68, P66, WW, FM, 1, ALL, NF),
	R(1, 0x69, 0x69, P66, WW, FM, 2, ALL, NF),
	R(1, 0x6a, 0x6a, P66, W0, FV, 4, ALL, NF),
	R(1, 0x6b, 0x6b, P66, W0, FV, 2, ALL, NF),
	R(1, 0x6c, 0x6d, P66, W1, FV, 8, ALL, NF),
	R(1, 0x70, 0x70, P66, W0, FV, 4, ALL, NV | NF | IMM),
	R(1, 0x70, 0x70, PF3 | PF2, WW, FM, 2, ALL, NV | NF | IMM),
	R(1, 0x71, 0x71, P66, WW, FM, 2, ALL, X_GROUP | IMM),
	R(1, 0x72, 0x72, P66, WW, FV, 0, ALL, X_GROUP | IMM),
	R(1, 0x73, 0x73, P66, WW, FV, 8, ALL, X_GROUP | IMM),
	R(1, 0x74, 0x74, P66, WW, FM, 1, ALL, TOK),
	R(1, 0x75, 0x75, P66, WW, FM, 2, ALL, TOK),
	R(1, 0x76, 0x76, P66, W0, FV, 4, ALL, TOK),
	R(1, 0xc4, 0xc4, P66, WW, 2, 2, L0, NM | X_RM_GPR | IMM),
	R(1, 0xc5, 0xc5, P66, WW, 2, 2, L0, NV | NM | X_REG_GPR | X_RM_ONLY | IMM),
	R(1, 0xd1, 0xd1, P66, WW, 16, 2, ALL, NF),
	R(1, 0xd2, 0xd2, P66, W0, 16, 4, ALL, NF),
	R(1, 0xd3, 0xd3, P66, W1, 16, 8, ALL, NF),
	R(1, 0xe1, 0xe1, P66, WW, 16, 2, ALL, NF),
	R(1, 0xe2, 0xe2, P66, WW, 16, 0, ALL, NF),
	R(1, 0xf1, 0xf1, P66, WW, 16, 2, ALL, NF),
	R(1, 0xf2, 0xf2, P66, W0, 16, 4, ALL, NF),
	R(1, 0xf3, 0xf3, P66, W1, 16, 8, ALL, NF),
	R(1, 0xd4, 0xd4, P66, W1, FV, 8, ALL, 0),
	R(1, 0xd5, 0xd5, P66, WW, FM, 2, ALL, 0),
	R(1, 0xd8, 0xd8, P66, WW, FM, 1, ALL, 0),
	R(1, 0xd9, 0xd9, P66, WW, FM, 2, ALL, 0),
	R(1, 0xda, 0xda, P66, WW, FM, 1, ALL, 0),
	R(1, 0xdb, 0xdb, P66, WW, FV, 0, ALL, 0),
	R(1, 0xdc, 0xdc, P66, WW, FM, 1, ALL, 0),
	R(1, 0xdd, 0xdd, P66, WW, FM, 2, ALL, 0),
	R(1, 0xde, 0xde, P66, WW, FM, 1, ALL, 0),
	R(1, 0xdf, 0xdf, P66, WW, FV, 0, ALL, 0),
	R(1, 0xe0, 0xe0, P66, WW, FM, 1, ALL, 0),
	R(1, 0xe3, 0xe5, P66, WW, FM, 2, ALL, 0),
	R(1, 0xe8, 0xe8, P66, WW, FM, 1, ALL, 0),
	R(1, 0xe9, 0xea, P66, WW, FM, 2, ALL, 0),
	R(1, 0xeb, 0xeb, P66, WW, FV, 0, ALL, 0),
	R(1, 0xec, 0xec, P66, WW, FM, 1, ALL, 0),
	R(1, 0xed, 0xee, P66, WW, FM, 2, ALL, 0),
	R(1, 0xef, 0xef, P66, WW, FV, 0, ALL, 0),
	R(1, 0xf4, 0xf4, P66, W1, FV, 8, ALL, 0),
	R(1, 0xf5, 0xf5, P66, WW, FM, 4, ALL, NF),
	R(1, 0xf6, 0xf6, P66, WW, FM, 8, ALL, NM | NF),
	R(1, 0xf8, 0xf8, P66, WW, FM, 1, ALL, 0),
	R(1, 0xf9, 0xf9, P66, WW, FM, 2, ALL, 0),
	R(1, 0xfa, 0xfa, P66, W0, FV, 4, ALL, 0),
	R(1, 0xfb, 0xfb, P66, W1, FV, 8, ALL, 0),
	R(1, 0xfc, 0xfc, P66, WW, FM, 1, ALL, 0),
	R(1, 0xfd, 0xfd, P66, WW, FM, 2, ALL, 0),
	R(1, 0xfe, 0xfe, P66, W0, FV, 4, ALL, 0),
	/* 0F 38 */
	R(2, 0x00, 0x00, P66, WW, FM, 1, ALL, NF),
	R(2, 0x04, 0x04, P66, WW, FM, 2, ALL, NF),
	R(2, 0x0b, 0x0b, P66, WW, FM, 2, ALL, 0),
	R(2, 0x0c, 0x0c, P66, W0, FV, 4, ALL, NF),
	R(2, 0x0d, 0x0d, P66, W1, FV, 8, ALL, NF),
	R(2, 0x10, 0x12, P66, W1, FM, 2, ALL, 0),
	R(2, 0x10, 0x10, PF3, W0, M2, 2, ALL, NV | ST),
	R(2, 0x11, 0x11, PF3, W0, M4, 4, ALL, NV | ST),
	R(2, 0x12, 0x12, PF3, W0, M8, 8, ALL, NV | ST),
	R(2, 0x13, 0x13, PF3, W0, M2, 4, ALL, NV | ST),
	R(2, 0x14, 0x14, PF3, W0, M4, 8, ALL, NV | ST),
	R(2, 0x15, 0x15, PF3, W0, M2, 8, ALL, NV | ST),
	R(2, 0x13, 0x13, P66, W0, M2, 4, ALL, NV | SAE),
	R(2, 0x14, 0x15, P66, WW, FV, 0, ALL, 0),
	R(2, 0x16, 0x16, P66, WW, FV, 0, HI, NF),
	R(2, 0x18, 0x18, P66, W0, 4, 4, ALL, NV | X_ONE),
	R(2, 0x19, 0x19, P66, W0, 8, 4, HI, NV | X_ONE),
	R(2, 0x19, 0x19, P66, W1, 8, 8, HI, NV | X_ONE),
	R(2, 0x1a, 0x1a, P66, WW, 16, 0, HI, NV | X_ONE | X_MEMORY),
	R(2, 0x1b, 0x1b, P66, WW, 32, 0, L2, NV | X_ONE | X_MEMORY),
	R(2, 0x1c, 0x1c, P66, WW, FM, 1, ALL, NV),
	R(2, 0x1d, 0x1d, P66, WW, FM, 2, ALL, NV),
	R(2, 0x1e, 0x1e, P66, W0, FV, 4, ALL, NV),
	R(2, 0x1f, 0x1f, P66, W1, FV, 8, ALL, NV),
	R(2, 0x20, 0x20, P66, WW, M2, 2, ALL, NV),
	R(2, 0x21, 0x21, P66, WW, M4, 4, ALL, NV),
	R(2, 0x22, 0x22, P66, WW, M8, 8, ALL, NV),
	R(2, 0x23, 0x23, P66, WW, M2, 4, ALL, NV),
	R(2, 0x24, 0x24, P66, WW, M4, 8, ALL, NV),
	R(2, 0x25, 0x25, P66, W0, M2, 8, ALL, NV),
	R(2, 0x20, 0x20, PF3, W0, M2, 2, ALL, NV | ST),
	R(2, 0x21, 0x21, PF3, W0, M4, 4, ALL, NV | ST),
	R(2, 0x22, 0x22, PF3, W0, M8, 8, ALL, NV | ST),
	R(2, 0x23, 0x23, PF3, W0, M2, 4, ALL, NV | ST),
	R(2, 0x24, 0x24, PF3, W0, M4, 8, ALL, NV | ST),
	R(2, 0x25, 0x25, PF3, W0, M2, 8, ALL, NV | ST),
	R(2, 0x26, 0x26, P66 | PF3, W0, FM, 1, ALL, TOK),
	R(2, 0x26, 0x26, P66 | PF3, W1, FM, 2, ALL, TOK),
	R(2, 0x27, 0x27, P66 | PF3, WW, FV, 0, ALL, TOK),
	R(2, 0x28, 0x28, P66, W1, FV, 8, ALL, 0),
	R(2, 0x28, 0x28, PF3, WW, FM, 0, ALL, NV | NM | X_OF_MASK | X_RM_ONLY),
	R(2, 0x29, 0x29, P66, W1, FV, 8, ALL, TOK),
	R(2, 0x29, 0x29, PF3, WW, FM, 0, ALL, NV | NM | TOK | X_RM_ONLY),
	R(2, 0x2a, 0x2a, P66, W0, FM, 4, ALL, NV | NM | X_ALIGNED | X_MEMORY),
	R(2, 0x2a, 0x2a, PF3, W1, FM, 8, ALL, NV | NM | X_OF_MASK | X_RM_ONLY),
	R(2, 0x2b, 0x2b, P66, W0, FV, 2, ALL, NF),
	R(2, 0x2c, 0x2c, P66, WW, FV, 0, ALL, RC),
	R(2, 0x2d, 0x2d, P66, WW, TW, 0, ALL, SC | RC),
	R(2, 0x30, 0x30, P66, WW, M2, 2, ALL, NV),
	R(2, 0x31, 0x31, P66, WW, M4, 4, ALL, NV),
	R(2, 0x32, 0x32, P66, WW, M8, 8, ALL, NV),
	R(2, 0x33, 0x33, P66, WW, M2, 4, ALL, NV),
	R(2, 0x34, 0x34, P66, WW, M4, 8, ALL, NV),
	R(2, 0x35, 0x35, P66, W0, M2, 8, ALL, NV),
	R(2, 0x30, 0x30, PF3, W0, M2, 2, ALL, NV | ST),
	R(2, 0x31, 0x31, PF3, W0, M4, 4, ALL, NV | ST),
	R(2, 0x32, 0x32, PF3, W0, M8, 8, ALL, NV | ST),
	R(2, 0x33, 0x33, PF3, W0, M2, 4, ALL, NV | ST),
	R(2, 0x34, 0x34, PF3, W0, M4, 8, ALL, NV | ST),
	R(2, 0x35, 0x35, PF3, W0, M2, 8, ALL, NV | ST),
	R(2, 0x36, 0x36, P66, WW, FV, 0, HI, NF),
	R(2, 0x37, 0x37, P66, W1, FV, 8, ALL, TOK),
	R(2, 0x38, 0x38, P66, WW, FM, 1, ALL, 0),
	R(2, 0x38, 0x38, PF3, WW, FM, 0, ALL, NV | NM | X_OF_MASK | X_RM_ONLY),
	R(2, 0x39, 0x39, P66, WW, FV, 0, ALL, 0),
	R(2, 0x39, 0x39, PF3, WW, FM, 0, ALL, NV | NM | TOK | X_RM_ONLY),
	R(2, 0x3a, 0x3a, P66, WW, FM, 2, ALL, 0),
	R(2, 0x3a, 0x3a, PF3, W0, FM, 4, ALL, NV | NM | X_OF_MASK | X_RM_ONLY),
	R(2, 0x3b, 0x3b, P66, WW, FV, 0, ALL, 0),
	R(2, 0x3c, 0x3c, P66, WW, FM, 1, ALL, 0),
	R(2, 0x3d, 0x3d, P66, WW, FV, 0, ALL, 0),
	R(2, 0x3e, 0x3e, P66, WW, FM, 2, ALL, 0),
	R(2, 0x3f, 0x40, P66, WW, FV, 0, ALL, 0),
	R(2, 0x42, 0x42, P66, WW, FV, 0, ALL, NV | SAE),
	R(2, 0x43, 0x43, P66, WW, TW, 0, ALL, SC | SAE),
	R(2, 0x44, 0x44, P66, WW, FV, 0, ALL, NV),
	R(2, 0x45, 0x47, P66, WW, FV, 0, ALL, 0),
	R(2, 0x4c, 0x4c, P66, WW, FV, 0, ALL, NV | FP | X_FLUSHED),
	R(2, 0x4d, 0x4d, P66, WW, TW, 0, ALL, SC | FP | X_FLUSHED),
	R(2, 0x4e, 0x4e, P66, WW, FV, 0, ALL, NV | FP),
	R(2, 0x4f, 0x4f, P66, WW, TW, 0, ALL, SC | FP),
	H(2, 0x50, 0x53, P66, W0, FV, 4, ALL, 0, X_VNNI),
	H(2, 0x54, 0x54, P66, W0, FM, 1, ALL, NV, X_BITALG),
	H(2, 0x54, 0x54, P66, W1, FM, 2, ALL, NV, X_BITALG),
	H(2, 0x55, 0x55, P66, WW, FV, 0, ALL, NV, X_VPOPCNTDQ),
	R(2, 0x58, 0x58, P66, W0, 4, 4, ALL, NV | X_ONE),
	R(2, 0x59, 0x59, P66, W0, 8, 4, ALL, NV | X_ONE),
	R(2, 0x59, 0x59, P66, W1, 8, 8, ALL, NV | X_ONE),
	R(2, 0x5a, 0x5a, P66, WW, 16, 0, HI, NV | X_ONE | X_MEMORY),
	R(2, 0x5b, 0x5b, P66, WW, 32, 0, L2, NV | X_ONE | X_MEMORY),
	H(2, 0x62, 0x62, P66, W0, 1, 1, ALL, NV | X_PACK, X_VBMI2),
	H(2, 0x62, 0x62, P66, W1, 2, 2, ALL, NV | X_PACK, X_VBMI2),
	H(2, 0x63, 0x63, P66, W0, 1, 1, ALL, NV | X_PACK | ST, X_VBMI2),
	H(2, 0x63, 0x63, P66, W1, 2, 2, ALL, NV | X_PACK | ST, X_VBMI2),
	R(2, 0x64, 0x65, P66, WW, FV, 0, ALL, 0),
	R(2, 0x66, 0x66, P66, W0, FM, 1, ALL, 0),
	R(2, 0x66, 0x66, P66, W1, FM, 2, ALL, 0),
	H(2, 0x70, 0x70, P66, W1, FM, 2, ALL, 0, X_VBMI2),
	H(2, 0x71, 0x71, P66, WW, FV, 0, ALL, 0, X_VBMI2),
	H(2, 0x72, 0x72, P66, W1, FM, 2, ALL, 0, X_VBMI2),
	H(2, 0x73, 0x73, P66, WW, FV, 0, ALL, 0, X_VBMI2),
	H(2, 0x75, 0x75, P66, W0, FM, 1, ALL, NF, X_VBMI),
	R(2, 0x75, 0x75, P66, W1, FM, 2, ALL, NF),
	R(2, 0x76, 0x77, P66, WW, FV, 0, ALL, NF),
	R(2, 0x78, 0x78, P66, W0, 1, 1, ALL, NV | X_ONE),
	R(2, 0x79, 0x79, P66, W0, 2, 2, ALL, NV | X_ONE),
	R(2, 0x7a, 0x7a, P66, W0, 1, 1, ALL, NV | X_RM_GPR | X_RM_ONLY),
	R(2, 0x7b, 0x7b, P66, W0, 2, 2, ALL, NV | X_RM_GPR | X_RM_ONLY),
	R(2, 0x7c, 0x7c, P66, WW, TW, 0, ALL, NV | X_RM_GPR | X_RM_ONLY),
	H(2, 0x7d, 0x7d, P66, W0, FM, 1, ALL, NF, X_VBMI),
	R(2, 0x7d, 0x7d, P66, W1, FM, 2, ALL, NF),
	R(2, 0x7e, 0x7f, P66, WW, FV, 0, ALL, NF),
	H(2, 0x83, 0x83, P66, W1, FV, 1, ALL, NF, X_VBMI),
	R(2, 0x88, 0x89, P66, WW, TW, 0, ALL, NV | X_PACK),
	R(2, 0x8a, 0x8b, P66, WW, TW, 0, ALL, NV | X_PACK | ST),
	H(2, 0x8d, 0x8d, P66, W0, FM, 1, ALL, NF, X_VBMI),
	R(2, 0x8d, 0x8d, P66, W1, FM, 2, ALL, NF),
	H(2, 0x8f, 0x8f, P66, W0, FM, 1, ALL, TOK, X_BITALG),
	R(2, 0x90, 0x93, P66, WW, TW, 0, ALL, NV | X_GATHER | X_MEMORY),
	R(2, 0xa0, 0xa3, P66, WW, TW, 0, ALL, NV | X_SCATTER | X_MEMORY),
	R(2, 0x96, 0x98, P66, WW, FV, 0, ALL, RC),
	R(2, 0x99, 0x99, P66, WW, TW, 0, ALL, SC | RC),
	R(2, 0x9a, 0x9a, P66, WW, FV, 0, ALL, RC),
	R(2, 0x9b, 0x9b, P66, WW, TW, 0, ALL, SC | RC),
	R(2, 0x9c, 0x9c, P66, WW, FV, 0, ALL, RC),
	R(2, 0x9d, 0x9d, P66, WW, TW, 0, ALL, SC | RC),
	R(2, 0x9e, 0x9e, P66, WW, FV, 0, ALL, RC),
	R(2, 0x9f, 0x9f, P66, WW, TW, 0, ALL, SC | RC),
	R(2, 0xa6, 0xa8, P66, WW, FV, 0, ALL, RC),
	R(2, 0xa9, 0xa9, P66, WW, TW, 0, ALL, SC | RC),
	R(2, 0xaa, 0xaa, P66, WW, FV, 0, ALL, RC),
	R(2, 0xab, 0xab, P66, WW, TW, 0, ALL, SC | RC),
	R(2, 0xac, 0xac, P66, WW, FV, 0, ALL, RC),
	R(2, 0xad, 0xad, P66, WW, TW, 0, ALL, SC | RC),
	R(2, 0xae, 0xae, P66, WW, FV, 0, ALL, RC),
	R(2, 0xaf, 0xaf, P66, WW, TW, 0, ALL, SC | RC),
	H(2, 0xb4, 0xb5, P66, W1, FV, 8, ALL, 0, X_IFMA),
	R(2, 0xb6, 0xb8, P66, WW, FV, 0, ALL, RC),
	R(2, 0xb9, 0xb9, P66, WW, TW, 0, ALL, SC | RC),
	R(2, 0xba, 0xba, P66, WW, FV, 0, ALL, RC),
	R(2, 0xbb, 0xbb, P66, WW, TW, 0, ALL, SC | RC),
	R(2, 0xbc, 0xbc, P66, WW, FV, 0, ALL, RC),
	R(2, 0xbd, 0xbd, P66, WW, TW, 0, ALL, SC | RC),
	R(2, 0xbe, 0xbe, P66, WW, FV, 0, ALL, RC),
	R(2, 0xbf, 0xbf, P66, WW, TW, 0, ALL, SC | RC),
	R(2, 0xc4, 0xc4, P66, WW, FV, 0, ALL, NV | NF),
	H(2, 0xcf, 0xcf, P66, W0, FM, 1, ALL, 0, X_GFNI),
	H(2, 0xdc, 0xdf, P66, WW, FM, 16, ALL, NM | NF, X_VAES),
	/* 0F 3A */
	R(3, 0x00, 0x01, P66, W1, FV, 8, HI, NV | NF | IMM),
	R(3, 0x03, 0x03, P66, WW, FV, 0, ALL, NF | IMM),
	R(3, 0x04, 0x04, P66, W0, FV, 4, ALL, NV | NF | IMM),
	R(3, 0x05, 0x05, P66, W1, FV, 8, ALL, NV | NF | IMM),
	R(3, 0x08, 0x08, P66, W0, FV, 4, ALL, NV | SAE | IMM),
	R(3, 0x09, 0x09, P66, W1, FV, 8, ALL, NV | SAE | IMM),
	R(3, 0x0a, 0x0a, P66, W0, 4, 4, ALL, SC | SAE | IMM),
	R(3, 0x0b, 0x0b, P66, W1, 8, 8, ALL, SC | SAE | IMM),
	R(3, 0x0f, 0x0f, P66, WW, FM, 1, ALL, NF | IMM),
	R(3, 0x14, 0x14, P66, WW, 1, 1, L0, NV | NM | X_RM_GPR | ST | IMM),
	R(3, 0x15, 0x15, P66, WW, 2, 2, L0, NV | NM | X_RM_GPR | ST | IMM),
	R(3, 0x16, 0x16, P66, WW, TW, 0, L0, NV | NM | X_RM_GPR | ST | IMM),
	R(3, 0x17, 0x17, P66, WW, 4, 4, L0, NV | NM | X_RM_GPR | ST | IMM),
	R(3, 0x18, 0x18, P66, WW, 16, 0, HI, NF | IMM),
	R(3, 0x19, 0x19, P66, WW, 16, 0, HI, NV | NF | ST | IMM),
	R(3, 0x1a, 0x1a, P66, WW, 32, 0, L2, NF | IMM),
	R(3, 0x1b, 0x1b, P66, WW, 32, 0, L2, NV | NF | ST | IMM),
	R(3, 0x38, 0x38, P66, WW, 16, 0, HI, NF | IMM),
	R(3, 0x39, 0x39, P66, WW, 16, 0, HI, NV | NF | ST | IMM),
	R(3, 0x3a, 0x3a, P66, WW, 32, 0, L2, NF | IMM),
	R(3, 0x3b, 0x3b, P66, WW, 32, 0, L2, NV | NF | ST | IMM),
	R(3, 0x1d, 0x1d, P66, W0, M2, 4, ALL, NV | ST | SAE | X_HALVES | IMM),
	R(3, 0x1e, 0x1f, P66, WW, FV, 0, ALL, TOK | IMM),
	R(3, 0x20, 0x20, P66, WW, 1, 1, L0, NM | X_RM_GPR | IMM),
	R(3, 0x21, 0x21, P66, W0, 4, 4, L0, NM | IMM),
	R(3, 0x22, 0x22, P66, WW, TW, 0, L0, NM | X_RM_GPR | IMM),
	R(3, 0x23, 0x23, P66, WW, FV, 0, HI, NF | IMM),
	R(3, 0x25, 0x25, P66, WW, FV, 0, ALL, IMM),
	R(3, 0x26, 0x26, P66, WW, FV, 0, ALL, NV | SAE | IMM),
	R(3, 0x27, 0x27, P66, WW, TW, 0, ALL, SC | SAE | IMM),
	R(3, 0x3e, 0x3f, P66, W0, FM, 1, ALL, TOK | IMM),
	R(3, 0x3e, 0x3f, P66, W1, FM, 2, ALL, TOK | IMM),
	R(3, 0x42, 0x42, P66, W0, FM, 2, ALL, NF | IMM),
	R(3, 0x43, 0x43, P66, WW, FV, 0, HI, NF | IMM),
	H(3, 0x44, 0x44, P66, WW, FM, 16, ALL, NM | NF | IMM, X_VPCLMUL),
	R(3, 0x50, 0x50, P66, WW, FV, 0, ALL, SAE | IMM),
	R(3, 0x51, 0x51, P66, WW, TW, 0, ALL, SC | SAE | IMM),
	R(3, 0x54, 0x54, P66, WW, FV, 0, ALL, SAE | IMM),
	R(3, 0x55, 0x55, P66, WW, TW, 0, ALL, SC | SAE | IMM),
	R(3, 0x56, 0x56, P66, WW, FV, 0, ALL, NV | SAE | X_FLUSHED | IMM),
	R(3, 0x57, 0x57, P66, WW, TW, 0, ALL, SC | SAE | X_FLUSHED | IMM),
	R(3, 0x66, 0x66, P66, WW, FV, 0, ALL, NV | TOK | FP | IMM),
	R(3, 0x67, 0x67, P66, WW, TW, 0, ALL, SC | NV | TOK | FP | IMM),
	H(3, 0x70, 0x70, P66, W1, FM, 2, ALL, IMM, X_VBMI2),
	H(3, 0x71, 0x71, P66, WW, FV, 0, ALL, IMM, X_VBMI2),
	H(3, 0x72, 0x72, P66, W1, FM, 2, ALL, IMM, X_VBMI2),
	H(3, 0x73, 0x73, P66, WW, FV, 0, ALL, IMM, X_VBMI2),
	H(3, 0xce, 0xcf, P66, W1, FV, 1, ALL, IMM | NF, X_GFNI),
};

/* 73 /3 and /7 shift whole lanes by bytes. */
static bool is_byte_shift(const struct insn *insn)
{
	return insn->map == MAP_0F && insn->opcode == 0x73 && (insn->modrm >> 3 & 3) == 3;
}

/* Which of the eight there are at 71 to 73. */
static bool is_good_group(const struct insn *insn)
{
	uint32_t which = insn->modrm >> 3 & 7;
	if (insn->opcode == 0x71)
		return which == 2 || which == 4 || which == 6;
	if (insn->opcode == 0x72)
		return which < 2 || which == 4 || (insn->w == 0 && (which == 2 || which == 6));
	if (is_byte_shift(insn))
		return insn->opmask == 0 && !insn->zeroes && !(insn->is_memory && insn->extra);
	return insn->w == 1 && (which == 2 || which == 6);
}

static bool has_rounding(const struct evex_row *row, const struct insn *insn)
{
	if (insn->is_memory || !insn->extra)
		return false;
	return row->flags & (X_SAE | X_RC);
}

static bool is_good_length(const struct evex_row *row, const struct insn *insn)
{
	if (has_rounding(row, insn))
		return true;
	if (row->flags & X_SCALAR)
		return insn->l < 3;
	return row->lengths >> insn->l & 1;
}

static bool is_good_extra(const struct evex_row *row, const struct insn *insn)
{
	if (!insn->extra)
		return true;
	if (insn->is_memory)
		return row->tuple == TUPLE_FULL || row->tuple == TUPLE_HALF;
	return has_rounding(row, insn);
}

static bool is_good_mask(const struct evex_row *row, const struct insn *insn)
{
	bool is_indexed = row->flags & (X_GATHER | X_SCATTER);
	if ((row->flags & X_NO_MASK) && (insn->opmask || insn->zeroes))
		return false;
	if (is_indexed && !insn->opmask)
		return false;
	bool never_zeroes = is_indexed || (row->flags & X_TO_MASK) ||
		((row->flags & X_STORE) && insn->is_memory);
	return !insn->zeroes || (insn->opmask && !never_zeroes);
}

static bool is_good_indexed(const struct evex_row *row, const struct insn *insn)
{
	if (!(row->flags & (X_GATHER | X_SCATTER)))
		return true;
	bool has_sib = insn->is_memory && (insn->modrm & 7) == 4 && insn->address_bytes != 2;
	uint32_t index = insn->vector_index | (uint32_t)insn->high << 4;
	return has_sib && insn->vvvv == insn->high << 4 &&
		(!(row->flags & X_GATHER) || index != insn->reg);
}

static bool is_good_vvvv(const struct evex_row *row, const struct insn *insn)
{
	uint32_t flags = row->flags;
	if (flags & (X_GATHER | X_SCATTER))
		return true;
	bool has_none = (flags & X_NV) || ((flags & X_SCALAR_V) && insn->is_memory);
	return !has_none || insn->vvvv == 0;
}

static bool is_good(const struct evex_row *row, const struct insn *insn)
{
	uint32_t flags = row->flags;
	if (((flags & X_RM_ONLY) && insn->is_memory) || ((flags & X_MEMORY) && !insn->is_memory))
		return false;
	if ((flags & X_TO_MASK) && insn->reg_high)
		return false;
	if ((flags & X_REG_GPR) && insn->reg > 15)
		return false;
	if ((flags & X_GROUP) && !is_good_group(insn))
		return false;
	return is_good_length(row, insn) && is_good_extra(row, insn) && is_good_mask(row, insn) &&
		is_good_vvvv(row, insn) && is_good_indexed(row, insn);
}

const struct evex_row *evex_row(const struct insn *insn)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct evex_row *row = &table[i];
		bool is_it = row->map == insn->map && insn->opcode >= row->first &&
			insn->opcode <= row->last && (row->prefixes >> insn->pp & 1) &&
			(row->widths >> insn->w & 1);
		if (is_it)
			return is_good(row, insn) ? row : NULL;
	}
	return NULL;
}

uint32_t evex_bytes(const struct evex_row *row, const struct insn *insn)
{
	if (row->flags & X_SCALAR)
		return 16;
	return has_rounding(row, insn) ? 64 : 16u << insn->l;
}

uint32_t evex_memory_bytes(const struct evex_row *row, const struct insn *insn)
{
	uint32_t full = 16u << insn->l, by_w = insn->w ? 8 : 4;
	switch (row->tuple) {
	case TUPLE_FULL:
		return insn->extra ? by_w : full;
	case TUPLE_HALF:
		return insn->extra ? 4 : full / 2;
	case TUPLE_MEM:
		return full;
	case TUPLE_MEM_2:
		return full / 2;
	case TUPLE_MEM_4:
		return full / 4;
	case TUPLE_MEM_8:
		return full / 8;
	case TUPLE_DUP:
		return insn->l ? full : 8;
	case TUPLE_W:
		return by_w;
	default:
		return row->tuple;
	}
}

uint32_t evex_element_bytes(const struct evex_row *row, const struct insn *insn)
{
	return row->element ? row->element : insn->w ? 8 : 4;
}

uint32_t evex_elements(const struct evex_row *row, const struct insn *insn)
{
	return row->flags & X_SCALAR ? 1 : evex_bytes(row, insn) / evex_element_bytes(row, insn);
}
