/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.h - the wall of a locked process: a seccomp filter that lists the only calls it can make.
 *
 * The filter is all that stands between a unikernel and the host, since both share one address space.
 * It names system calls and, for the descriptors among their arguments, the only values; any other call,
 * from any address, in any ABI, kills the process with SIGSYS.
 */
#pragma once

#include <linux/filter.h>

#include "base/base.h"
#include "base/error.h"

#define FILTER_LENGTH_MAX 4096 /* BPF_MAXINSNS */

struct filter {
	struct sock_filter code[FILTER_LENGTH_MAX];
	size_t length;
	bool is_full;
};

enum filter_compare { FILTER_EQUAL, FILTER_AT_MOST };

/* One condition on argument `index` (0 to 5) of a call; all 64 bits are compared. */
struct filter_condition {
	uint8_t index;
	enum filter_compare compare;
	uint64_t value;
};

void filter_begin(struct filter *filter);

/*
 * As filter_begin(), for a process with one privileged instruction: calls whose instruction pointer (that
 * behind the `syscall`) is not `after` raise SIGSYS, which the process can catch; its handler returns through
 * that instruction, too.
 */
void filter_begin_trapping(struct filter *filter, uint64_t after);

/* Allows the call if every condition holds. Calls of one number may be added several times. */
void filter_allow(
	struct filter *filter, long call, const struct filter_condition *conditions, size_t count);

/* Ends the filter: what was not allowed kills. -E2BIG if it has too many rules. */
int filter_end(struct filter *filter, struct error *e) must_use;

/*
 * From here on the calling thread, and what it starts, can make only the calls of the filter. Uses no
 * memory and no call behind it. -errno; there is no way back.
 */
int filter_lock(const struct filter *filter) must_use;
