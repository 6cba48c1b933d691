/* SPDX-License-Identifier: Apache-2.0 */
/*
 * helper.h - starts a program that enters a running instance with a request: exec (doc/plan.md).
 */
#pragma once

#include <jansson.h>

#include "daemon/instance/instances.h"
#include "host/process.h"

#define HELPER_FDS_MAX 8

struct helper_options {
	const char *name;             /* "exec" */
	const json_t *request;        /* what it is asked, borrowed */
	const struct process_fd *fds; /* beside `request`, `pidfd` and `dir`; borrowed */
	size_t fd_count;
};

/* Asks a machine's agent to end it, by the helper `stop`, which nobody waits for. */
int helper_ask_end(struct instance *instance, struct error *e) must_use;

/* -ECONNRESET if the instance is alive, but its first process is not known yet. */
int helper_spawn(struct instance *instance, const struct helper_options *options,
	struct process *ret, struct error *e) must_use;
