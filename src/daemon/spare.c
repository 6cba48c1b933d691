/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spare.c - one runner of a sort is started before it is wanted.
 *
 * Theory of operation. To execute a runner and to have it read its own pages takes a third of the time from a request to
 * the instance's first instruction, and is the same for each. When an instance runs, the next runner of its sort is
 * started, and waits for a message with its plan. Many starts at once find none: their runners are started as ever.
 * A program that was replaced on disk is not the spare's any more: that one is ended.
 */
#include "daemon/spare.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "abi/runner.h"
#include "base/channel.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/reaper.h"

#define SORTS_MAX 8
#define LATER_NS  NS_PER_MS /* who waits for the start is told first */

struct sort {
	const struct kind *kind;
	char *program;
	bool same_addresses;
	/* The one that waits. */
	struct process process; /* pid 0: none */
	int channel;
	struct source *child;
	struct stat file; /* as its program was */
};

struct spares {
	struct service *service;
	struct sort sorts[SORTS_MAX];
	size_t count;
	struct source *timer;
};

static const char *spare_word(char buffer[RUNNER_SPARE_BYTES + 1])
{
	memset(buffer, ' ', RUNNER_SPARE_BYTES);
	memcpy(buffer, RUNNER_SPARE, strlen(RUNNER_SPARE));
	buffer[RUNNER_SPARE_BYTES] = '\0';
	return buffer;
}

/* `start` NULL: one that waits. */
static int spawn(struct service *service, const struct sort *sort, const struct spare_start *start,
	struct process *ret, int *ret_channel, struct error *e)
{
	char word[RUNNER_SPARE_BYTES + 1];
	int ends[2];
	int r = channel_pair(ends, e);
	if (r < 0)
		return r;
	struct process_fd fds[3 + JAIL_ROOMS] = { { "channel", ends[1] } };
	size_t count = 1;
	for (enum jail_room i = 0; i < JAIL_ROOMS; i++)
		if ((sort->kind->can & KIND_IS_MACHINE) && service->rooms.fd[i] > 0)
			fds[count++] =
				(struct process_fd){ jail_room_name(i), service->rooms.fd[i] };
	if (start) {
		fds[count++] = (struct process_fd){ "control", start->control };
		fds[count++] = (struct process_fd){ "dir", start->dir };
	}
	const char *const args[] = { sort->program, "run", start ? start->plan : spare_word(word),
		NULL };
	r = process_spawn(&(struct process_options){ .program = sort->program,
				  .args = args,
				  .stdin_fd = -1,
				  .stdout_fd = start ? start->log : -1,
				  .stderr_fd = start ? start->log : -1,
				  .fds = fds,
				  .fd_count = count,
				  .new_session = true,
				  .own_pids = sort->kind->can & KIND_OWN_PIDS,
				  .same_addresses = sort->same_addresses },
		ret, e);
	close(ends[1]);
	if (r < 0)
		close(ends[0]);
	else
		*ret_channel = ends[0];
	return r;
}

static void let_go(struct service *service, struct sort *sort)
{
	struct process process = sort->process;
	source_free(TAKE_PTR(sort->child));
	close(sort->channel);
	sort->process = (struct process){};
	(void)!process_signal(process.pidfd, SIGKILL);
	if (service->is_stopping) {
		int status;
		(void)!process_wait(process.pidfd, &status);
		close(process.pidfd);
	} else {
		struct error e = {};
		if (reaper_take(service->loop, &process, &e) < 0)
			log_error("%s", e.text);
	}
}

static void ended(void *data, pid_t pid, int wait_status)
{
	struct sort *sort = data;
	log_warning("a spare runner ended pid=%d wait_status=%d", pid, wait_status);
	source_free(TAKE_PTR(sort->child));
	close(sort->channel);
	close(sort->process.pidfd);
	sort->process = (struct process){};
}

