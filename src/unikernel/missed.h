/* SPDX-License-Identifier: Apache-2.0 */
/*
 * missed.h - the calls that were not there, counted.
 */
#pragma once

#include "unikernel/kernel.h"

#define CALLS_MAX 512u

void missed_count(uint64_t number);
void missed_say_at_end(bool says);

/* One line a call on the error console, if that was asked for. */
void missed_report(void);
