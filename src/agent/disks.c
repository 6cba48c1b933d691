/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disks.c - which disks there are, and which is meant.
 */
#include "agent/disks.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* What has no hardware of its own, or changes hands. */
static const char *const passed_over[] = { "loop", "ram", "zram", "sr", "fd", "dm-", "md", "nbd" };

/* Without the blanks that hardware pads its names with. */
static void read_word(const char *name, const char *file, char *to, size_t size)
{
	char path[128], line[256];
	snprintf(path, sizeof(path), "/sys/block/%.31s/%s", name, file);
	to[0] = '\0';
	if (file_read_line(AT_FDCWD, path, line, sizeof(line)) <= 0)
		return;
	const char *start = line + strspn(line, " ");
	size_t length = strlen(start);
	while (length > 0 && isspace((unsigned char)start[length - 1]))
		length--;
	snprintf(to, size, "%.*s", (int)length, start);
}

static uint64_t read_number(const char *name, const char *file)
{
	char path[128];
	uint64_t value = 0;
	snprintf(path, sizeof(path), "/sys/block/%.31s/%s", name, file);
	return file_read_u64(AT_FDCWD, path, &value) < 0 ? 0 : value;
}

static bool is_disk(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(passed_over); i++)
		if (text_starts(name, passed_over[i]))
			return false;
	return name[0] != '.' && strlen(name) < sizeof(((struct disk_fact *)0)->name) &&
		!(text_starts(name, "mmcblk") && strstr(name, "boot"));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct disk_fact *)a)->name, ((const struct disk_fact *)b)->name);
}

size_t disks_find(struct disk_fact disks[DISKS_MAX])
{
	DIR *dir = opendir("/sys/block");
	size_t count = 0;
	for (const struct dirent *entry; dir && count < DISKS_MAX && (entry = readdir(dir));) {
		struct disk_fact disk = {};
		if (!is_disk(entry->d_name))
			continue;
		snprintf(disk.name, sizeof(disk.name), "%.31s", entry->d_name);
		disk.bytes = read_number(disk.name, "size") * 512;
		if (disk.bytes == 0 || read_number(disk.name, "ro"))
			continue;
		disk.is_rotational = read_number(disk.name, "queue/rotational");
		disk.is_removable = read_number(disk.name, "removable");
		disk.is_nvme = text_starts(disk.name, "nvme");
		read_word(disk.name, "device/model", disk.model, sizeof(disk.model));
		read_word(disk.name, "device/serial", disk.serial, sizeof(disk.serial));
		if (!disk.serial[0])
			read_word(disk.name, "serial", disk.serial, sizeof(disk.serial));
		if (!disk.serial[0])
			read_word(disk.name, "device/wwid", disk.serial, sizeof(disk.serial));
		disks[count++] = disk;
	}
	if (dir)
		closedir(dir);
	qsort(disks, count, sizeof(disks[0]), by_name);
	return count;
}

int disks_choose(const struct disk_fact *disks, size_t count, const char *wanted, uint64_t bytes,
	const struct disk_fact **ret, struct error *e)
{
	const struct disk_fact *best = NULL;
	bool is_named = wanted && wanted[0];
	for (size_t i = 0; i < count; i++) {
		const struct disk_fact *disk = &disks[i];
		if (is_named &&
			(text_equal(disk->name, wanted) || text_equal(disk->serial, wanted)))
			best = disk;
		if (!is_named && !disk->is_removable && disk->bytes >= bytes &&
			(!best || disk->bytes < best->bytes))
			best = disk;
	}
	if (!best && is_named)
		return error_set(e, -ENOENT, "there is no disk %.60s", wanted);
	if (!best)
		return error_set(e, -ENOENT, "none of the %zu disks holds the image", count);
	if (best->bytes < bytes)
		return error_set(e, -ENOSPC, "the disk %s is smaller than the image", best->name);
	*ret = best;
	return 0;
}
