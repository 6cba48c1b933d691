/* SPDX-License-Identifier: Apache-2.0 */
/*
 * companion.c - starts a companion, hears it and ends it.
 */
#include "daemon/companion.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/channel.h"
#include "base/file.h"

void companion_leave(struct companion *companion)
{
	source_free(companion->messages);
	source_free(companion->child);
	close_cleanup(&companion->channel);
	close_cleanup(&companion->process.pidfd);
	*companion = COMPANION_NONE;
}

void companion_stop(struct companion *companion)
{
	int status;
	if (companion->process.pidfd >= 0) {
		source_free(TAKE_PTR(companion->child));
		(void)!process_signal(companion->process.pidfd, SIGKILL);
		(void)!process_wait(companion->process.pidfd, &status);
	}
	companion_leave(companion);
}

static void on_end(void *data, pid_t pid, int wait_status)
{
	struct companion *companion = data;
	struct companion_options options = companion->options;
	(void)pid;
	companion_leave(companion);
	options.ended(options.data, wait_status);
}

static void on_ready(void *data, int fd, uint32_t events)
{
	struct companion *companion = data;
	(void)fd;
	(void)events;
	companion->options.ready(companion->options.data);
}

size_t companion_receive(struct companion *companion, void *message, size_t size)
{
	size_t no_fds = 0;
	if (companion->channel < 0)
		return 0;
	ssize_t length = channel_receive(companion->channel, message, size, NULL, &no_fds);
	/* Its end is told of by the pidfd. */
	if (length <= 0 && length != -EAGAIN)
		source_free(TAKE_PTR(companion->messages));
	return length > 0 ? (size_t)length : 0;
}

static int start(struct companion *companion, struct service *service, struct error *e)
{
	const struct companion_options *options = &companion->options;
	struct process_fd fds[COMPANION_FDS_MAX + 1];
	cleanup(free) char *program = NULL;
	int ends[2];
	assert(options->fd_count <= COMPANION_FDS_MAX);
	int r = service_program(service, options->program, &program, e);
	if (r == 0)
		r = channel_pair(ends, e);
	if (r < 0)
		return r;
	companion->channel = ends[0];
	fds[0] = (struct process_fd){ "channel", ends[1] };
	for (size_t i = 0; i < options->fd_count; i++)
		fds[i + 1] = options->fds[i];
	/* Whose process it is can be seen; no word of its command line is of guests. */
	const char *const args[] = { options->program, NULL };
	r = process_spawn(&(struct process_options){ .program = program,
				  .args = args,
				  .stdin_fd = -1,
				  .stdout_fd = -1,
				  .stderr_fd = STDERR_FILENO,
				  .fds = fds,
				  .fd_count = options->fd_count + 1,
				  .new_session = !options->die_with_us,
				  .die_with_us = options->die_with_us },
		&companion->process, e);
	close(ends[1]);
	if (r < 0) {
		companion->process = (struct process){ .pidfd = -1 };
		return r;
	}
	r = loop_add_child(service->loop, companion->process.pid, companion->process.pidfd, on_end,
		companion, &companion->child);
	if (r == 0)
		r = loop_add_fd(service->loop, companion->channel, EPOLLIN, on_ready, companion,
			&companion->messages);
	return r < 0 ? error_code(e, r, "watch %s", options->program) : 0;
}

int companion_start(struct companion *companion, struct service *service,
	const struct companion_options *options, struct error *e)
{
	assert(!companion_runs(companion));
	companion->options = *options;
	int r = start(companion, service, e);
	if (r < 0)
		companion_stop(companion);
	return r;
}
