/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.c - partitions as /sys/block shows them; the first that looks like a root.
 */
#include "agent/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"

#define PARTITIONS_MAX 16
#define PATH_BYTES     96
/* Of the kernel's private header of ext4, and of linux/fs.h, which musl lacks. */
#define EXT4_RESIZE  _IOW('f', 16, uint64_t)
#define DEVICE_BYTES _IOR(0x12, 114, size_t)

struct candidate {
	char path[PATH_BYTES];
	uint64_t sectors;
};

static int compare(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;
	return left->sectors == right->sectors ? 0 : left->sectors > right->sectors ? -1 : 1;
}

static uint64_t sectors_of(const char *name, const char *partition)
{
	char path[200], line[32];
	uint64_t sectors = 0;
	snprintf(path, sizeof(path), "/sys/block/%.30s/%.60s/size", name, partition);
	if (file_read_line(AT_FDCWD, path, line, sizeof(line)) <= 0 ||
		text_to_u64(line, &sectors) < 0)
		return 0;
	return sectors;
}

/* The device itself, then its partitions, the largest first. */
static size_t list(const char *device, struct candidate *ret)
{
	const char *name = strrchr(device, '/') + 1;
	char path[PATH_BYTES];
	size_t count = 0;
	snprintf(ret[count++].path, PATH_BYTES, "%.60s", device);
	snprintf(path, sizeof(path), "/sys/block/%.60s", name);
	DIR *dir = opendir(path);
	if (!dir)
		return count;
	for (const struct dirent *entry; count < PARTITIONS_MAX && (entry = readdir(dir));) {
		if (!text_starts(entry->d_name, name))
			continue;
		ret[count].sectors = sectors_of(name, entry->d_name);
		snprintf(ret[count++].path, PATH_BYTES, "/dev/%.60s", entry->d_name);
	}
	closedir(dir);
	qsort(ret + 1, count - 1, sizeof(*ret), compare);
	return count;
}

static int try_mount(const char *device, const char *target)
{
	static const char *const types[] = { "ext4", "xfs", "btrfs" };
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (mount(device, target, types[i], MS_NOATIME, NULL) == 0)
			return 0;
	return -errno;
}

static bool has_init(const char *root)
{
	static const char *const inits[] = { "sbin/init", "usr/lib/systemd/systemd", "init" };
	char path[PATH_BYTES];
	for (size_t i = 0; i < ARRAY_SIZE(inits); i++) {
		snprintf(path, sizeof(path), "%s/%s", root, inits[i]);
		/* A link may lead to where it is only after the root is entered. */
		if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return true;
	}
	return false;
}

int disk_mount_root(const char *device, const char *target, struct error *e)
{
	static struct candidate found[PARTITIONS_MAX];
	size_t count = list(device, found);
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < count; i++) {
			if (try_mount(found[i].path, target) < 0)
				continue;
			if (pass == 1 || has_init(target)) {
				disk_grow(found[i].path, target);
				return 0;
			}
			umount(target);
		}
	}
	return error_set(e, -ENODEV, "%s: no file system that can be mounted", device);
}

void disk_grow(const char *device, const char *path)
{
	struct statfs now;
	size_t bytes = 0;
	cleanup(close) int disk = open(device, O_RDONLY | O_CLOEXEC);
	cleanup(close) int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (disk < 0 || root < 0 || ioctl(disk, DEVICE_BYTES, &bytes) < 0 ||
		fstatfs(root, &now) < 0 || now.f_bsize <= 0)
		return;
	uint64_t blocks = bytes / (uint64_t)now.f_bsize;
	/* What is as large already, or no ext4, says so. */
	(void)ioctl(root, EXT4_RESIZE, &blocks);
}
