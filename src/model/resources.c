/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resources.c - cpus, memory, rates and their limits, read from the texts that a user writes.
 */
#include "model/resources.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

#define CPU_QUOTA_MIN_US  1000    /* what the kernel takes */
#define CPU_PERIOD_MAX_US 1000000 /* likewise */

bool cpu_set_mask_has(const struct cpu_set_mask *set, uint32_t cpu)
{
	return cpu < RESOURCES_CPUS_MAX && (set->words[cpu / 64] >> (cpu % 64) & 1);
}

void cpu_set_mask_add(struct cpu_set_mask *set, uint32_t cpu)
{
	assert(cpu < RESOURCES_CPUS_MAX);
	set->words[cpu / 64] |= UINT64_C(1) << (cpu % 64);
}

uint32_t cpu_set_mask_count(const struct cpu_set_mask *set)
{
	uint32_t count = 0;
	for (size_t i = 0; i < ARRAY_SIZE(set->words); i++)
		count += (uint32_t)__builtin_popcountll(set->words[i]);
	return count;
}

/* Reads a number at *at and moves behind it. */
static int number_read(const char **at, uint64_t *ret)
{
	char digits[24];
	size_t count = strspn(*at, "0123456789");
	if (count == 0 || count >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, *at, count);
	digits[count] = '\0';
	*at += count;
	return text_to_u64(digits, ret);
}

int cpu_set_mask_read(const char *text, struct cpu_set_mask *ret, struct error *e)
{
	struct cpu_set_mask set = {};
	const char *at = text;
	do {
		uint64_t first, last;
		if (number_read(&at, &first) < 0)
			return error_set(e, -EINVAL, "\"%s\" is no set of CPUs like 0-3,5", text);
		last = first;
		if (*at == '-') {
			at++;
			if (number_read(&at, &last) < 0 || last < first)
				return error_set(
					e, -EINVAL, "\"%s\" is no set of CPUs like 0-3,5", text);
		}
		if (last >= RESOURCES_CPUS_MAX)
			return error_set(
				e, -EINVAL, "CPU %llu is too high", (unsigned long long)last);
		for (uint64_t cpu = first; cpu <= last; cpu++)
			cpu_set_mask_add(&set, (uint32_t)cpu);
	} while (*at == ',' && at++);
	if (*at != '\0')
		return error_set(e, -EINVAL, "\"%s\" is no set of CPUs like 0-3,5", text);
	*ret = set;
	return 0;
}

char *cpu_set_mask_text(const struct cpu_set_mask *set)
{
	cleanup(text_done) struct text text = {};
	for (uint32_t cpu = 0; cpu < RESOURCES_CPUS_MAX; cpu++) {
		if (!cpu_set_mask_has(set, cpu))
			continue;
		uint32_t last = cpu;
		while (cpu_set_mask_has(set, last + 1))
			last++;
		text_printf(&text, text.length ? ",%u" : "%u", cpu);
		if (last > cpu)
			text_printf(&text, "-%u", last);
		cpu = last;
	}
	return text_take(&text);
}

/* "2", "0.5", "1.25": thousandths. */
static int milli_read(const char *text, uint64_t *ret)
{
	const char *at = text;
	uint64_t whole, milli = 0;
	int r = number_read(&at, &whole);
	if (r < 0)
		return r;
	if (*at == '.') {
		size_t digits = strspn(at + 1, "0123456789");
		if (digits == 0 || digits > 3 || at[1 + digits] != '\0')
			return -EINVAL;
		for (size_t i = 0; i < 3; i++)
			milli = milli * 10 + (i < digits ? (uint64_t)(at[1 + i] - '0') : 0);
	} else if (*at != '\0') {
		return -EINVAL;
	}
	if (whole > RESOURCES_CPUS_MAX)
		return -ERANGE;
	*ret = whole * 1000 + milli;
	return 0;
}

