/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resources.c - limits by the words of the specification, which are those of v1.
 */
#include "container/oci/resources.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "host/cgroup_devices.h"
#include "host/cgroup_limits.h"

static const json_t *part(const json_t *resources, const char *object, const char *field)
{
	return json_object_get(json_object_get(resources, object), field);
}

static bool number(const json_t *value, int64_t *ret)
{
	if (!json_is_integer(value))
		return false;
	*ret = json_integer_value(value);
	return true;
}

uint32_t oci_resources_need(const json_t *resources)
{
	uint32_t need = CGROUP_BIT(CGROUP_PIDS) | CGROUP_BIT(CGROUP_MEMORY) |
		CGROUP_BIT(CGROUP_CPU) | CGROUP_BIT(CGROUP_CPUACCT) | CGROUP_BIT(CGROUP_DEVICES);
	if (part(resources, "cpu", "cpus") || part(resources, "cpu", "mems"))
		need |= CGROUP_BIT(CGROUP_CPUSET);
	if (json_object_size(json_object_get(resources, "blockIO")))
		need |= CGROUP_BIT(CGROUP_IO);
	return need;
}

static int write_file(struct cgroup *group, enum cgroup_controller controller, const char *file,
	const char *value, const char *field, struct error *e)
{
	if (!group->dirs[controller])
		return error_set(e, -EOPNOTSUPP,
			"linux.resources.%s: this host has no cgroup controller %s", field,
			cgroup_controller_name(controller));
	cleanup(free) char *path = alloc_printf("%s/%s", group->dirs[controller], file);
	int r = file_write_value(AT_FDCWD, path, value);
	return r < 0 ? error_code(e, r, "linux.resources.%s: write %s to %s", field, value, path)
		     : 0;
}

static int write_number(struct cgroup *group, enum cgroup_controller controller, const char *file,
	int64_t value, const char *field, struct error *e)
{
	char text[32];
	snprintf(text, sizeof(text), "%" PRId64, value);
	return write_file(group, controller, file, text, field, e);
}

static bool is_v2(const struct cgroup *group, enum cgroup_controller controller)
{
	return group->in_v2 & CGROUP_BIT(controller);
}

static int set_cpu(struct cgroup *group, const json_t *cpu, struct error *e)
{
	int64_t shares = 0, quota = 0, period = 0;
	int r = 0;
	bool v2 = is_v2(group, CGROUP_CPU);
	if (number(json_object_get(cpu, "shares"), &shares) && shares > 0) {
		int64_t weight = 1 + ((shares - 2) * 9999) / 262142;
		r = write_number(group, CGROUP_CPU, v2 ? "cpu.weight" : "cpu.shares",
			v2 ? weight : shares, "cpu.shares", e);
	}
	bool has_quota = number(json_object_get(cpu, "quota"), &quota) && quota != 0;
	bool has_period = number(json_object_get(cpu, "period"), &period) && period > 0;
	if (r == 0 && v2 && (has_quota || has_period)) {
		char text[64];
		if (has_quota && quota > 0)
			snprintf(text, sizeof(text), "%" PRId64 " %" PRId64, quota,
				has_period ? period : 100000);
		else
			snprintf(text, sizeof(text), "max %" PRId64, has_period ? period : 100000);
		r = write_file(group, CGROUP_CPU, "cpu.max", text, "cpu.quota", e);
	}
	if (r == 0 && !v2 && has_period)
		r = write_number(group, CGROUP_CPU, "cpu.cfs_period_us", period, "cpu.period", e);
	if (r == 0 && !v2 && has_quota)
		r = write_number(group, CGROUP_CPU, "cpu.cfs_quota_us", quota, "cpu.quota", e);
	const char *cpus = json_string_value(json_object_get(cpu, "cpus"));
	const char *mems = json_string_value(json_object_get(cpu, "mems"));
	if (r == 0 && cpus && *cpus)
		r = write_file(group, CGROUP_CPUSET, "cpuset.cpus", cpus, "cpu.cpus", e);
	if (r == 0 && mems && *mems)
		r = write_file(group, CGROUP_CPUSET, "cpuset.mems", mems, "cpu.mems", e);
	return r;
}

static uint64_t limit_of(const json_t *value)
{
	int64_t limit = 0;
	if (!number(value, &limit) || limit == 0)
		return CGROUP_KEEP;
	return limit < 0 ? CGROUP_NO_LIMIT : (uint64_t)limit;
}

static int set_memory(struct cgroup *group, const json_t *memory, struct error *e)
{
	struct cgroup_limits limits = {
		.memory_bytes = limit_of(json_object_get(memory, "limit")),
		.memory_low_bytes = limit_of(json_object_get(memory, "reservation")),
	};
	/* The specification counts memory and swap together. */
	uint64_t both = limit_of(json_object_get(memory, "swap"));
	if (both == CGROUP_NO_LIMIT)
		limits.swap_bytes = CGROUP_NO_LIMIT;
	else if (both != CGROUP_KEEP && limits.memory_bytes != CGROUP_KEEP) {
		if (both < limits.memory_bytes)
			return error_set(
				e, -EINVAL, "linux.resources.memory.swap: it is below the limit");
		limits.swap_bytes =
			both == limits.memory_bytes ? CGROUP_NO_SWAP : both - limits.memory_bytes;
	}
	int r = cgroup_limits_set(group, &limits, e);
	int64_t swappiness;
	if (r == 0 && number(json_object_get(memory, "swappiness"), &swappiness) &&
		!is_v2(group, CGROUP_MEMORY))
		r = write_number(group, CGROUP_MEMORY, "memory.swappiness", swappiness,
			"memory.swappiness", e);
	if (r == 0 && json_is_true(json_object_get(memory, "disableOOMKiller")) &&
		!is_v2(group, CGROUP_MEMORY))
		r = write_number(group, CGROUP_MEMORY, "memory.oom_control", 1,
			"memory.disableOOMKiller", e);
	return r < 0 ? error_prefix(e, r, "linux.resources.memory") : 0;
}

