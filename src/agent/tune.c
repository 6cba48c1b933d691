/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune.c - CPUs by sysfs, the clock by the kernel.
 */
#include "agent/tune.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

#define CPUS_MAX 64

/* 1 if the file takes the byte, 0 if there is none: the first CPU is never off. */
static int set_online(int32_t cpu, bool is_wanted)
{
	char path[64];
	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	cleanup(close) int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return write(fd, is_wanted ? "1" : "0", 1) == 1 ? 1 : -errno;
}

int tune_cpus(int32_t count, struct error *e)
{
	int32_t there = 1;
	if (count < 1 || count > CPUS_MAX)
		return error_set(e, -EINVAL, "%d CPUs", count);
	for (int32_t cpu = 1; cpu < CPUS_MAX; cpu++) {
		int r = set_online(cpu, cpu < count);
		if (r < 0)
			return error_code(e, r, "switch CPU %d", cpu);
		there += r;
	}
	return count > there ? error_set(e, -ENODEV, "there are only %d CPUs", there) : 0;
}

static void write_word(const char *path, const char *word)
{
	cleanup(close) int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)!write(fd, word, strlen(word));
}

/* As movable memory, so that it can go again; a kernel without it has no such files. */
void tune_memory(void)
{
	static const char folder[] = "/sys/devices/system/memory";
	write_word("/sys/devices/system/memory/auto_online_blocks", "online_movable");
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		char path[128], state[32];
		if (snprintf(path, sizeof(path), "%s/%.40s/state", folder, entry->d_name) > 0 &&
			file_read_line(AT_FDCWD, path, state, sizeof(state)) > 0 &&
			strcmp(state, "offline") == 0)
			write_word(path, "online_movable");
	}
	if (dir)
		closedir(dir);
}

int tune_clock(uint64_t since_epoch_ns, struct error *e)
{
	const struct timespec now = { (time_t)(since_epoch_ns / NS_PER_SEC),
		(long)(since_epoch_ns % NS_PER_SEC) };
	return clock_settime(CLOCK_REALTIME, &now) < 0 ? error_errno(e, "set the clock") : 0;
}