int resources_read_cpus(const char *text, struct cpu_limit *ret, struct error *e)
{
	struct cpu_limit limit = {};
	if (strpbrk(text, "-,")) {
		int r = cpu_set_mask_read(text, &limit.set, e);
		if (r < 0)
			return r;
	} else if (milli_read(text, &limit.milli) < 0) {
		return error_set(e, -EINVAL,
			"\"%s\" is neither a number of CPUs (2, 0.5) nor a set (0-3,5)", text);
	} else if (limit.milli == 0) {
		return error_set(e, -EINVAL, "an instance needs more than 0 CPUs");
	}
	*ret = limit;
	return 0;
}

/* "25ms": microseconds. */
static int us_read(const char *text, size_t length, uint64_t *ret)
{
	cleanup(free) char *copy = alloc_text_n(text, length);
	uint64_t ns;
	if (!text_ends(copy, "ms") && !text_ends(copy, "us"))
		return -EINVAL;
	if (text_to_ns(copy, &ns) < 0)
		return -EINVAL;
	*ret = ns / 1000;
	return 0;
}

int resources_read_allowance(const char *text, struct cpu_allowance *ret, struct error *e)
{
	struct cpu_allowance allowance = {};
	const char *slash = strchr(text, '/');
	if (slash) {
		if (us_read(text, (size_t)(slash - text), &allowance.quota_us) < 0 ||
			us_read(slash + 1, strlen(slash + 1), &allowance.period_us) < 0)
			return error_set(
				e, -EINVAL, "\"%s\" is no share of time like 25ms/100ms", text);
		if (allowance.quota_us < CPU_QUOTA_MIN_US ||
			allowance.period_us < CPU_QUOTA_MIN_US ||
			allowance.period_us > CPU_PERIOD_MAX_US)
			return error_set(e, -EINVAL,
				"\"%s\": time is at least 1ms of a period of at most 1000ms", text);
	} else {
		const char *at = text;
		uint64_t percent;
		if (number_read(&at, &percent) < 0 || !text_equal(at, "%") || percent < 1 ||
			percent > 100)
			return error_set(e, -EINVAL,
				"\"%s\" is neither 1%% to 100%% nor a share of time like 25ms/100ms",
				text);
		allowance.percent = (uint32_t)percent;
	}
	*ret = allowance;
	return 0;
}

int resources_read_memory(const char *text, uint64_t host_bytes, uint64_t *ret, struct error *e)
{
	uint64_t bytes;
	if (text_ends(text, "%")) {
		const char *at = text;
		uint64_t percent;
		if (number_read(&at, &percent) < 0 || !text_equal(at, "%") || percent < 1 ||
			percent > 100)
			return error_set(e, -EINVAL, "\"%s\" is not 1%% to 100%%", text);
		bytes = host_bytes / 100 * percent;
	} else if (text_to_bytes(text, &bytes) < 0) {
		return error_set(e, -EINVAL, "\"%s\" is no size like 512MiB", text);
	}
	if (bytes == 0)
		return error_set(e, -EINVAL, "an instance needs more than 0 bytes");
	*ret = bytes;
	return 0;
}

int resources_read_disk_rate(const char *text, struct disk_rate *ret, struct error *e)
{
	struct disk_rate rate = {};
	if (text_ends(text, "iops")) {
		const char *at = text;
		if (number_read(&at, &rate.operations) < 0 || !text_equal(at, "iops") ||
			rate.operations == 0)
			return error_set(e, -EINVAL, "\"%s\" is no rate like 200iops", text);
	} else if (text_to_bytes(text, &rate.bytes) < 0 || rate.bytes == 0) {
		return error_set(e, -EINVAL, "\"%s\" is no rate like 10MiB or 200iops", text);
	}
	*ret = rate;
	return 0;
}

int resources_read_bool(const char *text, bool *ret, struct error *e)
{
	static const char *const yes[] = { "true", "1", "yes", "on" };
	static const char *const no[] = { "false", "0", "no", "off", "" };
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (strcasecmp(text, yes[i]) == 0) {
			*ret = true;
			return 0;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(no); i++) {
		if (strcasecmp(text, no[i]) == 0) {
			*ret = false;
			return 0;
		}
	}
	return error_set(e, -EINVAL, "\"%s\" is neither true nor false", text);
}
