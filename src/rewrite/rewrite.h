/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rewrite.h - turns the system calls of an ELF program into calls of a function, when an image is built.
 *
 * The result is an ordinary ELF file, as large as the original plus a segment of trampolines, in which
 * each `syscall` that could be rewritten jumps to its trampoline. What could not is left as it is and
 * traps where it runs. Unless it forwards, its atomic instructions are no longer locked (locks.c). Pure: from bytes to bytes.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/*
 * The program header of this type names the slots: 8 bytes each at p_vaddr, absolute, that hold the addresses of the
 * functions that trampolines call: the slot of the call's number where that is known, else the first (BOOT_SLOT; of a
 * program that forwards there is one, elsewhere). They are reached by `call` with the caller's stack pointer 128 bytes
 * lower than at the system call; they must return with every register but rax, rcx and r11 as it was, flags included.
 */
#define PT_BERTH_SLOT 0x62746872u

/* How sites were rewritten; `left` ones trap. */
struct rewrite_count {
	uint32_t sites;
	uint32_t by_number;   /* over the `mov $number, %eax` before the site */
	uint32_t by_follower; /* over the site and what follows it */
	uint32_t by_leader;   /* over what precedes the site, and the site */
	uint32_t kept;        /* calls that return elsewhere than a function does; they trap, too */
	uint32_t left;
	uint32_t locks; /* LOCK prefixes that are none any more: nobody else runs */
};

struct rewrite_options {
	/*
	 * The slot starts out with the address of code that makes the real system call, so that the result
	 * runs on Linux as it is (ET_EXEC only). For tests: same output, every call by trampoline.
	 */
	bool forwards;
};

/*
 * Rewrites the program `data`. Returns 0 and the new file in *ret, which the caller frees, or -ENOEXEC with
 * what is wrong with it. A program without a single site is no error.
 */
int rewrite_program(const void *data, size_t size, const struct rewrite_options *options,
	void **ret, size_t *ret_size, struct rewrite_count *ret_count, struct error *e) must_use;
