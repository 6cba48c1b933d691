/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger.c - what the host has, what is promised to instances, and whether more can be.
 */
#include "model/ledger.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define RATIO_PERCENT_MAX 100000

void ledger_init(struct ledger *ledger, const struct cpu_set_mask *cpus, uint64_t memory_bytes)
{
	*ledger = (struct ledger){
		.ratios = { LEDGER_CPU_PERCENT, LEDGER_MEMORY_PERCENT, LEDGER_STORAGE_PERCENT },
		.cpus = *cpus,
		.memory_bytes = memory_bytes,
	};
}

void ledger_done(struct ledger *ledger)
{
	free(ledger->pools);
	ledger->pools = NULL;
	ledger->pool_count = 0;
}

int ledger_read_ratio(const char *text, uint32_t *ret_percent, struct error *e)
{
	cleanup(free) char *left = alloc_text_n(text, strcspn(text, ":"));
	const char *colon = strchr(text, ':');
	char *dot = strchr(left, '.');
	uint64_t whole, part = 0;
	bool is_good = !colon || text_equal(colon, ":1");
	if (dot) {
		size_t digits = strlen(dot + 1);
		is_good =
			is_good && (digits == 1 || digits == 2) && text_to_u64(dot + 1, &part) == 0;
		if (digits == 1)
			part *= 10;
		*dot = '\0';
	}
	if (!is_good || text_to_u64(left, &whole) < 0 || whole > RATIO_PERCENT_MAX / 100 ||
		whole * 100 + part == 0)
		return error_set(e, -EINVAL, "\"%s\" is no ratio like 4, 4:1 or 1.5", text);
	*ret_percent = (uint32_t)(whole * 100 + part);
	return 0;
}

/* What may be promised of `has`. */
static uint64_t stretched(uint64_t has, uint32_t percent)
{
	if (has > UINT64_MAX / RATIO_PERCENT_MAX)
		return has;
	return has * percent / 100;
}

int ledger_check(const struct ledger *ledger, const struct resources *asked, struct error *e)
{
	uint64_t cpu_milli = 1000 * (uint64_t)cpu_set_mask_count(&ledger->cpus);
	if (asked->cpu_milli > cpu_milli)
		return error_set(e, -EBUSY,
			"config.limits.cpu: %llu.%03llu CPUs were asked for, the host has %llu",
			(unsigned long long)asked->cpu_milli / 1000,
			(unsigned long long)asked->cpu_milli % 1000,
			(unsigned long long)cpu_milli / 1000);
	if (asked->memory_bytes > ledger->memory_bytes) {
		char want[TEXT_SIZE_MAX], have[TEXT_SIZE_MAX];
		return error_set(e, -EBUSY,
			"config.limits.memory: %s were asked for, the host has %s",
			text_format_bytes(asked->memory_bytes, want),
			text_format_bytes(ledger->memory_bytes, have));
	}
	return 0;
}

int ledger_reserve(struct ledger *ledger, const struct resources *asked, struct error *e)
{
	int r = ledger_check(ledger, asked, e);
	if (r < 0)
		return r;
	uint64_t host_milli = 1000 * (uint64_t)cpu_set_mask_count(&ledger->cpus);
	uint64_t cpu_milli = stretched(host_milli, ledger->ratios.cpu_percent);
	if (asked->cpu_milli &&
		(ledger->promised_cpu_milli > cpu_milli ||
			asked->cpu_milli > cpu_milli - ledger->promised_cpu_milli))
		return error_set(e, -EBUSY,
			"config.limits.cpu: %llu.%03llu CPUs are not free: %llu.%03llu of %llu.%03llu "
			"(%llu at %u.%02u:1) are promised",
			(unsigned long long)asked->cpu_milli / 1000,
			(unsigned long long)asked->cpu_milli % 1000,
			(unsigned long long)ledger->promised_cpu_milli / 1000,
			(unsigned long long)ledger->promised_cpu_milli % 1000,
			(unsigned long long)cpu_milli / 1000, (unsigned long long)cpu_milli % 1000,
			(unsigned long long)host_milli / 1000, ledger->ratios.cpu_percent / 100,
			ledger->ratios.cpu_percent % 100);
	uint64_t memory = stretched(ledger->memory_bytes, ledger->ratios.memory_percent);
	if (asked->memory_bytes &&
		(ledger->promised_memory_bytes > memory ||
			asked->memory_bytes > memory - ledger->promised_memory_bytes)) {
		char want[TEXT_SIZE_MAX], used[TEXT_SIZE_MAX], have[TEXT_SIZE_MAX];
		return error_set(e, -EBUSY,
			"config.limits.memory: %s are not free: %s of %s (at %u.%02u:1) are promised",
			text_format_bytes(asked->memory_bytes, want),
			text_format_bytes(ledger->promised_memory_bytes, used),
			text_format_bytes(memory, have), ledger->ratios.memory_percent / 100,
			ledger->ratios.memory_percent % 100);
	}
	ledger->promised_cpu_milli += asked->cpu_milli;
	ledger->promised_memory_bytes += asked->memory_bytes;
	return 0;
}

