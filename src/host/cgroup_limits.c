/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup_limits.c - the same limit in the words of v1 and of v2.
 */
#include "host/cgroup_limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

#define CPU_PERIOD_US      100000
#define CPU_LONG_PERIOD_US 1000000
#define CPU_QUOTA_MIN_US   1000 /* the kernel's */
#define CPUSET_BYTES       4096
#define V1_UNLIMITED       (UINT64_C(1) << 62) /* "-1" is read back as a little less than 2^63 */

static bool is_v2(const struct cgroup *group, enum cgroup_controller controller)
{
	return group->in_v2 & CGROUP_BIT(controller);
}

static int set_text(struct cgroup *group, enum cgroup_controller controller, const char *file,
	const char *value, struct error *e)
{
	const char *dir = group->dirs[controller];
	if (!dir)
		return error_set(e, -EOPNOTSUPP,
			"%s: this host or group has no such cgroup controller",
			cgroup_controller_name(controller));
	cleanup(free) char *path = alloc_printf("%s/%s", dir, file);
	int r = file_write_value(AT_FDCWD, path, value);
	return r < 0 ? error_code(e, r, "write \"%s\" to %s", value, path) : 0;
}

static int set_number(struct cgroup *group, enum cgroup_controller controller, const char *file,
	uint64_t value, struct error *e)
{
	char text[32];
	snprintf(text, sizeof(text), "%" PRIu64, value);
	if (value == CGROUP_NO_LIMIT)
		snprintf(text, sizeof(text), "%s",
			is_v2(group, controller) || controller == CGROUP_PIDS ? "max" : "-1");
	return set_text(group, controller, file, text, e);
}

static int read_number(const struct cgroup *group, enum cgroup_controller controller,
	const char *file, uint64_t *ret)
{
	if (!group->dirs[controller])
		return -ENOENT;
	cleanup(free) char *path = alloc_printf("%s/%s", group->dirs[controller], file);
	return file_read_u64(AT_FDCWD, path, ret);
}

static int set_cpu_quota(struct cgroup *group, const struct cgroup_limits *limits, struct error *e)
{
	uint64_t period = limits->cpu_period_us ? limits->cpu_period_us : CPU_PERIOD_US;
	bool is_free = limits->cpu_milli == CGROUP_NO_LIMIT;
	if (!is_free && limits->cpu_milli > 1000000)
		return error_set(e, -EINVAL, "cpu: more than 1000 CPUs");
	uint64_t quota = is_free ? 0 : limits->cpu_milli * period / 1000;
	if (!is_free && quota < CPU_QUOTA_MIN_US) {
		period = CPU_LONG_PERIOD_US;
		quota = limits->cpu_milli * period / 1000;
	}
	char text[64];
	if (is_v2(group, CGROUP_CPU)) {
		if (is_free)
			snprintf(text, sizeof(text), "max %" PRIu64, period);
		else
			snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64, quota, period);
		return set_text(group, CGROUP_CPU, "cpu.max", text, e);
	}
	uint64_t before = 0;
	(void)read_number(group, CGROUP_CPU, "cpu.cfs_period_us", &before);
	if (is_free)
		return set_text(group, CGROUP_CPU, "cpu.cfs_quota_us", "-1", e);
	if (before != period) {
		/* No moment with a quota that the other period makes too small or too large. */
		int r = set_text(group, CGROUP_CPU, "cpu.cfs_quota_us", "-1", e);
		if (r == 0)
			r = set_number(group, CGROUP_CPU, "cpu.cfs_period_us", period, e);
		if (r < 0)
			return r;
	}
	return set_number(group, CGROUP_CPU, "cpu.cfs_quota_us", quota, e);
}

static int set_cpu_weight(struct cgroup *group, uint32_t weight, struct error *e)
{
	if (weight > 10000)
		return error_set(e, -EINVAL, "cpu weight: %u is not 1 to 10000", weight);
	if (is_v2(group, CGROUP_CPU))
		return set_number(group, CGROUP_CPU, "cpu.weight", weight, e);
	uint64_t shares = (uint64_t)weight * 1024 / 100;
	return set_number(group, CGROUP_CPU, "cpu.shares", shares < 2 ? 2 : shares, e);
}

