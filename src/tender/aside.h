/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aside.h - a second process of an instance: the same image, user, groups and limits, and the same files, beside the first.
 *
 * It is a unikernel of its own, locked like the first one, without a card. While that runs, it sees the storage as it is,
 * and what it writes is gone with it.
 */
#pragma once

#include <sys/types.h>

#include "tender/plan.h"

struct aside {
	const struct tender_plan *plan;
	const json_t *arguments, *environment;
	const char *cwd;
	const char *
		program; /* a file of the host's that is run instead of what the arguments name, or NULL */
	int stdio[3];
	bool has_terminal; /* the three are one */
	bool writes;       /* the storage is its own: the instance does not run */
};

struct aside_process {
	pid_t pid;
	int pidfd;
};

/* Starts it. -ENOENT or -EACCES if the program is not there or none; it dies with us. */
int aside_start(const struct aside *aside, struct aside_process *ret, struct error *e) must_use;
