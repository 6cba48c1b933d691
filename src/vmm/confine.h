/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine.h - the monitor's jail: what is left of its rights while a guest runs.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "host/jail.h"

struct confine_options {
	uint32_t uid;            /* what it becomes, user and group; 0: it stays */
	int dir;                 /* where the file `exit` gets its name at the end; -1: nowhere */
	struct jail_rooms rooms; /* what it enters; of what is missing it gets its own */
};

/*
 * Before there are threads, after every file is open: own user, empty mount, network, IPC and UTS
 * namespaces (as root), no capabilities, no path.
 */
int confine_process(const struct confine_options *options, struct error *e) must_use;

/* Each thread for itself, at its start: only the system calls it needs; another one kills the process. */
int confine_io_thread(struct error *e) must_use;
int confine_cpu_thread(struct error *e) must_use;
