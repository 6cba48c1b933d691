/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct_child.h - how a process gives up all it has: what runs in it before guest code does.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/*
 * One page holds the only instruction of ours that stays in the process, a SYSCALL; all else there faults when it
 * is executed. The page behind it empties the process and ends with an INT3.
 */
#define DIRECT_PAGE UINT64_C(4096)
#define DIRECT_CALL_AT \
	4094u /* in the first page: at its end, so that its second byte begins nothing whole */
#define DIRECT_SYSENTER_AT 1024u /* in the second: for finding out where it comes out */

/* The descriptors there. */
#define DIRECT_GUEST_FD 0
#define DIRECT_PAGES_FD 1

struct direct_child {
	int guest_fd, pages_fd;
	int said_fd; /* to the parent: a byte when it can be traced, and waits for one; a struct direct_said */
	uint64_t pages_at;
};

enum direct_step {
	DIRECT_STEP_RIGHTS,
	DIRECT_STEP_DESCRIPTORS,
	DIRECT_STEP_SIGNALS,
	DIRECT_STEP_RSEQ,
	DIRECT_STEP_TSC,
	DIRECT_STEP_PAGES,
	DIRECT_STEP_DONE, /* but for the filter */
};

struct direct_said {
	enum direct_step step; /* the one that failed */
	int code;              /* errno */
	bool traps_cpuid;
};

/* A memfd with both pages. */
int direct_child_pages(struct error *e) must_use;

/* In the child. */
void direct_child_run(const struct direct_child *child) __attribute__((__noreturn__));
