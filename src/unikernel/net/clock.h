/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.h - lwIP's timers, asleep when there is nothing to time.
 */
#pragma once

#include "unikernel/thread.h"

/* Calls those that are due and sets the timer of the next. */
void clock_run(bool has_card);

/* Neighbours, leases and reports may be under way: for some seconds all timers run on time. */
void clock_stay_awake(uint64_t now);