static int set_cpuset(struct cgroup *group, const char *cpuset, struct error *e)
{
	const char *dir = group->dirs[CGROUP_CPUSET];
	if (*cpuset || !dir || is_v2(group, CGROUP_CPUSET))
		return set_text(group, CGROUP_CPUSET, "cpuset.cpus", *cpuset ? cpuset : "\n", e);
	/* v1 has no word for "all": say which. */
	cleanup(free) char *path = alloc_printf("%s/../cpuset.cpus", dir);
	char all[CPUSET_BYTES];
	ssize_t length = file_read_line(AT_FDCWD, path, all, sizeof(all));
	if (length < 0)
		return error_code(e, (int)length, "read %s", path);
	return set_text(group, CGROUP_CPUSET, "cpuset.cpus", all, e);
}

/* v1's limit of memory and swap together, which must never be below that of memory. */
static int set_memsw_v1(struct cgroup *group, uint64_t memory, uint64_t swap, struct error *e)
{
	uint64_t now = CGROUP_NO_LIMIT, both_now = CGROUP_NO_LIMIT;
	bool has_memsw =
		read_number(group, CGROUP_MEMORY, "memory.memsw.limit_in_bytes", &both_now) == 0;
	(void)read_number(group, CGROUP_MEMORY, "memory.limit_in_bytes", &now);
	if (memory == CGROUP_KEEP)
		memory = now;
	if (swap == CGROUP_NO_SWAP && !has_memsw)
		swap = CGROUP_KEEP; /* set_memory() forbids it through swappiness */
	else if (swap != CGROUP_KEEP && swap != CGROUP_NO_LIMIT && !has_memsw)
		return error_set(e, -EOPNOTSUPP, "swap: this kernel does not count it");

	uint64_t both = CGROUP_NO_LIMIT;
	if (memory != CGROUP_NO_LIMIT && swap == CGROUP_NO_SWAP)
		both = memory;
	else if (memory != CGROUP_NO_LIMIT && swap != CGROUP_NO_LIMIT && swap != CGROUP_KEEP)
		both = memory + swap < memory ? CGROUP_NO_LIMIT : memory + swap;
	else if (swap == CGROUP_KEEP && both_now < V1_UNLIMITED && memory < V1_UNLIMITED)
		both = memory + (both_now > now ? both_now - now : 0); /* as much swap as before */

	int r = 0;
	bool is_raise = both > both_now;
	if (has_memsw && is_raise)
		r = set_number(group, CGROUP_MEMORY, "memory.memsw.limit_in_bytes", both, e);
	if (r == 0 && memory != now)
		r = set_number(group, CGROUP_MEMORY, "memory.limit_in_bytes", memory, e);
	if (r == 0 && has_memsw && !is_raise && both != both_now)
		r = set_number(group, CGROUP_MEMORY, "memory.memsw.limit_in_bytes", both, e);
	return r;
}

static int set_memory(struct cgroup *group, const struct cgroup_limits *limits, struct error *e)
{
	int r = 0;
	bool v2 = is_v2(group, CGROUP_MEMORY);
	bool has_limit = limits->memory_bytes || limits->swap_bytes;
	if (has_limit && !group->dirs[CGROUP_MEMORY])
		return set_text(group, CGROUP_MEMORY, "", "", e);
	if (has_limit && !v2)
		r = set_memsw_v1(group, limits->memory_bytes, limits->swap_bytes, e);
	if (r == 0 && !v2 && limits->swap_bytes == CGROUP_NO_SWAP)
		r = set_number(group, CGROUP_MEMORY, "memory.swappiness", 0, e);
	if (r == 0 && v2 && limits->memory_bytes)
		r = set_number(group, CGROUP_MEMORY, "memory.max", limits->memory_bytes, e);
	if (r == 0 && v2 && limits->swap_bytes) {
		uint64_t swap = limits->swap_bytes == CGROUP_NO_SWAP ? 0 : limits->swap_bytes;
		r = set_number(group, CGROUP_MEMORY, "memory.swap.max", swap, e);
		/* Without swap in the kernel there is no file, and no swap to forbid. */
		if (r == -ENOENT && limits->swap_bytes == CGROUP_NO_SWAP)
			r = 0;
	}
	if (r == 0 && limits->memory_low_bytes)
		r = set_number(group, CGROUP_MEMORY,
			v2 ? "memory.low" : "memory.soft_limit_in_bytes", limits->memory_low_bytes,
			e);
	return r;
}

