/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.h - files that count (eventfd) and files that tell the time (timerfd); the alarm clock.
 */
#pragma once

#include <time.h>

#include "unikernel/file.h"

int64_t events_new_counter(uint64_t first, uint32_t flags, struct file **ret);
int64_t events_new_timer(uint64_t clock, uint32_t flags, struct file **ret);
bool events_is_timer(const struct file *file);
int64_t events_set_timer(
	struct file *file, uint64_t flags, const struct itimerspec *set, struct itimerspec *old);
void events_get_timer(const struct file *file, struct itimerspec *ret);

static inline uint64_t ns_of(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * 1000000000 + (uint64_t)time->tv_nsec;
}

static inline struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){ (time_t)(ns / 1000000000), (long)(ns % 1000000000) };
}
