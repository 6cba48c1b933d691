/* SPDX-License-Identifier: Apache-2.0 */
/*
 * container.c - the parts of a container that are the same whoever asked for it.
 */
#include "container/container.h"

#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "base/text.h"

#define NO_DEV_SUID (MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID)
#define NO_ALL      (NO_DEV_SUID | MOUNT_ATTR_NOEXEC)

const char *const container_masked[] = {
	"/proc/acpi",
	"/proc/asound",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/sched_debug",
	"/proc/scsi",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/sys/devices/virtual/powercap",
	"/sys/firmware",
	NULL,
};

const char *const container_readonly[] = {
	"/proc/bus",
	"/proc/fs",
	"/proc/irq",
	"/proc/sys",
	"/proc/sysrq-trigger",
	NULL,
};

static const struct container_mount usual_mounts[] = {
	{ .kind = MOUNT_NEW, .fs = "proc", .source = "proc", .target = "/proc", .set = NO_ALL },
	{ .kind = MOUNT_DEV,
		.source = "tmpfs",
		.target = "/dev",
		.options = "mode=0755,size=4m,nr_inodes=8192",
		.set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME },
	{ .kind = MOUNT_NEW,
		.fs = "devpts",
		.source = "devpts",
		.target = "/dev/pts",
		.options = "newinstance,ptmxmode=0666,mode=0620,gid=5",
		.set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC },
	{ .kind = MOUNT_NEW,
		.fs = "tmpfs",
		.source = "tmpfs",
		.target = "/dev/shm",
		.options = "mode=1777",
		.set = NO_ALL },
	{ .kind = MOUNT_NEW,
		.fs = "mqueue",
		.source = "mqueue",
		.target = "/dev/mqueue",
		.set = NO_ALL },
	{ .kind = MOUNT_NEW,
		.fs = "sysfs",
		.source = "sysfs",
		.target = "/sys",
		.set = NO_ALL | MOUNT_ATTR_RDONLY },
	{ .kind = MOUNT_CGROUP,
		.source = "cgroup",
		.target = "/sys/fs/cgroup",
		.set = NO_ALL | MOUNT_ATTR_RDONLY },
};

void *container_add(void *items, size_t *count, size_t size)
{
	items = alloc_resize(items, *count + 1, size);
	memset((char *)items + *count * size, 0, size);
	++*count;
	return items;
}

void container_add_usual_mounts(struct container *container)
{
	for (size_t i = 0; i < ARRAY_SIZE(usual_mounts); i++) {
		struct container_mount *mount =
			CONTAINER_ADD(container->mounts, container->mount_count);
		*mount = usual_mounts[i];
		mount->fd = -1;
		if (mount->kind == MOUNT_CGROUP && container->has_delegate)
			mount->set &= ~(uint64_t)MOUNT_ATTR_RDONLY;
	}
}

void container_free(struct container *container)
{
	if (!container)
		return;
	for (size_t i = 0; i < container->mount_count; i++)
		if (container->mounts[i].fd >= 0)
			close(container->mounts[i].fd);
	free(container->joins);
	free(container->uids);
	free(container->gids);
	free(container->root.layers);
	free(container->process.args);
	free(container->process.env);
	free(container->process.limits);
	free(container->mounts);
	free(container->devices);
	free(container->files);
	free(container->nics);
	free(container->cgroups);
	free(container->masked);
	free(container->readonly);
	json_decref(container->document);
	free(container);
}

uint32_t container_host_id(const struct id_range *ranges, size_t count, uint32_t inside)
{
	if (count == 0)
		return inside;
	for (size_t i = 0; i < count; i++)
		if (inside >= ranges[i].inside && inside - ranges[i].inside < ranges[i].count)
			return ranges[i].outside + (inside - ranges[i].inside);
	return UINT32_MAX;
}

int container_limit_number(const char *name)
{
	static const struct {
		const char *name;
		int resource;
	} limits[] = {
		{ "as", RLIMIT_AS },
		{ "core", RLIMIT_CORE },
		{ "cpu", RLIMIT_CPU },
		{ "data", RLIMIT_DATA },
		{ "fsize", RLIMIT_FSIZE },
		{ "locks", RLIMIT_LOCKS },
		{ "memlock", RLIMIT_MEMLOCK },
		{ "msgqueue", RLIMIT_MSGQUEUE },
		{ "nice", RLIMIT_NICE },
		{ "nofile", RLIMIT_NOFILE },
		{ "nproc", RLIMIT_NPROC },
		{ "rss", RLIMIT_RSS },
		{ "rtprio", RLIMIT_RTPRIO },
		{ "rttime", RLIMIT_RTTIME },
		{ "sigpending", RLIMIT_SIGPENDING },
		{ "stack", RLIMIT_STACK },
	};
	if (text_starts(name, "RLIMIT_"))
		name += strlen("RLIMIT_");
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (strcasecmp(name, limits[i].name) == 0)
			return limits[i].resource;
	return -1;
}

int container_signal_number(const char *name)
{
	uint64_t number;
	if (text_to_u64(name, &number) == 0)
		return number >= 1 && number < NSIG ? (int)number : -1;
	if (strncasecmp(name, "SIG", 3) == 0)
		name += 3;
	bool is_min = strncasecmp(name, "RTMIN", 5) == 0;
	if (is_min || strncasecmp(name, "RTMAX", 5) == 0) {
		uint64_t offset = 0;
		const char *at = name + 5;
		if (*at &&
			(*at != (is_min ? '+' : '-') || text_to_u64(at + 1, &offset) < 0 ||
				offset > 30))
			return -1;
		return is_min ? SIGRTMIN + (int)offset : SIGRTMAX - (int)offset;
	}
	for (int signal = 1; signal < 32; signal++) {
		const char *abbreviation = sigabbrev_np(signal);
		if (abbreviation && strcasecmp(name, abbreviation) == 0)
			return signal;
	}
	return -1;
}
