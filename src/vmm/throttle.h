/* SPDX-License-Identifier: Apache-2.0 */
/*
 * throttle.h - a token bucket: so many units a second, with a burst of a tenth of a second.
 */
#pragma once

#include "base/base.h"

struct throttle {
	uint64_t rate;  /* units a second; 0: no limit */
	uint64_t burst; /* units */
	int64_t tokens; /* may be below 0: a large request is let through and paid for later */
	uint64_t at_ns; /* when `tokens` was right */
};

void throttle_init(struct throttle *throttle, uint64_t rate, uint64_t now_ns);

/* 0 if a request may go now, else how long to wait. Takes nothing. */
uint64_t throttle_wait(struct throttle *throttle, uint64_t now_ns);

/* Takes `units` after throttle_wait() said 0. */
void throttle_take(struct throttle *throttle, uint64_t units);
