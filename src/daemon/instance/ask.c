/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask.c - starts a helper and waits for its one word.
 */
#include "daemon/instance/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "abi/runner.h"
#include "base/channel.h"
#include "daemon/reaper.h"

#define ANSWER_NS (60 * NS_PER_SEC)

struct ask {
	int channel;
	int pidfd; /* to end one that says nothing */
	struct source *source, *timer;
	ask_done *done;
	void *data;
};

static void ask_end(struct ask *ask, int code, const struct error *e)
{
	ask_done *done = ask->done;
	void *data = ask->data;
	source_free(ask->source);
	source_free(ask->timer);
	close(ask->channel);
	close(ask->pidfd);
	free(ask);
	done(data, code, e);
}

static void on_answer(void *data, int fd, uint32_t events)
{
	struct ask *ask = data;
	struct error e = {};
	union {
		struct runner_header header;
		struct runner_error error;
	} answer = {};
	size_t fd_count = 0;
	(void)events;
	ssize_t length = channel_receive(fd, &answer, sizeof(answer), NULL, &fd_count);
	if (length == -EAGAIN)
		return;
	int code = 0;
	if (length == (ssize_t)sizeof(answer.error) && answer.header.type == RUNNER_ERROR) {
		answer.error.text[RUNNER_TEXT_MAX - 1] = '\0';
		code = answer.error.code < 0 ? answer.error.code : -EIO;
		error_set(&e, code, "%s", answer.error.text);
	} else if (length != (ssize_t)sizeof(answer.header) || answer.header.type != RUNNER_DONE) {
		code = error_set(&e, -EIO, "the helper ended without a word; see runner.log");
	}
	ask_end(ask, code, &e);
}

static void on_silence(void *data)
{
	struct ask *ask = data;
	struct error e = {};
	error_set(&e, -ETIMEDOUT, "the helper said nothing for a minute");
	(void)!process_signal(ask->pidfd, SIGKILL);
	ask_end(ask, -ETIMEDOUT, &e);
}

int ask_helper(struct instance *instance, const struct helper_options *options, ask_done *done,
	void *data, struct error *e)
{
	struct process_fd fds[HELPER_FDS_MAX];
	struct loop *loop = instance->service->loop;
	struct process child;
	int pair[2];
	assert(options->fd_count + 1 < HELPER_FDS_MAX - 3);
	int r = channel_pair(pair, e);
	if (r < 0)
		return r;
	cleanup(close) int theirs = pair[1];
	cleanup(close) int ours = pair[0];
	if (options->fd_count)
		memcpy(fds, options->fds, options->fd_count * sizeof(*fds));
	fds[options->fd_count] = (struct process_fd){ "channel", theirs };
	struct helper_options with = *options;
	with.fds = fds;
	with.fd_count = options->fd_count + 1;
	r = helper_spawn(instance, &with, &child, e);
	if (r < 0)
		return r;
	struct ask *ask = alloc(struct ask);
	*ask = (struct ask){ .channel = TAKE_FD(ours), .done = done, .data = data };
	ask->pidfd = fcntl(child.pidfd, F_DUPFD_CLOEXEC, 3);
	r = reaper_take(loop, &child, e);
	if (r == 0 && ask->pidfd < 0)
		r = error_errno(e, "keep the helper's descriptor");
	if (r == 0) {
		r = loop_add_fd(loop, ask->channel, EPOLLIN, on_answer, ask, &ask->source);
		if (r < 0)
			r = error_code(e, r, "watch the helper");
	}
	if (r < 0) {
		close(ask->channel);
		if (ask->pidfd >= 0)
			close(ask->pidfd);
		free(ask);
		return r;
	}
	ask->timer = loop_add_timer(loop, on_silence, ask);
	timer_set_after(ask->timer, ANSWER_NS);
	return 0;
}
