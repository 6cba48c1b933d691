/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.h - starts programs with named descriptors, and processes with namespaces; both as pidfds.
 */
#pragma once

#include <sys/types.h>

#include "base/base.h"
#include "base/error.h"

#define PROCESS_FDS_MAX 64

struct process_fd {
	const char *name; /* of a-z 0-9 _ - */
	int fd;           /* borrowed */
};

struct process_options {
	const char *program;          /* a path; argv[0] too unless args[0] is set */
	int program_fd;               /* if > 0, this is executed in place of the path */
	const char *const *args;      /* argv, NULL at the end */
	const char *const *env;       /* NULL at the end; NULL for ours. BERTH_FDS is added */
	int stdin_fd;                 /* 0, or -1: /dev/null; so the next two */
	int stdout_fd;                /* < 0: /dev/null */
	int stderr_fd;                /* < 0: /dev/null */
	const struct process_fd *fds; /* the program finds them from 3 on: BERTH_FDS=name=3,... */
	size_t fd_count;
	int cgroup_fd;       /* if > 0, a cgroup v2 directory in which the process is born */
	bool new_session;    /* setsid() */
	bool own_pids;       /* it is the first process of a PID namespace, and sees no other */
	bool same_addresses; /* none of its addresses is random */
	bool die_with_us;    /* SIGKILL when the thread that called ends */
};

struct process {
	pid_t pid;
	int pidfd; /* the caller closes it */
};

/*
 * Starts a program with no signal blocked or ignored and no descriptor but those named. Returns when it
 * runs or could not: then the error names the program, and nothing is left to wait for. The memory of
 * the caller is not copied. One thread at a time.
 */
int process_spawn(
	const struct process_options *options, struct process *ret, struct error *e) must_use;

/*
 * fork() with clone3's flags (CLONE_NEW..., CLONE_FILES), a pidfd, and if `cgroup_fd` > 0 into that
 * cgroup v2. Returns the child's pid; 0 in the child; or -errno. No handler of pthread_atfork runs.
 */
pid_t process_clone(uint64_t flags, int cgroup_fd, int *ret_pidfd) must_use;

/* The pidfd of a process, or -errno. */
int process_open(pid_t pid) must_use;

/* As kill(2). */
int process_signal(int pidfd, int signal) must_use;

/* Waits for a child and reaps it: 0 and its wait status, or -errno. */
int process_wait(int pidfd, int *ret_wait_status) must_use;

/* In a program started by process_spawn(): the descriptor of that name, now close-on-exec; -ENOENT. */
int process_named_fd(const char *name) must_use;

/* madvise(2) for the calling program's own pages that nobody writes: its code and constants. Failures are passed over. */
void process_advise_program(int advice);
