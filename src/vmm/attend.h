/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend.h - the monitor as a runner: berthd's channel, the console for who attaches, the file `exit`.
 */
#pragma once

#include "abi/runner.h"
#include "base/loop.h"
#include "runner/console.h"
#include "runner/control.h"
#include "vmm/assemble.h"
#include "vmm/terminal.h"

struct attendant {
	struct loop *loop;
	struct assembly *assembly;
	struct terminal *terminal;
	struct control *control;
	struct console *console;
	struct runner_state state;
	uint64_t began_ns;
	int dir, exit_file; /* -1: by hand */
	int pidfd;          /* of ourselves, for the daemon */
	int32_t pid;        /* the host's number of it */

	/* Who waits while the guest is asked to stand still; the descriptor is ours. */
	uint64_t keep_peer;
	struct runner_header keep_request;
	int keep_fd;

	/* What was asked for and is the program's to do. */
	void (*stop)(void *data, int signal);
	void (*reset)(void *data);
	void *data;
};

/* Opens the channel, if the program was started with one; else nothing of it does anything. */
int attendant_init(struct attendant *attendant, struct loop *loop, uint64_t began_ns,
	struct error *e) must_use;
void attendant_done(struct attendant *attendant);

/* The machine is there; its console becomes the runner's. */
int attendant_serve(struct attendant *attendant, struct assembly *assembly,
	struct terminal *terminal, struct error *e) must_use;

void attendant_status(struct attendant *attendant, enum runner_status status);
void attendant_event(struct attendant *attendant, enum runner_event_kind kind, uint64_t value);
/* The end: `wait_status` as of wait(2); `why` is NULL unless the machine could not be started. */
void attendant_end(struct attendant *attendant, int wait_status, int code, const char *why);
