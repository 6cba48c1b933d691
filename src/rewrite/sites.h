/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sites.h - the instructions of a program, where control can enter among them, and its system calls.
 */
#pragma once

#include "model/elf64.h"

/* What a rewriter must know of one instruction. */
struct instruction {
	uint64_t address;
	uint8_t length;
	uint8_t rip_displacement; /* offset of a RIP-relative disp32 in it, or 0 */
	uint8_t lock; /* offset of a LOCK prefix that can be another one, plus 1; or 0 */
	bool is_syscall : 1;
	bool is_branch : 1;  /* jumps, calls, returns, traps: control does not simply go on */
	bool is_number : 1;  /* mov $imm32, %eax or %rax; the number is its last 4 bytes */
	bool is_entered : 1; /* control can come here from elsewhere */
};

struct sites {
	struct instruction *list; /* ascending; a gap where bytes are no instruction */
	size_t count;
	size_t size;
};

/* Disassembles every executable part of the program. */
void sites_find(const struct elf *elf, struct sites *ret);
void sites_done(struct sites *sites);

/* The index of the instruction at an address, or -1. */
int64_t sites_index(const struct sites *sites, uint64_t address);

/* The file offset of an address inside a loaded segment, or -1. */
int64_t sites_file_offset(const struct elf *elf, uint64_t address);
