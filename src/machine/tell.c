/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tell.c - one order for the guest's agent: how many CPUs it uses, a card's addresses, the time, that it writes
 * to its disks what it has in memory. The exit status is 0 if the agent did it; else a line says why.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/frame.h"
#include "base/loop.h"
#include "host/process.h"
#include "machine/machine.h"
#include "model/json.h"

#define CARD_TRIES   50 /* of CARD_WAIT_MS: a card that was plugged in just now */
#define CARD_WAIT_MS 200

static int ask(
	int dir, int pidfd, enum agent_type type, const void *data, size_t bytes, struct error *e)
{
	cleanup(close) int fd = -1;
	cleanup(free) struct frame *frame = alloc(struct frame);
	int r = guest_connect(dir, pidfd, &fd, e);
	if (r < 0)
		return r;
	r = frame_write(fd, type, data, bytes, NULL, 0);
	if (r == 0)
		r = frame_read(fd, frame);
	if (r <= 0)
		return error_set(e, -ECONNRESET, "the agent does not answer");
	return frame->type == AGENT_DONE ? 0 : guest_error(frame, e);
}

static int configure(int dir, int pidfd, const char *lines, struct error *e)
{
	int r = -ENODEV;
	for (int i = 0; i < CARD_TRIES && r == -ENODEV; i++) {
		if (i > 0)
			poll(NULL, 0, CARD_WAIT_MS);
		r = ask(dir, pidfd, AGENT_CONFIGURE, lines, strlen(lines), e);
	}
	return r;
}

static int tell(const json_t *request, struct error *e)
{
	int dir = process_named_fd("dir"), pidfd = process_named_fd("pidfd");
	const json_t *cpus = json_object_get(request, "cpus");
	const char *lines = json_text(request, "configure");
	if (dir < 0 || pidfd < 0)
		return error_set(e, -EBUSY, "the machine does not run");
	if (cpus) {
		const struct agent_number number = { .value = (int32_t)json_integer_value(cpus) };
		return ask(dir, pidfd, AGENT_CPUS, &number, sizeof(number), e);
	}
	if (lines)
		return configure(dir, pidfd, lines, e);
	if (json_is_true(json_object_get(request, "clock"))) {
		const struct agent_clock clock = { .since_epoch_ns = loop_wall_clock() };
		return ask(dir, pidfd, AGENT_CLOCK, &clock, sizeof(clock), e);
	}
	return error_set(e, -EINVAL, "the request asks for nothing");
}

int tell_main(void)
{
	cleanup(json_decref) json_t *request = NULL;
	struct error e = {};
	int r = request_read(&request, &e);
	if (r == 0)
		r = tell(request, &e);
	if (r < 0)
		fprintf(stderr, "berth-machine: tell: %s\n", e.text);
	return r < 0;
}