static int set_throttle(struct cgroup *group, const json_t *io, struct error *e)
{
	static const struct {
		const char *field;
		size_t at;
	} kinds[] = {
		{ "throttleReadBpsDevice", offsetof(struct cgroup_io_limit, read_bytes) },
		{ "throttleWriteBpsDevice", offsetof(struct cgroup_io_limit, write_bytes) },
		{ "throttleReadIOPSDevice", offsetof(struct cgroup_io_limit, read_operations) },
		{ "throttleWriteIOPSDevice", offsetof(struct cgroup_io_limit, write_operations) },
	};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t at;
		json_t *item;
		json_array_foreach(json_object_get(io, kinds[i].field), at, item)
		{
			struct cgroup_io_limit limit = {
				.major = (uint32_t)json_integer_value(
					json_object_get(item, "major")),
				.minor = (uint32_t)json_integer_value(
					json_object_get(item, "minor")),
			};
			uint64_t rate = (uint64_t)json_integer_value(json_object_get(item, "rate"));
			*(uint64_t *)(void *)((char *)&limit + kinds[i].at) = rate;
			int r = cgroup_limits_set(
				group, &(struct cgroup_limits){ .io = &limit, .io_count = 1 }, e);
			if (r < 0)
				return error_prefix(
					e, r, "linux.resources.blockIO.%s", kinds[i].field);
		}
	}
	int64_t weight;
	if (number(json_object_get(io, "weight"), &weight) && weight > 0)
		return cgroup_limits_set(
			group, &(struct cgroup_limits){ .io_weight = (uint32_t)weight }, e);
	return 0;
}

/* Files of v2 by their own names. */
static int set_unified(struct cgroup *group, const json_t *unified, struct error *e)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)unified, key, value)
	{
		const char *text = json_string_value(value);
		if (!text || strchr(key, '/') || key[0] == '.')
			return error_set(e, -EINVAL, "linux.resources.unified.%s: cannot be", key);
		int r = write_file(group, CGROUP_UNIFIED, key, text, "unified", e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What every container needs, whatever its list says. */
static const struct cgroup_device usual[] = {
	{ 'c', -1, -1, "m" },
	{ 'b', -1, -1, "m" },
	{ 'c', 1, 3, "rwm" },
	{ 'c', 1, 5, "rwm" },
	{ 'c', 1, 7, "rwm" },
	{ 'c', 1, 8, "rwm" },
	{ 'c', 1, 9, "rwm" },
	{ 'c', 5, 0, "rwm" },
	{ 'c', 5, 2, "rwm" },
	{ 'c', 136, -1, "rwm" },
};

/*
 * The rules are a sequence that starts with all allowed or denied; a list of what is allowed says the
 * same if no rule denies single devices after one that allows more. Such a rule is refused.
 */
static int set_devices(struct cgroup *group, const json_t *rules, struct error *e)
{
	struct cgroup_device list[CGROUP_DEVICES_MAX];
	size_t count = 0, at;
	bool is_open = false;
	json_t *rule;
	json_array_foreach(rules, at, rule)
	{
		const char *type = json_string_value(json_object_get(rule, "type")) ?: "a";
		const char *access = json_string_value(json_object_get(rule, "access")) ?: "rwm";
		int64_t major = -1, minor = -1;
		(void)number(json_object_get(rule, "major"), &major);
		(void)number(json_object_get(rule, "minor"), &minor);
		bool is_allowed = json_is_true(json_object_get(rule, "allow"));
		bool is_all = type[0] == 'a' && major < 0 && minor < 0;
		if (is_all) {
			count = 0;
			is_open = is_allowed;
			continue;
		}
		if (!is_allowed && (count > 0 || is_open))
			return error_set(e, -EOPNOTSUPP,
				"linux.resources.devices: item %zu denies what an earlier one allows",
				at);
		for (const char *kind = type[0] == 'a' ? "cb" : type; is_allowed && *kind; kind++) {
			if (count + ARRAY_SIZE(usual) >= CGROUP_DEVICES_MAX)
				return error_set(e, -E2BIG, "linux.resources.devices: too many");
			list[count++] = (struct cgroup_device){ *kind == 'b' ? 'b' : 'c', major,
				minor, access };
		}
	}
	if (is_open)
		return 0;
	memcpy(list + count, usual, sizeof(usual));
	return cgroup_devices_allow(group, list, count + ARRAY_SIZE(usual), e);
}

int oci_resources_set(struct cgroup *group, const json_t *resources, bool is_new, struct error *e)
{
	int r = set_cpu(group, json_object_get(resources, "cpu"), e);
	if (r == 0)
		r = set_memory(group, json_object_get(resources, "memory"), e);
	int64_t pids = 0;
	if (r == 0 && number(part(resources, "pids", "limit"), &pids) && pids != 0)
		r = cgroup_limits_set(group,
			&(struct cgroup_limits){
				.processes = pids < 0 ? CGROUP_NO_LIMIT : (uint64_t)pids },
			e);
	if (r == 0)
		r = set_throttle(group, json_object_get(resources, "blockIO"), e);
	if (r == 0)
		r = set_unified(group, json_object_get(resources, "unified"), e);
	const json_t *devices = json_object_get(resources, "devices");
	if (r == 0 && is_new && json_array_size(devices) > 0)
		r = set_devices(group, devices, e);
	return r;
}
