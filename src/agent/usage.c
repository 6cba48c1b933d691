/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage.c - /proc, sysinfo and statvfs.
 */
#include "agent/usage.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "base/base.h"
#include "base/file.h"

static uint64_t available(void)
{
	char line[4096];
	ssize_t n = file_read_line(AT_FDCWD, "/proc/meminfo", line, sizeof(line));
	const char *at = n > 0 ? strstr(line, "MemAvailable:") : NULL;
	return at ? strtoull(at + strlen("MemAvailable:"), NULL, 10) * KIB : 0;
}

/* User, nice and system time of all CPUs. */
static uint64_t cpu_ns(void)
{
	char line[4096];
	unsigned long long user = 0, nice = 0, system = 0;
	if (file_read_line(AT_FDCWD, "/proc/stat", line, sizeof(line)) <= 0 ||
		strncmp(line, "cpu ", 4) != 0)
		return 0;
	char *at = line + 4;
	user = strtoull(at, &at, 10);
	nice = strtoull(at, &at, 10);
	system = strtoull(at, &at, 10);
	return (user + nice + system) * (NS_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK));
}

struct agent_usage usage_now(void)
{
	struct sysinfo info = {};
	struct statvfs root = {};
	struct timespec up = {};
	sysinfo(&info);
	statvfs("/", &root);
	clock_gettime(CLOCK_BOOTTIME, &up);
	return (struct agent_usage){
		.memory_total = (uint64_t)info.totalram * info.mem_unit,
		.memory_available = available(),
		.cpu_ns = cpu_ns(),
		.disk_total = (uint64_t)root.f_blocks * root.f_frsize,
		.disk_free = (uint64_t)root.f_bavail * root.f_frsize,
		.processes = info.procs,
		.cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN),
		.up_ns = (uint64_t)up.tv_sec * NS_PER_SEC + (uint64_t)up.tv_nsec,
	};
}
