/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resources.h - cpus, memory, rates and their limits, read from the texts that a user writes.
 *
 * Every reader is strict: the whole text, no sign, no space. 0 or -EINVAL, with a sentence that does not
 * name the field: the caller prefixes its path.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

#define RESOURCES_CPUS_MAX 1024

/* A set of CPUs by number. */
struct cpu_set_mask {
	uint64_t words[RESOURCES_CPUS_MAX / 64];
};

/* What one instance is promised. 0 is "nothing promised": it takes what is left. */
struct resources {
	uint64_t cpu_milli; /* thousandths of a CPU */
	uint64_t memory_bytes;
	uint64_t storage_bytes; /* of the pool that holds its root */
};

bool cpu_set_mask_has(const struct cpu_set_mask *set, uint32_t cpu);
void cpu_set_mask_add(struct cpu_set_mask *set, uint32_t cpu);
uint32_t cpu_set_mask_count(const struct cpu_set_mask *set);

/* Reads the kernel's list form "0-3,8,10-11". */
int cpu_set_mask_read(const char *text, struct cpu_set_mask *ret, struct error *e) must_use;

/* The kernel's list form; "" of an empty set; the caller owns it. */
char *cpu_set_mask_text(const struct cpu_set_mask *set) must_use;

/* `limits.cpu`: a count ("2", "0.5") or a set ("0-1", "3-3"). One of the two is set, the other is 0. */
struct cpu_limit {
	uint64_t milli;
	struct cpu_set_mask set;
};
int resources_read_cpus(const char *text, struct cpu_limit *ret, struct error *e) must_use;

/*
 * `limits.cpu.allowance`: "50%" is a share under contention, a weight; "25ms/100ms" a hard quota.
 * One of the two is set.
 */
struct cpu_allowance {
	uint32_t percent; /* 1 to 100, 0 if it is a quota */
	uint64_t quota_us;
	uint64_t period_us;
};
int resources_read_allowance(const char *text, struct cpu_allowance *ret, struct error *e) must_use;

/* `limits.memory`: bytes ("1GiB") or a part of the host's memory ("50%"). */
int resources_read_memory(
	const char *text, uint64_t host_bytes, uint64_t *ret, struct error *e) must_use;

/* A disk's rate: bytes a second ("10MiB") or operations a second ("200iops"). One of the two is set. */
struct disk_rate {
	uint64_t bytes;
	uint64_t operations;
};
int resources_read_disk_rate(const char *text, struct disk_rate *ret, struct error *e) must_use;

/* "true", "1", "yes", "on" and their opposites, in any case; "" is false. */
int resources_read_bool(const char *text, bool *ret, struct error *e) must_use;