static void make_spare(struct service *service, struct sort *sort)
{
	struct error e = {};
	int r = stat(sort->program, &sort->file) < 0
		? error_errno(&e, "%s", sort->program)
		: spawn(service, sort, NULL, &sort->process, &sort->channel, &e);
	if (r < 0) {
		log_warning("no spare runner: %s", e.text);
		sort->process = (struct process){};
		return;
	}
	r = loop_add_child(
		service->loop, sort->process.pid, sort->process.pidfd, ended, sort, &sort->child);
	if (r < 0)
		let_go(service, sort);
}

static void make_spares(void *data)
{
	struct spares *spares = data;
	for (size_t i = 0; i < spares->count && !spares->service->is_stopping; i++)
		if (!spares->sorts[i].process.pid)
			make_spare(spares->service, &spares->sorts[i]);
}

static struct sort *sort_of(struct spares *spares, const struct spare_start *start)
{
	for (size_t i = 0; i < spares->count; i++) {
		struct sort *sort = &spares->sorts[i];
		if (sort->kind == start->kind && sort->same_addresses == start->same_addresses &&
			text_equal(sort->program, start->program))
			return sort;
	}
	if (spares->count == SORTS_MAX)
		return NULL;
	struct sort *sort = &spares->sorts[spares->count++];
	*sort = (struct sort){ .kind = start->kind,
		.program = alloc_text(start->program),
		.same_addresses = start->same_addresses };
	return sort;
}

static bool is_same_file(const struct sort *sort)
{
	struct stat now;
	return stat(sort->program, &now) == 0 && now.st_dev == sort->file.st_dev &&
		now.st_ino == sort->file.st_ino &&
		now.st_mtim.tv_sec == sort->file.st_mtim.tv_sec &&
		now.st_mtim.tv_nsec == sort->file.st_mtim.tv_nsec;
}

/* False if none waits, or it did not take the plan. */
static bool take(struct service *service, struct sort *sort, const struct spare_start *start,
	struct process *ret, int *ret_channel)
{
	if (!sort->process.pid)
		return false;
	size_t length = strlen(start->plan) + 1;
	struct runner_header header = { .type = RUNNER_BEGIN,
		.version = RUNNER_VERSION,
		.length = (uint32_t)(sizeof(header) + length) };
	const struct iovec parts[] = { { &header, sizeof(header) },
		{ (void *)(uintptr_t)start->plan, length } };
	const int fds[] = { start->control, start->dir, start->log };
	if (!is_same_file(sort) ||
		channel_send_iov(sort->channel, parts, ARRAY_SIZE(parts), fds, ARRAY_SIZE(fds)) <
			0) {
		let_go(service, sort);
		return false;
	}
	source_free(TAKE_PTR(sort->child));
	*ret = sort->process;
	*ret_channel = sort->channel;
	sort->process = (struct process){};
	return true;
}

int spare_begin(struct service *service, const struct spare_start *start, struct process *ret,
	int *ret_channel, struct error *e)
{
	struct spares *spares = service->spares;
	struct sort *sort = (start->kind->can & KIND_HAS_SPARE) ? sort_of(spares, start) : NULL;
	if (sort && take(service, sort, start, ret, ret_channel))
		return 0;
	const struct sort once = { .kind = start->kind,
		.program = (char *)(uintptr_t)start->program,
		.same_addresses = start->same_addresses };
	return spawn(service, &once, start, ret, ret_channel, e);
}

void spares_refill(struct service *service)
{
	timer_set_after(service->spares->timer, LATER_NS);
}

int spares_start(struct service *service, struct error *e)
{
	(void)e;
	service->spares = alloc(struct spares);
	service->spares->service = service;
	service->spares->timer = loop_add_timer(service->loop, make_spares, service->spares);
	return 0;
}

void spares_stop(struct service *service)
{
	struct spares *spares = service->spares;
	if (!spares)
		return;
	service->is_stopping = true;
	for (size_t i = 0; i < spares->count; i++) {
		if (spares->sorts[i].process.pid)
			let_go(service, &spares->sorts[i]);
		free(spares->sorts[i].program);
	}
	source_free(spares->timer);
	free(spares);
	service->spares = NULL;
}
