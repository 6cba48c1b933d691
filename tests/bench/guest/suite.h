/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suite.h - the rows of the compute suite: each does `count` units of one kind of work and returns a
 * number that depends on all of it, so that two machines can be compared.
 */
#pragma once

#include <stdint.h>

typedef uint64_t row(uint64_t count);

/* compute.c */
row row_int, row_sieve, row_qsort, row_call, row_dispatch, row_x87;
/* memory.c */
row row_chase_small, row_chase_large, row_memcpy, row_rep_movsb;
/* vector.c */
row row_nbody, row_mandelbrot, row_sgemm;
/* system.c */
row row_nothing, row_getppid, row_page_fault, row_fork, row_vfork_exec, row_pipe, row_signal;
row row_rewrite, row_xadd;
/* two.c */
row row_xadd_two, row_spin_two, row_turns_two, row_lock_two, row_futex_two, row_shoot_two;

/* Keeps the compiler from knowing what `value` is. */
#define OPAQUE(value) __asm__ volatile("" : "+r"(value) : : "memory")

static inline uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}
