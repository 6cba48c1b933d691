/* SPDX-License-Identifier: Apache-2.0 */
/*
 * call.h - what a table of system calls is made of; there is one a subject, and calls.c puts them together.
 *
 * A function that serves a call finds its arguments in the registers and returns what rax becomes.
 */
#pragma once

#include "unikernel/kernel.h"

typedef int64_t serve(struct registers *r);

struct call {
	uint32_t number;
	const char *name;
	serve *serve; /* NULL ends a table */
};

extern const struct call calls_of_files[], calls_of_sockets[], calls_of_tree[], calls_of_memory[],
	calls_of_process[], calls_of_threads[], calls_of_time[];
