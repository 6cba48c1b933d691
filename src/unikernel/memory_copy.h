/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_copy.h - the memory of processes that do not run.
 */
#pragma once

#include "unikernel/kernel.h"

struct memory_span {
	uint64_t start, end;
};

/* The main stack, which each process has at the same place, and what of it is below all pointers to it. */
struct memory_stack {
	struct memory_span all, unused;
};

struct memory_copy;

/* The current process's, with its bytes: a child goes on with the same. NULL without memory. */
struct memory_copy *memory_fork(const struct memory_stack *stack);
void memory_drop(struct memory_copy *copy); /* a fork that failed */

/*
 * The current process will not run; memory_enter() or memory_begin() follows, after a program that is linked to an address was
 * exchanged for the other's. NULL without memory.
 */
struct memory_copy *memory_leave(const struct memory_stack *stack);

/* `to` runs instead of `from`, or (NULL) of who has ended; `to` is gone. */
void memory_enter(struct memory_copy *from, struct memory_copy *to);
void memory_begin(struct memory_copy *from, const struct memory_stack *stack);
