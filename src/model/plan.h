/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - the steps that start an instance, as data: what `daemon/launch` does in this order, undoes in
 * the reverse, and what `berth plan` prints.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"

#define PLAN_CPUSET_SIZE 256

enum plan_step_type {
	PLAN_VOLUME, /* make the instance's volume; only for one that has none yet */
	PLAN_CGROUP,
	PLAN_LINK, /* one a network card */
	PLAN_RUNNER,
	PLAN_STEP_TYPES,
};

/* The writable part of an instance. */
struct plan_volume {
	const char *pool;
	const char *name;
	uint64_t size_bytes; /* 0: not limited */
};

struct plan_cgroup {
	const char *path; /* "berth-ID/PROJECT_NAME" */
	uint64_t cpu_milli;
	uint64_t cpu_period_us; /* 0: the usual one */
	uint32_t cpu_weight;    /* 0: the usual one; so the next */
	uint32_t io_weight;
	char cpuset[PLAN_CPUSET_SIZE]; /* "": all */
	uint64_t memory_bytes;
	uint64_t memory_low_bytes;
	bool is_swap_off;
	uint64_t processes;
	uint64_t read_bytes, write_bytes, read_operations,
		write_operations; /* a second, of the root */
	bool has_nodes;           /* device nodes beside the usual ones */
};

struct plan_link {
	const char *device;
	const char *name;    /* in the instance */
	const char *network; /* or */
	const char *parent;
	const char *hwaddr; /* these three NULL while they are not chosen */
	const char *ipv4;   /* with prefix length: "10.0.0.2/24" */
	const char *ipv6;
	const char *ipv4_gateway;
	const char *ipv6_gateway;
	uint32_t mtu; /* 0: the network's */
	uint64_t ingress_bits, egress_bits;
	bool mac_filtering, ipv4_filtering, ipv6_filtering, port_isolation;
	const json_t
		*host; /* the host's end as the runner makes it, borrowed; NULL while not chosen */
};

struct plan_runner {
	const char *program; /* "berth-container" */
	json_t *document;    /* owned; see doc/plan.md */
};

struct plan_step {
	enum plan_step_type type;
	union {
		struct plan_volume volume;
		struct plan_cgroup cgroup;
		struct plan_link link;
		struct plan_runner runner;
	};
};

/* Texts are borrowed from what the plan was made of. Start with {}. */
struct plan {
	struct plan_step *steps; /* moves when one is added */
	size_t count;
};

void plan_done(struct plan *plan);
static inline void plan_done_cleanup(struct plan *local)
{
	plan_done(local);
}

/* Appends an empty step; the pointer is good until the next is added. */
struct plan_step *plan_add(struct plan *plan, enum plan_step_type type);

/* The first step of a type from `from` on, or NULL. */
struct plan_step *plan_find(struct plan *plan, enum plan_step_type type, size_t from);

/* "cgroup": the name of a step. */
const char *plan_step_name(enum plan_step_type type);

/* The whole as JSON: an array of objects with `step` and what is set; the caller owns it. */
json_t *plan_json(const struct plan *plan) must_use;
