/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start.h - starts a container: from its description to the first instruction of its program.
 */
#pragma once

#include "container/container.h"

enum start_moment {
	START_CREATED, /* the namespaces are there, the root is still the host's */
	START_STARTED, /* all is as the program will find it */
};

struct start_options {
	int stdio[3];      /* for a process without a terminal; -1: /dev/null */
	int hold;          /* if >= 0: before the program is executed one byte is read from here */
	bool dies_with_us; /* the first process is killed when this one ends */
	/* Called here, when the namespaces are made and before the root is entered; NULL: nothing. */
	int (*between)(void *data, pid_t pid, struct error *e);
	/* Called in the container's process; NULL: nothing. */
	int (*inside)(void *data, enum start_moment moment, struct error *e);
	void *data;
	/* Serves in place of a program: in the container's root, with its rights but no filter. */
	int (*serve)(void *data, int root);
};

struct started {
	pid_t pid;
	int pidfd;
	int terminal; /* the master's end, or -1 */
	int sync;     /* ends when the program runs: see start_wait(); -1 once it does */
	void *shared;
};

/*
 * Does everything up to the program. With `hold`, returns when the container waits for its byte; else
 * when the program runs. On failure nothing is left but cgroups that were given.
 */
int container_start(struct container *container, const struct start_options *options,
	struct started *ret, struct error *e) must_use;

/* After `hold` was released by somebody: waits until the program runs, or says why it does not. */
int start_wait(struct started *started, struct error *e) must_use;
