/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.h - how long something took. The agent has no event loop, whose clock it would be.
 */
#pragma once

#include <stdint.h>
#include <time.h>

#include "base/base.h"

/* CLOCK_MONOTONIC, in nanoseconds. */
static inline uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

/* The same in milliseconds. */
static inline uint64_t now_ms(void)
{
	return now_ns() / NS_PER_MS;
}
