/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registers.h - what a program's thread looks like while the library OS serves its call.
 *
 * entry.S knows the offsets; the assertions hold them.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "unikernel/registers_offsets.h"

/* On the thread's kernel stack from entry to return. */
struct registers {
	uint64_t r15, r14, r13, r12, rbp, rbx;
	uint64_t r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	uint64_t number; /* of the call; rax is its result on return */
	/* In the order that iretq takes them. */
	uint64_t rip, cs, rflags, rsp, ss;
};

static_assert(offsetof(struct registers, rax) == REGISTERS_RAX, "entry.S");
static_assert(offsetof(struct registers, number) == REGISTERS_NUMBER, "entry.S");
static_assert(offsetof(struct registers, rip) == REGISTERS_RIP, "entry.S");
static_assert(offsetof(struct registers, rflags) == REGISTERS_RFLAGS, "entry.S");
static_assert(offsetof(struct registers, rsp) == REGISTERS_RSP, "entry.S");
static_assert(sizeof(struct registers) == REGISTERS_SIZE, "entry.S");
