/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll.h - waiting for several files: poll, select, epoll.
 */
#pragma once

#include <poll.h>
#include <sys/epoll.h>

#include "unikernel/file.h"

/* The number of descriptors with events, 0 when the time is over, -EINTR, -ENOMEM. */
int64_t poll_wait(struct pollfd *list, uint64_t count, uint64_t deadline_ns);
int64_t poll_select(
	uint64_t count, uint64_t *in, uint64_t *out, uint64_t *except, uint64_t deadline_ns);

int64_t epoll_new(uint32_t flags, struct file **ret);
int64_t epoll_control(
	struct file *file, int operation, int number, const struct epoll_event *event);
int64_t epoll_wait_for(
	struct file *file, struct epoll_event *events, int count, uint64_t deadline_ns);
bool epoll_is(const struct file *file);
