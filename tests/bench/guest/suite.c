/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suite.c - one row of the compute suite, as a program.
 *
 * usage: suite ROW COUNT     prints what the row returned
 *        suite --list
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

static const struct {
	const char *name;
	row *run;
} rows[] = {
	{ "nothing", row_nothing },
	{ "int", row_int },
	{ "sieve", row_sieve },
	{ "qsort", row_qsort },
	{ "call", row_call },
	{ "dispatch", row_dispatch },
	{ "chase_small", row_chase_small },
	{ "chase_large", row_chase_large },
	{ "memcpy", row_memcpy },
	{ "rep_movsb", row_rep_movsb },
	{ "nbody", row_nbody },
	{ "mandelbrot", row_mandelbrot },
	{ "sgemm", row_sgemm },
	{ "x87", row_x87 },
	{ "getppid", row_getppid },
	{ "page_fault", row_page_fault },
	{ "fork", row_fork },
	{ "vfork_exec", row_vfork_exec },
	{ "pipe", row_pipe },
	{ "signal", row_signal },
	{ "rewrite", row_rewrite },
	{ "xadd", row_xadd },
	{ "xadd_two", row_xadd_two },
	{ "spin_two", row_spin_two },
	{ "turns_two", row_turns_two },
	{ "lock_two", row_lock_two },
	{ "futex_two", row_futex_two },
	{ "shoot_two", row_shoot_two },
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (size_t i = 0; i < ROWS; i++)
			puts(rows[i].name);
		return 0;
	}
	for (size_t i = 0; argc == 3 && i < ROWS; i++)
		if (strcmp(rows[i].name, argv[1]) == 0) {
			printf("%016" PRIx64 "\n", rows[i].run(strtoull(argv[2], NULL, 0)));
			return 0;
		}
	fprintf(stderr, "usage: suite ROW COUNT | suite --list\n");
	return 2;
}
