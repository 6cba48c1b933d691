/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wide.h - addresses that a program reserves far beyond its memory, and the memory it takes there.
 *
 * Runtimes of languages (Go, V8, allocators with arenas) ask for gigabytes that nobody may touch and make small parts of
 * them usable later. Such a reservation costs nothing; memory is counted a chunk of a mebibyte at a time.
 */
#pragma once

#include "unikernel/memory_runs.h"

/* From this size on what cannot be touched is a reservation. */
#define WIDE_LEAST (UINT64_C(32) << 20)

/* Whether the address is one of those that reservations get. */
bool wide_is(uint64_t address);

/* At `hint` if it is free: the address or -ENOMEM. */
int64_t wide_reserve(uint64_t hint, uint64_t size);

/* As mmap over it, mprotect, munmap and madvise: 0 or a negative errno. -ENOMEM where nothing is reserved, or memory is out. */
int wide_renew(uint64_t address, uint64_t size, uint64_t rights);
int wide_protect(uint64_t address, uint64_t size, uint64_t rights);
int wide_unmap(uint64_t address, uint64_t size);
int wide_empty(uint64_t address, uint64_t size);

/*
 * What one process has there. A fork leaves the parent's aside, with its bytes, and the child in its place; NULL without
 * memory. Who leaves gives its own back to wide_enter(); NULL is who has nothing.
 */
struct wide;
bool wide_is_used(void);
struct wide *wide_fork(void);
struct wide *wide_leave(void);
void wide_enter(struct wide *wide);
void wide_end(void);                 /* the current one's is gone */
void wide_free(struct wide *parent); /* a fork that failed */

/* Its runs, for a snapshot. */
int wide_runs(memory_each_run *each, void *data);
