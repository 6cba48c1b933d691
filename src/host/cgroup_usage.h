/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup_usage.h - what a group uses, and when it ran out of memory.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "host/cgroup.h"

struct cgroup_usage {
	uint64_t cpu_ns;
	uint64_t memory_bytes;
	uint64_t memory_peak_bytes; /* the rest only with `is_full` */
	uint64_t swap_bytes;
	uint64_t oom_kills;
	uint64_t processes;
};

/*
 * What the host does not count stays 0. Without `is_full` only cpu, memory and processes, through
 * descriptors that are kept open for the next time (three a group).
 */
int cgroup_usage(
	struct cgroup *group, bool is_full, struct cgroup_usage *ret, struct error *e) must_use;
void cgroup_usage_forget(struct cgroup *group); /* closes them */

/*
 * A descriptor that reports *ret_events (EPOLLIN or EPOLLPRI) when the group runs out of memory, or
 * goes; call cgroup_oom_kills() then. The caller closes it. -EOPNOTSUPP without a memory controller.
 */
int cgroup_oom_watch(const char *memory_dir, bool is_v2, int *ret, uint32_t *ret_events,
	struct error *e) must_use;

/* Takes the report off the descriptor; returns how many processes were killed so far, or -errno. */
int64_t cgroup_oom_kills(int watch, const char *memory_dir, bool is_v2) must_use;
