/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger.h - what the host has, what is promised to instances, and whether more can be.
 *
 * CPUs and memory are promised to what runs, storage to what exists. What an instance did not limit is
 * not promised to it. The ratio says how much more than it has the host promises.
 */
#pragma once

#include "model/resources.h"

#define LEDGER_CPU_PERCENT     1600 /* 16:1; an idle CPU is the rule */
#define LEDGER_MEMORY_PERCENT  100  /* 1:1; what is not there kills somebody */
#define LEDGER_STORAGE_PERCENT 200  /* 2:1; volumes are thin */
#define LEDGER_POOL_NAME_SIZE  64

struct ledger_ratios {
	uint32_t cpu_percent; /* 100 is 1:1 */
	uint32_t memory_percent;
	uint32_t storage_percent;
};

struct ledger_pool {
	char name[LEDGER_POOL_NAME_SIZE];
	uint64_t total_bytes; /* 0: not known, nothing is refused */
	uint64_t promised_bytes;
};

struct ledger {
	struct ledger_ratios ratios;
	struct cpu_set_mask cpus; /* online */
	uint64_t memory_bytes;
	uint64_t promised_cpu_milli;
	uint64_t promised_memory_bytes;
	uint32_t uses[RESOURCES_CPUS_MAX]; /* how many instances are held on each CPU */
	struct ledger_pool *pools;
	size_t pool_count;
};

void ledger_init(struct ledger *ledger, const struct cpu_set_mask *cpus, uint64_t memory_bytes);
void ledger_done(struct ledger *ledger);

/* "4", "4:1", "1.5": percent. -EINVAL for what is no ratio from 0.01 to 1000. */
int ledger_read_ratio(const char *text, uint32_t *ret_percent, struct error *e) must_use;

/* Refuses with -EBUSY what this host could not hold if it were empty. */
int ledger_check(
	const struct ledger *ledger, const struct resources *asked, struct error *e) must_use;

/* Promises CPUs and memory; -EBUSY if they are not free. ledger_release() takes the promise back. */
int ledger_reserve(struct ledger *ledger, const struct resources *asked, struct error *e) must_use;
void ledger_release(struct ledger *ledger, const struct resources *promised);

/* The pool's capacity as last seen; the pool is added if it is new. */
void ledger_set_pool(struct ledger *ledger, const char *name, uint64_t total_bytes);
int ledger_reserve_storage(
	struct ledger *ledger, const char *name, uint64_t bytes, struct error *e) must_use;
void ledger_release_storage(struct ledger *ledger, const char *name, uint64_t bytes);

/*
 * The CPUs that an instance is held on: for a set, the set itself; for a count below the host's, the
 * least used ones; else none (all). Give them back with ledger_release_cpus(). -EBUSY for a CPU that is
 * not there.
 */
int ledger_take_cpus(struct ledger *ledger, const struct cpu_limit *limit, struct cpu_set_mask *ret,
	struct error *e) must_use;
void ledger_release_cpus(struct ledger *ledger, const struct cpu_set_mask *cpus);

/* The same CPUs again, for an instance that ran before the daemon did. */
void ledger_use_cpus(struct ledger *ledger, const struct cpu_set_mask *cpus);
