/* SPDX-License-Identifier: Apache-2.0 */
/*
 * await.c - waits for a plan, with all done beforehand that is the same for every one.
 */
#include "runner/await.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "abi/runner.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/text.h"
#include "host/process.h"
#include "model/json.h"

enum { CONTROL, DIR, LOG, FDS };

/* Maps the program's own pages, so that reading a plan does not fault for each, and gives jansson its seed. */
static void warm_up(void)
{
	process_advise_program(MADV_POPULATE_READ);
	json_decref(json_pack("{s:[i]}", "version", RUNNER_VERSION));
}

/* As who started it just now would have written it, for whoever looks for the runner of an instance. */
static void set_plan(char **words, const char *plan, size_t length)
{
	size_t room = strlen(words[2]);
	if (length > room) {
		words[2] = alloc_text(plan);
		return;
	}
	memset(words[2], 0, room);
	memcpy(words[2], plan, length);
	(void)prctl(PR_SET_MM, PR_SET_MM_ARG_END, words[2] + length + 1, 0, 0);
}

static int begin(char **words, const struct runner_header *header, size_t length, int fds[FDS])
{
	const char *plan = (const char *)(header + 1);
	size_t plan_length = length - sizeof(*header);
	if (header->type != RUNNER_BEGIN || header->version != RUNNER_VERSION ||
		header->length != length || plan_length < 2 || plan[plan_length - 1] != '\0' ||
		strlen(plan) != plan_length - 1)
		return -EPROTO;
	cleanup(free) char *names = alloc_printf(
		"%s,control=%d,dir=%d", getenv("BERTH_FDS") ?: "", fds[CONTROL], fds[DIR]);
	if (setenv("BERTH_FDS", names, 1) < 0 || dup2(fds[LOG], STDOUT_FILENO) < 0 ||
		dup2(fds[LOG], STDERR_FILENO) < 0)
		return -errno;
	close(fds[LOG]);
	set_plan(words, plan, plan_length - 1);
	return 1;
}

int await_plan(int count, char **words)
{
	if (count != 3 || !text_equal(words[1], "run") || !text_starts(words[2], RUNNER_SPARE))
		return 0;
	int channel = process_named_fd("channel");
	if (channel < 0)
		return channel;
	warm_up();
	cleanup(free) char *bytes = alloc_array(CHANNEL_MESSAGE_MAX, char);
	int fds[FDS];
	for (;;) {
		size_t fd_count = FDS;
		struct pollfd wait = { .fd = channel, .events = POLLIN };
		if (poll(&wait, 1, -1) < 0 && errno != EINTR)
			return -errno;
		ssize_t length =
			channel_receive(channel, bytes, CHANNEL_MESSAGE_MAX, fds, &fd_count);
		if (length == -EAGAIN)
			continue;
		if (length <= 0)
			return length < 0 ? (int)length : -EPIPE;
		if ((size_t)length < sizeof(struct runner_header) || fd_count != FDS)
			return -EPROTO;
		return begin(words, (const void *)bytes, (size_t)length, fds);
	}
}

int await_greeting(struct error *e)
{
	int channel = process_named_fd("channel");
	if (channel < 0)
		return channel == -ENOENT ? 0 : error_code(e, channel, "the descriptor channel");
	struct pollfd wait = { .fd = channel, .events = POLLIN };
	while (poll(&wait, 1, -1) < 0)
		if (errno != EINTR)
			return error_errno(e, "wait for the daemon");
	/* It stays in the socket, for who answers it. */
	char byte;
	return recv(channel, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) > 0
		? 0
		: error_set(e, -ECONNRESET, "the daemon has gone");
}
