/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/exit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/file.h"
#include "base/text.h"

#define UNFINISHED RUNNER_EXIT_FILE ".new"

int exit_file_open(int dir, int *ret, struct error *e)
{
	int fd = openat(
		dir, UNFINISHED, O_CREAT | O_TRUNC | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(e, "open %s", UNFINISHED);
	*ret = fd;
	return 0;
}

void exit_file_write(int file, int dir, const struct runner_state *state, const char *why)
{
	if (file < 0)
		return;
	cleanup(text_done) struct text text = {};
	text_printf(&text,
		"{\"wait_status\": %d, \"started_ns\": %" PRIu64 ", \"ended_ns\": %" PRIu64
		", \"oom_kills\": %u",
		state->wait_status, state->started_ns, state->ended_ns, state->oom_kills);
	if (why) {
		text_add(&text, ", \"error\": \"");
		for (; *why; why++) {
			if (*why == '"' || *why == '\\')
				text_add_char(&text, '\\');
			text_add_char(&text, (unsigned char)*why < ' ' ? ' ' : *why);
		}
		text_add(&text, "\"");
	}
	text_add(&text, "}\n");
	if (file_write_all(file, text_str(&text), text.length) == 0)
		(void)!renameat(dir, UNFINISHED, dir, RUNNER_EXIT_FILE);
}
