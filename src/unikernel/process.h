/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.h - fork and exec: a child runs on to its end while its parent waits.
 *
 * One address space: what the child changes of the program's memory is put back when it ends. Files, pipes and sockets
 * are shared as on Linux. Programs that fork and go on beside the child have no place here.
 */
#pragma once

#include "unikernel/load.h"
#include "unikernel/thread.h"

struct fork_request {
	uint64_t flags; /* CLONE_ */
	uint64_t stack; /* 0: the caller's */
	uint64_t parent_tid, child_tid, fs;
};

void process_init(const struct boot *boot, const struct program *program, uint64_t stack_start,
	uint64_t stack_end);

/* What runs now. */
const struct program *process_program(void);

/* The child's number, in the parent, after the child's end; -ENOMEM, -EAGAIN. */
int64_t process_fork(const struct registers *registers, const struct fork_request *request);

/* Ends the process with a status of wait(2). Returns if it is the first one, which nobody waits for. */
void process_end(int status);

/* How nice it has said to be; there is nobody to be nice to. */
int8_t *process_nice(void);

/* wait4's answer: the number of a child that has ended and its status; -ECHILD, or 0 with no such child. `stays`: WNOWAIT. */
int64_t process_wait(int32_t wanted, bool stays, int *ret_status);

/* A file that can be run, from the working directory. 0, -ENOENT, -EACCES and so on. */
int process_find_file(const char *path, struct node **ret);

/* "#!INTERPRETER [WORD]": 1 with both in `line`, the second may be empty; 0 if it is no script. */
#define SCRIPT_LINE 256u
int process_read_script(struct node *node, char *line, const char **ret_word);

/* Runs another program, or the same anew, as it stands in the image. -ENOENT, -EACCES, -ENOEXEC. */
int64_t process_execute(
	struct registers *registers, const char *path, char *const *words, char *const *settings);
