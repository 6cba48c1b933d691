/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.h - what a unikernel lets the daemon know: the file REPORT_FILE in the instance's directory, which its
 * process has mapped. Its program could write anything there, so a reader copies it and believes nothing.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define REPORT_FILE    "calls"
#define REPORT_VERSION 1
#define REPORT_CALLS   512
#define REPORT_CODE    510 /* no call: memory that the program has written shall be executed */
#define REPORT_OTHERS  511 /* numbers beyond all that Linux has */

struct report {
	uint32_t version; /* REPORT_VERSION */
	uint32_t reserved;
	uint64_t
		started_ns; /* CLOCK_MONOTONIC when it was locked: the program's first instruction is next */
	uint32_t missed
		[REPORT_CALLS]; /* how often a system call was asked for that is not there, by number */
};
static_assert(sizeof(struct report) == 16 + 4 * REPORT_CALLS, "report");
