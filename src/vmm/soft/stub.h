/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stub.h - the host's own instruction between a load and a store of the guest's registers.
 *
 * A stub is a few machine instructions in memory that is written through one mapping and executed
 * through another. It touches nothing but struct cpu and the operand that it is given.
 */
#pragma once

#include "vmm/soft/cpu.h"

struct stub {
	void (*run)(struct cpu *cpu, void *memory);
};

#define STUB_X87       0x01u /* the x87 and MMX state is loaded and saved */
#define STUB_FP        0x02u /* MXCSR comes from cpu->stub_mxcsr and goes back there */
#define STUB_WIDE      0x04u /* as wide as there are */
#define STUB_FLAGS_OUT 0x08u
#define STUB_FLAGS_IN  0x10u
#define STUB_RCX_OUT   0x20u
#define STUB_RAX_RDX   0x40u

struct stub_recipe {
	uint32_t flags;
	uint32_t vectors; /* bit n: register n is loaded and stored */
	uint8_t opmasks;  /* likewise */
	uint8_t gpr;      /* byte offset of the register that stands in for RAX, 0xff: none */
	uint8_t length, unused;
	uint8_t bytes[16]; /* the instruction; a memory operand is [rsi] */
};

struct stubs;

int stubs_new(struct stubs **ret, struct error *e) must_use;
void stubs_free(struct stubs *stubs);

/* NULL if there is no room: stubs_flush() when no op that has one is left. */
const struct stub *stub_get(struct stubs *stubs, const struct stub_recipe *recipe);
void stubs_flush(struct stubs *stubs);
