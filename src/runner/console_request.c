/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/console_request.h"

#include <errno.h>
#include <unistd.h>

static void attach(struct console *console, struct control_peer *peer,
	const struct runner_header *request, const int *fds, size_t fd_count)
{
	const struct runner_attach *wish = (const void *)request;
	const char *why = "attach the console";
	int r = 0;
	if (!console) {
		r = -ENOTTY;
		why = "there is no console";
	} else if (fd_count != 1) {
		r = -EINVAL;
		why = "one descriptor is wanted";
	} else {
		r = console_attach(console, fds[0], wish->flags & RUNNER_ATTACH_STEAL,
			wish->flags & RUNNER_ATTACH_REPLAY);
		if (r == -EBUSY)
			why = "the console is attached elsewhere";
	}
	if (r == 0) {
		control_answer_done(peer, request);
		return;
	}
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
	control_answer_error(peer, request, r, why);
}

static void last_output(const struct console *console, struct control_peer *peer,
	const struct runner_header *request)
{
	struct runner_console_log log = { .header.type = RUNNER_CONSOLE_LOG };
	cleanup(free) uint8_t *bytes = alloc_array(RUNNER_CONSOLE_MAX, uint8_t);
	size_t count = 0;
	if (console) {
		log.total_bytes = console_total(console);
		count = console_last(console, bytes, RUNNER_CONSOLE_MAX);
	}
	control_answer(peer, request, &log, sizeof(log), bytes, count);
}

bool console_request(struct console *console, struct control_peer *peer,
	const struct runner_header *request, const int *fds, size_t fd_count)
{
	if (request->type == RUNNER_ATTACH) {
		attach(console, peer, request, fds, fd_count);
		return true;
	}
	if (request->type != RUNNER_CONSOLE_LOG && request->type != RUNNER_CONSOLE_CLEAR)
		return false;
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
	if (request->type == RUNNER_CONSOLE_LOG) {
		last_output(console, peer, request);
		return true;
	}
	if (console)
		console_clear(console);
	control_answer_done(peer, request);
	return true;
}
