/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync.c - bytes and their absence.
 */
#include "container/sync.h"

#include <errno.h>
#include <poll.h>

int sync_tell(int stream, char step)
{
	/* Not send(2), which a container's filter may refuse. */
	return write(stream, &step, 1) == 1 ? 0 : -EPIPE;
}

int sync_wait(int stream, char step, struct error *e)
{
	char byte = 0;
	ssize_t got;
	do
		got = read(stream, &byte, 1);
	while (got < 0 && errno == EINTR);
	return got == 1 && byte == step ? 0 : error_set(e, -EPIPE, "the runner has gone");
}

int sync_wait_child(int stream, int pidfd)
{
	/* Both hold both ends while they share their descriptors: then only the pidfd tells. */
	struct pollfd wait[] = { { .fd = stream, .events = POLLIN },
		{ .fd = pidfd, .events = POLLIN } };
	for (;;) {
		if (poll(wait, ARRAY_SIZE(wait), -1) < 0 && errno != EINTR)
			return -errno;
		if (wait[0].revents) {
			char byte;
			ssize_t got = read(stream, &byte, 1);
			return got == 1 ? byte : 0;
		}
		if (wait[1].revents)
			return 0;
	}
}
