/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monitor.c - starts a container and keeps it until its first process has ended.
 */
#include "container/monitor.h"

#include <errno.h>
#include <fcntl.h>

#include "base/log.h"
#include "container/plan.h"
#include "container/seal.h"
#include "container/start.h"
#include "runner/await.h"
#include "runner/keeper.h"

static int start(struct keeper *keeper, const char *plan, char **argv, struct error *e)
{
	cleanup(container_free) struct container *container = NULL;
	int r = plan_read_file(AT_FDCWD, plan, &container, e);
	if (r < 0)
		return r;
	if (container->uid_count == 0)
		r = seal_program(argv, e);
	if (r < 0)
		return r;
	r = await_greeting(e);
	if (r < 0)
		return r;
	keeper_watch_memory(keeper, container->cgroups);
	struct started started;
	r = container_start(container,
		&(struct start_options){ .stdio = { -1, 1, 2 }, .hold = -1, .dies_with_us = true },
		&started, e);
	if (r < 0)
		return r;
	const struct keeper_process process = { .pid = started.pid,
		.pidfd = started.pidfd,
		.terminal = started.terminal,
		.log_bytes = container->console_bytes,
		.stop_signal = container->stop_signal };
	return keeper_take(keeper, &process, e);
}

int monitor_main(const char *plan, char **argv, uint64_t began_ns)
{
	cleanup(keeper_free) struct keeper *keeper = NULL;
	struct error e = {};
	int r = keeper_open(
		&(struct keeper_options){ .what = "container", .began_ns = began_ns }, &keeper, &e);
	if (r == 0)
		r = start(keeper, plan, argv, &e);
	if (r == 0)
		r = keeper_run(keeper, &e);
	if (r < 0) {
		log_error("container not started: %s", e.text);
		if (keeper && r != -ECONNRESET) /* then it was never started, and nobody listens */
			keeper_fail(keeper, r, &e);
	}
	return r < 0 ? 1 : 0;
}
