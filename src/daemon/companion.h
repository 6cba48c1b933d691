/* SPDX-License-Identifier: Apache-2.0 */
/*
 * companion.h - a jailed process that serves something of the daemon's as long as that is there, by a channel.
 *
 * What is said on the channel is its owner's business; here is how it begins, is heard and ends.
 */
#pragma once

#include "daemon/service.h"
#include "host/process.h"

#define COMPANION_FDS_MAX 4

struct companion_options {
	const char *program;          /* "berth-metal": one of ours */
	const struct process_fd *fds; /* beside "channel" */
	size_t fd_count;
	bool die_with_us; /* else it ends when it finds its channel closed */
	/* Something is to be had by companion_receive(). */
	void (*ready)(void *data);
	/* It has ended by itself, and all of it is let go: companion_start() may be called again. */
	void (*ended)(void *data, int wait_status);
	void *data;
};

/* In its owner; begins as COMPANION_NONE. */
struct companion {
	struct companion_options options;
	struct process process; /* pidfd -1: it does not run */
	int channel;            /* -1: likewise */
	struct source *messages, *child;
};

#define COMPANION_NONE ((struct companion){ .process = { .pidfd = -1 }, .channel = -1 })

int companion_start(struct companion *companion, struct service *service,
	const struct companion_options *options, struct error *e) must_use;

/* The length of one message, or 0 if there is no more just now. */
size_t companion_receive(struct companion *companion, void *message, size_t size);

static inline bool companion_runs(const struct companion *companion)
{
	return companion->channel >= 0;
}

/* Ends it at once and waits for it; ended() does not come. */
void companion_stop(struct companion *companion);
/* Closes the channel and looks at it no more. */
void companion_leave(struct companion *companion);
