/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.h - runs one more program in a running container, with no more rights than its own.
 */
#pragma once

#include "base/error.h"
#include "container/container.h"

struct exec_options {
	const struct container *container;       /* its namespaces, cgroups and ids */
	const struct container_process *process; /* what to run, with which rights */
	int pidfd;                               /* of the container's first process */
	int stdio[3];                            /* without a terminal */
};

struct executed {
	pid_t pid;
	int pidfd;
	int terminal; /* master, or -1 */
};

/* Returns when the program runs, or -ENOENT/-EACCES for the program itself, else what went wrong. */
int exec_start(const struct exec_options *options, struct executed *ret, struct error *e) must_use;
