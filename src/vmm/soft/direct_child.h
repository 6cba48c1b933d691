/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct_child.h - how a process gives up all it has: what runs in it before guest code does.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/*
 * Four pages are the monitor's there. In the first, which is all that stays mapped while a guest runs, everything faults
 * when it is executed but the last instructions: a SYSCALL and a jump to R12. The second has what empties the
 * process in the beginning, and what makes the calls that are listed in the third and fourth.
 */
#define DIRECT_PAGE    UINT64_C(4096)
#define DIRECT_PAGES   4u
#define DIRECT_CALL_AT (DIRECT_PAGE - 5)
#define DIRECT_LIST_AT (2 * DIRECT_PAGE)

/* What is in the second page: from where the first begins. */
uint64_t direct_child_many(void);
uint64_t direct_child_sysenter(void);
uint64_t direct_child_in(void);

/* Where the kernel takes it to be there, although it is not. */
uint64_t direct_child_vdso(void);

/* The number first, then the arguments. */
struct direct_call {
	uint64_t number, arguments[6];
};

/* With the one behind the last, whose number is UINT64_MAX. */
#define DIRECT_CALLS (2 * DIRECT_PAGE / sizeof(struct direct_call))

/* The descriptors there. */
#define DIRECT_GUEST_FD 0
#define DIRECT_PAGES_FD 1
#define DIRECT_IMAGE_FD 2 /* if there is one */

struct direct_child {
	int guest_fd, image_fd, pages_fd;
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

/* A memfd with these pages, and the list as the caller can write it. */
int direct_child_pages(struct direct_call **ret, struct error *e) must_use;

/* In the child. */
void direct_child_run(const struct direct_child *child) __attribute__((__noreturn__));
