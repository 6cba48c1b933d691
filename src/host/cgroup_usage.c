/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup_usage.c - reads counters, and waits for the out-of-memory killer.
 */
#include "host/cgroup_usage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/file.h"
#include "base/text.h"

enum meter { METER_CPU, METER_MEMORY, METER_PIDS };

/* Opens the file the first time; reads it from its start. The length, 0 if there is no such file. */
static ssize_t read_meter(
	struct cgroup *group, enum meter meter, const char *dir, const char *file, char text[512])
{
	int *fd = &group->meter[meter];
	if (*fd < 0 && dir) {
		cleanup(free) char *path = alloc_printf("%s/%s", dir, file);
		*fd = open(path, O_RDONLY | O_CLOEXEC);
		if (*fd < 0)
			return errno == ENOENT ? 0 : -errno;
	}
	if (*fd < 0)
		return 0;
	ssize_t length = pread(*fd, text, 511, 0);
	if (length < 0)
		return errno == ENODEV ? 0 : -errno; /* the group was removed */
	text[length] = '\0';
	return length;
}

/* The number behind the line's key, or of the whole text if `key` is "". */
static uint64_t number_at(const char *text, const char *key)
{
	size_t length = strlen(key);
	for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		if (strncmp(at, key, length) != 0 || (length && at[length] != ' '))
			continue;
		return strtoull(at + length, NULL, 10);
	}
	return 0;
}

static uint64_t number_in(const char *dir, const char *file, const char *key)
{
	if (!dir)
		return 0;
	cleanup(free) char *path = alloc_printf("%s/%s", dir, file);
	cleanup(free) char *text = NULL;
	if (file_read(AT_FDCWD, path, 64 * KIB, &text, NULL, NULL) < 0)
		return 0;
	return number_at(text, key);
}

static int usage_cpu(struct cgroup *group, struct cgroup_usage *usage)
{
	char text[512] = "";
	const char *v1 = group->dirs[CGROUP_CPUACCT];
	const char *v2 = group->dirs[CGROUP_UNIFIED];
	ssize_t length = v1 ? read_meter(group, METER_CPU, v1, "cpuacct.usage", text)
			    : read_meter(group, METER_CPU, v2, "cpu.stat", text);
	if (length < 0)
		return (int)length;
	usage->cpu_ns = v1 ? number_at(text, "") : number_at(text, "usage_usec") * 1000;
	return 0;
}

static int usage_counts(struct cgroup *group, struct cgroup_usage *usage)
{
	char text[512] = "";
	bool is_v2 = group->in_v2 & CGROUP_BIT(CGROUP_MEMORY);
	ssize_t length = read_meter(group, METER_MEMORY, group->dirs[CGROUP_MEMORY],
		is_v2 ? "memory.current" : "memory.usage_in_bytes", text);
	if (length < 0)
		return (int)length;
	usage->memory_bytes = length ? number_at(text, "") : 0;
	length = read_meter(group, METER_PIDS, group->dirs[CGROUP_PIDS], "pids.current", text);
	if (length < 0)
		return (int)length;
	usage->processes = length ? number_at(text, "") : 0;
	return 0;
}

static void usage_full(const struct cgroup *group, struct cgroup_usage *usage)
{
	const char *dir = group->dirs[CGROUP_MEMORY];
	if (!dir)
		return;
	if (group->in_v2 & CGROUP_BIT(CGROUP_MEMORY)) {
		usage->memory_peak_bytes = number_in(dir, "memory.peak", "");
		usage->swap_bytes = number_in(dir, "memory.swap.current", "");
		usage->oom_kills = number_in(dir, "memory.events", "oom_kill");
		return;
	}
	usage->memory_peak_bytes = number_in(dir, "memory.max_usage_in_bytes", "");
	uint64_t both = number_in(dir, "memory.memsw.usage_in_bytes", "");
	usage->swap_bytes = both > usage->memory_bytes ? both - usage->memory_bytes : 0;
	usage->oom_kills = number_in(dir, "memory.oom_control", "oom_kill");
}

int cgroup_usage(struct cgroup *group, bool is_full, struct cgroup_usage *ret, struct error *e)
{
	struct cgroup_usage usage = {};
	int r = usage_cpu(group, &usage);
	if (r == 0)
		r = usage_counts(group, &usage);
	if (r < 0)
		return error_code(e, r, "read the usage of the cgroup %s", group->list[0]);
	if (is_full)
		usage_full(group, &usage);
	*ret = usage;
	return 0;
}

void cgroup_usage_forget(struct cgroup *group)
{
	for (size_t i = 0; i < ARRAY_SIZE(group->meter); i++) {
		if (group->meter[i] >= 0)
			close(group->meter[i]);
		group->meter[i] = -1;
	}
}

static int watch_v1(const char *dir)
{
	cleanup(free) char *control = alloc_printf("%s/memory.oom_control", dir);
	cleanup(free) char *register_at = alloc_printf("%s/cgroup.event_control", dir);
	cleanup(close) int watched = open(control, O_RDONLY | O_CLOEXEC);
	if (watched < 0)
		return -errno;
	cleanup(close) int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event < 0)
		return -errno;
	int r = file_write_value_f(AT_FDCWD, register_at, "%d %d", event, watched);
	return r < 0 ? r : TAKE_FD(event);
}

int cgroup_oom_watch(
	const char *memory_dir, bool is_v2, int *ret, uint32_t *ret_events, struct error *e)
{
	if (!memory_dir)
		return error_set(e, -EOPNOTSUPP, "the group has no memory controller");
	int fd;
	if (is_v2) {
		cleanup(free) char *path = alloc_printf("%s/memory.events", memory_dir);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		fd = fd < 0 ? -errno : fd;
	} else {
		fd = watch_v1(memory_dir);
	}
	if (fd < 0)
		return error_code(e, fd, "watch the memory of the cgroup %s", memory_dir);
	*ret = fd;
	*ret_events = is_v2 ? EPOLLPRI : EPOLLIN;
	return 0;
}

int64_t cgroup_oom_kills(int watch, const char *memory_dir, bool is_v2)
{
	char text[512];
	if (is_v2) {
		ssize_t length = pread(watch, text, sizeof(text) - 1, 0);
		if (length < 0)
			return -errno;
		text[length] = '\0';
		return (int64_t)number_at(text, "oom_kill");
	}
	uint64_t count;
	(void)!read(watch, &count, sizeof(count));
	cleanup(free) char *path = alloc_printf("%s/memory.oom_control", memory_dir);
	cleanup(free) char *control = NULL;
	int r = file_read(AT_FDCWD, path, 4096, &control, NULL, NULL);
	return r < 0 ? r : (int64_t)number_at(control, "oom_kill");
}