static int set_io_v1(struct cgroup *group, const struct cgroup_io_limit *io, struct error *e)
{
	const struct {
		const char *file;
		uint64_t value;
	} parts[] = {
		{ "blkio.throttle.read_bps_device", io->read_bytes },
		{ "blkio.throttle.write_bps_device", io->write_bytes },
		{ "blkio.throttle.read_iops_device", io->read_operations },
		{ "blkio.throttle.write_iops_device", io->write_operations },
	};
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (parts[i].value == CGROUP_KEEP)
			continue;
		char text[64];
		snprintf(text, sizeof(text), "%u:%u %" PRIu64, io->major, io->minor,
			parts[i].value == CGROUP_NO_LIMIT ? 0 : parts[i].value);
		int r = set_text(group, CGROUP_IO, parts[i].file, text, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int set_io_v2(struct cgroup *group, const struct cgroup_io_limit *io, struct error *e)
{
	const struct {
		const char *key;
		uint64_t value;
	} parts[] = {
		{ "rbps", io->read_bytes },
		{ "wbps", io->write_bytes },
		{ "riops", io->read_operations },
		{ "wiops", io->write_operations },
	};
	cleanup(text_done) struct text text = {};
	text_printf(&text, "%u:%u", io->major, io->minor);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (parts[i].value == CGROUP_NO_LIMIT)
			text_printf(&text, " %s=max", parts[i].key);
		else if (parts[i].value != CGROUP_KEEP)
			text_printf(&text, " %s=%" PRIu64, parts[i].key, parts[i].value);
	}
	return set_text(group, CGROUP_IO, "io.max", text_str(&text), e);
}

static int set_io(struct cgroup *group, const struct cgroup_limits *limits, struct error *e)
{
	int r = 0;
	bool v2 = is_v2(group, CGROUP_IO);
	if (limits->io_weight) {
		r = set_number(group, CGROUP_IO, v2 ? "io.weight" : "blkio.weight",
			limits->io_weight, NULL);
		/* Which of the two there is depends on the disk scheduler. */
		if (r == -ENOENT)
			r = set_number(group, CGROUP_IO, v2 ? "io.bfq.weight" : "blkio.bfq.weight",
				limits->io_weight > 1000 ? 1000 : limits->io_weight, NULL);
		if (r == -ENOENT || r == -EOPNOTSUPP)
			return error_set(e, -EOPNOTSUPP,
				"io weight: no disk scheduler of this host weighs groups");
		if (r < 0)
			return error_code(e, r, "io weight");
	}
	for (size_t i = 0; i < limits->io_count && r == 0; i++)
		r = v2 ? set_io_v2(group, &limits->io[i], e) : set_io_v1(group, &limits->io[i], e);
	return r;
}

uint32_t cgroup_limits_need(const struct cgroup_limits *limits)
{
	uint32_t need = 0;
	if (limits->cpu_milli || limits->cpu_weight)
		need |= CGROUP_BIT(CGROUP_CPU);
	if (limits->cpuset)
		need |= CGROUP_BIT(CGROUP_CPUSET);
	if (limits->memory_bytes || limits->memory_low_bytes || limits->swap_bytes)
		need |= CGROUP_BIT(CGROUP_MEMORY);
	if (limits->processes)
		need |= CGROUP_BIT(CGROUP_PIDS);
	if (limits->io_weight || limits->io_count)
		need |= CGROUP_BIT(CGROUP_IO);
	return need;
}

int cgroup_limits_set(struct cgroup *group, const struct cgroup_limits *limits, struct error *e)
{
	int r = 0;
	if (limits->cpu_milli)
		r = set_cpu_quota(group, limits, e);
	if (r == 0 && limits->cpu_weight)
		r = set_cpu_weight(group, limits->cpu_weight, e);
	if (r == 0 && limits->cpuset)
		r = set_cpuset(group, limits->cpuset, e);
	if (r == 0)
		r = set_memory(group, limits, e);
	if (r == 0 && limits->processes)
		r = set_number(group, CGROUP_PIDS, "pids.max", limits->processes, e);
	if (r == 0)
		r = set_io(group, limits, e);
	return r;
}
