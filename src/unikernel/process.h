/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.h - fork, exec and the end of processes, which take turns.
 *
 * One address space, and one process at a time has its memory in it: another one takes its place where the first waits. Files,
 * pipes and sockets are shared as on Linux.
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

/* The child's number, in the parent, which goes on when the child first waits; -ENOMEM, -EAGAIN. */
int64_t process_fork(const struct registers *registers, const struct fork_request *request);

/* Ends the process with a status of wait(2). Returns if it is the first one, which nobody waits for. */
void process_end(int status);

/* How nice it has said to be; there is nobody to be nice to. */
int8_t *process_nice(void);

int32_t process_id(void);
int32_t process_parent(void);

/* wait4's answer: the number of a child that has ended and its status; -ECHILD, -EINTR, or 0 with WNOHANG. Options: that, WNOWAIT. */
int64_t process_wait(int32_t wanted, int options, int *ret_status);

/* kill(2). */
int64_t process_kill(int32_t wanted, int signal);

/* Of the library OS to a process, if that is still there; and of somebody outside. */
void process_signal(int32_t id, int signal);
void process_signal_outside(int signal);
bool process_is_there(int32_t id);

/* Process groups (`team`; groups are of threads) and sessions. */
int64_t process_team(int32_t id, bool wants_session);
int64_t process_set_team(int32_t id, int32_t team);
int64_t process_new_session(void);

/* A file that can be run, from the working directory. 0, -ENOENT, -EACCES and so on. */
int process_find_file(const char *path, struct node **ret);

/* "#!INTERPRETER [WORD]": 1 with both in `line`, the second may be empty; 0 if it is no script. */
#define SCRIPT_LINE 256u
int process_read_script(struct node *node, char *line, const char **ret_word);

/* Runs another program, or the same anew, as it stands in the image. -ENOENT, -EACCES, -ENOEXEC. */
int64_t process_execute(
	struct registers *registers, const char *path, char *const *words, char *const *settings);