void ledger_release(struct ledger *ledger, const struct resources *promised)
{
	assert(ledger->promised_cpu_milli >= promised->cpu_milli);
	assert(ledger->promised_memory_bytes >= promised->memory_bytes);
	ledger->promised_cpu_milli -= promised->cpu_milli;
	ledger->promised_memory_bytes -= promised->memory_bytes;
}

static struct ledger_pool *pool_find(struct ledger *ledger, const char *name)
{
	for (size_t i = 0; i < ledger->pool_count; i++) {
		if (text_equal(ledger->pools[i].name, name))
			return &ledger->pools[i];
	}
	return NULL;
}

static struct ledger_pool *pool_get(struct ledger *ledger, const char *name)
{
	struct ledger_pool *pool = pool_find(ledger, name);
	if (pool)
		return pool;
	ledger->pools = alloc_resize(ledger->pools, ledger->pool_count + 1, sizeof(*pool));
	pool = &ledger->pools[ledger->pool_count++];
	*pool = (struct ledger_pool){};
	snprintf(pool->name, sizeof(pool->name), "%s", name);
	return pool;
}

void ledger_set_pool(struct ledger *ledger, const char *name, uint64_t total_bytes)
{
	pool_get(ledger, name)->total_bytes = total_bytes;
}

int ledger_reserve_storage(struct ledger *ledger, const char *name, uint64_t bytes, struct error *e)
{
	struct ledger_pool *pool = pool_get(ledger, name);
	uint64_t total = stretched(pool->total_bytes, ledger->ratios.storage_percent);
	if (bytes && pool->total_bytes &&
		(bytes > pool->total_bytes || pool->promised_bytes > total ||
			bytes > total - pool->promised_bytes)) {
		char want[TEXT_SIZE_MAX], used[TEXT_SIZE_MAX], have[TEXT_SIZE_MAX];
		return error_set(e, -EBUSY,
			"%s are not free in storage pool %s: %s of %s (at %u.%02u:1) are promised",
			text_format_bytes(bytes, want), name,
			text_format_bytes(pool->promised_bytes, used),
			text_format_bytes(total, have), ledger->ratios.storage_percent / 100,
			ledger->ratios.storage_percent % 100);
	}
	pool->promised_bytes += bytes;
	return 0;
}

void ledger_release_storage(struct ledger *ledger, const char *name, uint64_t bytes)
{
	struct ledger_pool *pool = pool_get(ledger, name);
	assert(pool->promised_bytes >= bytes);
	pool->promised_bytes -= bytes;
}

static int set_take(struct ledger *ledger, const struct cpu_set_mask *set, struct error *e)
{
	for (uint32_t cpu = 0; cpu < RESOURCES_CPUS_MAX; cpu++) {
		if (cpu_set_mask_has(set, cpu) && !cpu_set_mask_has(&ledger->cpus, cpu))
			return error_set(
				e, -EBUSY, "config.limits.cpu: the host has no CPU %u", cpu);
	}
	ledger_use_cpus(ledger, set);
	return 0;
}

int ledger_take_cpus(struct ledger *ledger, const struct cpu_limit *limit, struct cpu_set_mask *ret,
	struct error *e)
{
	if (cpu_set_mask_count(&limit->set)) {
		int r = set_take(ledger, &limit->set, e);
		if (r == 0)
			*ret = limit->set;
		return r;
	}
	uint64_t count = (limit->milli + 999) / 1000;
	struct cpu_set_mask taken = {};
	if (count == 0 || count >= cpu_set_mask_count(&ledger->cpus)) {
		*ret = taken;
		return 0;
	}
	for (uint64_t i = 0; i < count; i++) {
		uint32_t best = RESOURCES_CPUS_MAX;
		for (uint32_t cpu = 0; cpu < RESOURCES_CPUS_MAX; cpu++) {
			if (cpu_set_mask_has(&ledger->cpus, cpu) &&
				!cpu_set_mask_has(&taken, cpu) &&
				(best == RESOURCES_CPUS_MAX ||
					ledger->uses[cpu] < ledger->uses[best]))
				best = cpu;
		}
		assert(best < RESOURCES_CPUS_MAX); /* fewer are taken than there are */
		cpu_set_mask_add(&taken, best);
	}
	ledger_use_cpus(ledger, &taken);
	*ret = taken;
	return 0;
}

void ledger_use_cpus(struct ledger *ledger, const struct cpu_set_mask *cpus)
{
	for (uint32_t cpu = 0; cpu < RESOURCES_CPUS_MAX; cpu++)
		ledger->uses[cpu] += cpu_set_mask_has(cpus, cpu);
}

void ledger_release_cpus(struct ledger *ledger, const struct cpu_set_mask *cpus)
{
	for (uint32_t cpu = 0; cpu < RESOURCES_CPUS_MAX; cpu++) {
		if (cpu_set_mask_has(cpus, cpu)) {
			assert(ledger->uses[cpu] > 0);
			ledger->uses[cpu]--;
		}
	}
}
