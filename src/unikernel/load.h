/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.h - programs in memory.
 */
#pragma once

#include "unikernel/memory_runs.h"
#include "unikernel/node.h"

#define PROGRAM_PATH 256u

struct program {
	struct node *node;       /* its file; held by who keeps the program */
	uint64_t base;           /* what the addresses in its file are relative to */
	uint64_t entry, headers; /* of the program itself */
	uint64_t loader;         /* the base of the loader it asks for; 0: none */
	uint64_t first;          /* the first instruction: the loader's, if there is one */
	uint64_t start, end;     /* of all its segments */
	uint64_t arguments, arguments_end; /* on its stack, each with its NUL */
	uint32_t header_count;
	bool is_fixed;           /* it lies where its file says, outside the memory */
	char path[PROGRAM_PATH]; /* as /proc/self/exe shows it; "" if it is longer */
};

/* 0 if load_program() will find nothing wrong with the file: else -ENOEXEC, -ENOENT without its loader, -EACCES if it is not the image's. */
int load_check(struct node *node);

/* Maps a program and its loader. What is fixed must not overlap another that is. */
int load_program(struct node *node, const char *path, struct program *ret);

/* Of a program that is fixed (for others nothing is done): its segments away, and back as they were in the file. */
void load_unmap(const struct program *program);
int load_again(const struct program *program);

/* Its segments, if it is fixed, for a snapshot. */
int load_fixed_runs(const struct program *program, memory_each_run *each, void *data);

/* The initial stack below `top`; the stack pointer. Notes where the arguments are. */
uint64_t load_stack(const struct boot *boot, struct program *program, uint64_t top);

/* From here on nothing becomes executable but what shows the image. */
void load_locked(void);
