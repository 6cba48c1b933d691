/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage.c - `berth-machine usage`: what the system uses, as its agent says.
 */
#include <stdio.h>
#include <unistd.h>

#include "agent/frame.h"
#include "base/file.h"
#include "host/process.h"
#include "machine/machine.h"

#define ANSWER_S 3 /* somebody waits at a terminal */

int usage_main(void)
{
	struct error e = {};
	int fd = -1, answer = process_named_fd("answer");
	if (answer < 0)
		return 2;
	(void)alarm(ANSWER_S); /* ends this process */
	int r = guest_connect(process_named_fd("dir"), process_named_fd("pidfd"), &fd, &e);
	if (r < 0) {
		(void)fprintf(stderr, "berth-machine: usage: %s\n", e.text);
		return 1;
	}
	cleanup(free) struct frame *frame = alloc(struct frame);
	r = frame_write(fd, AGENT_USAGE, NULL, 0, NULL, 0);
	if (r == 0)
		r = frame_read(fd, frame);
	close(fd);
	if (r <= 0 || frame->type != AGENT_USAGE || frame->bytes != sizeof(struct agent_usage))
		return 1;
	return file_write_all(answer, frame->data, frame->bytes) < 0;
}
