/* SPDX-License-Identifier: Apache-2.0 */
/*
 * missed.h - the calls that were not there, counted.
 */
#pragma once

#include "abi/report.h"
#include "unikernel/kernel.h"

#define CALLS_MAX 512u
static_assert(CALLS_MAX == REPORT_CALLS, "each has its place");

/* A call by its number, or REPORT_CODE. */
void missed_count(uint64_t number);

/* Counts there, too, from now on: CALLS_MAX numbers that somebody outside reads. */
void missed_count_in(uint32_t *counts);

void missed_say_at_end(bool says);

/* One line a call on the error console, if that was asked for. */
void missed_report(void);
