/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup_limits.h - what a group may use, set before it runs or while it does.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "host/cgroup.h"

#define CGROUP_KEEP     UINT64_C(0)      /* leave this limit as it is */
#define CGROUP_NO_LIMIT UINT64_MAX       /* take this limit away */
#define CGROUP_NO_SWAP  (UINT64_MAX - 1) /* for swap_bytes */

struct cgroup_io_limit {
	uint32_t major;
	uint32_t minor;
	uint64_t read_bytes; /* these four a second */
	uint64_t write_bytes;
	uint64_t read_operations;
	uint64_t write_operations;
};

/* All zero changes nothing. */
struct cgroup_limits {
	uint64_t cpu_milli;     /* 1500 is one and a half CPUs */
	uint64_t cpu_period_us; /* 0: 100000 */
	uint32_t cpu_weight;    /* 1 to 10000, 100 is usual; 0: keep */
	const char *cpuset;     /* "0-3,8"; "": all that the parent has; NULL: keep */
	uint64_t memory_bytes;
	uint64_t memory_low_bytes; /* protected (v2), the soft limit (v1) */
	uint64_t swap_bytes;       /* beside memory_bytes */
	uint64_t processes;
	uint32_t io_weight; /* 1 to 10000, 100 is usual; 0: keep */
	const struct cgroup_io_limit *io;
	size_t io_count;
};

/* CGROUP_BIT() of the controllers that these limits need. */
uint32_t cgroup_limits_need(const struct cgroup_limits *limits);

/*
 * Sets limits, live. -EOPNOTSUPP naming the controller if the group does not have one that is needed;
 * -EBUSY if it uses more memory than the new limit and that could not be reclaimed.
 */
int cgroup_limits_set(
	struct cgroup *group, const struct cgroup_limits *limits, struct error *e) must_use;
