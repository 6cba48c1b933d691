/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loopdev.c - loop devices through /dev/loop-control.
 */
#include "host/loopdev.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/text.h"

#define LOOP_MAJOR_NUMBER 7
#define ATTACH_TRIES      64

static int open_number(unsigned number, int flags, struct loopdev *ret)
{
	struct loopdev device = { .fd = -1 };
	snprintf(device.path, sizeof(device.path), "/dev/loop%u", number);
	device.fd = open(device.path, flags | O_CLOEXEC);
	/* A /dev that is no devtmpfs gets no node for a device that the kernel just made. */
	if (device.fd < 0 && errno == ENOENT &&
		mknod(device.path, S_IFBLK | 0600, makedev(LOOP_MAJOR_NUMBER, number)) == 0)
		device.fd = open(device.path, flags | O_CLOEXEC);
	if (device.fd < 0)
		return -errno;
	*ret = device;
	return 0;
}

static bool is_backed_by(int device, const struct stat *file)
{
	struct loop_info64 info;
	return ioctl(device, LOOP_GET_STATUS64, &info) == 0 && info.lo_device == file->st_dev &&
		info.lo_inode == file->st_ino;
}

/* Only devices with a file have the directory `loop` in sysfs; a look there opens no device. */
static bool has_file(const char *name)
{
	char path[300];
	snprintf(path, sizeof(path), "/sys/block/%s/loop", name);
	return access(path, F_OK) == 0;
}

int loopdev_find(int file, struct loopdev *ret)
{
	struct stat status;
	if (fstat(file, &status) < 0)
		return -errno;
	DIR *blocks = opendir("/sys/block");
	if (!blocks)
		return -errno;
	int result = -ENOENT;
	for (struct dirent *entry; result < 0 && (entry = readdir(blocks));) {
		uint64_t number;
		if (!text_starts(entry->d_name, "loop") ||
			text_to_u64(entry->d_name + 4, &number) < 0 || !has_file(entry->d_name))
			continue;
		struct loopdev device;
		/* Writable first: whoever finds it may want to grow it. */
		if (open_number((unsigned)number, O_RDWR, &device) < 0 &&
			open_number((unsigned)number, O_RDONLY, &device) < 0)
			continue;
		if (is_backed_by(device.fd, &status)) {
			*ret = device;
			result = 0;
		} else {
			close(device.fd);
		}
	}
	closedir(blocks);
	return result;
}

int loopdev_attach(int file, const char *name, bool is_read_only, bool is_fresh,
	struct loopdev *ret, struct error *e)
{
	if (!is_fresh && loopdev_find(file, ret) == 0)
		return 0;
	cleanup(close) int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return error_errno(e, "open /dev/loop-control");

	for (int i = 0; i < ATTACH_TRIES; i++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);
		if (number < 0)
			return error_errno(e, "find a free loop device");
		cleanup(loopdev_close) struct loopdev device = { .fd = -1 };
		int r = open_number((unsigned)number, is_read_only ? O_RDONLY : O_RDWR, &device);
		if (r < 0)
			return error_code(e, r, "open /dev/loop%d", number);
		struct loop_config config = {
			.fd = (uint32_t)file,
			.info.lo_flags = LO_FLAGS_AUTOCLEAR |
				(is_read_only ? (uint32_t)LO_FLAGS_READ_ONLY : 0),
		};
		snprintf((char *)config.info.lo_file_name, LO_NAME_SIZE, "%s", name);
		if (ioctl(device.fd, LOOP_CONFIGURE, &config) == 0) {
			*ret = device;
			device.fd = -1;
			return 0;
		}
		/* Somebody else took the number between the two calls. */
		if (errno != EBUSY)
			return error_errno(e, "attach %s to %s", name, device.path);
	}
	return error_set(e, -EBUSY, "%s: no loop device could be had", name);
}

int loopdev_refresh(const struct loopdev *device, struct error *e)
{
	if (ioctl(device->fd, LOOP_SET_CAPACITY, 0) < 0)
		return error_errno(e, "resize %s", device->path);
	return 0;
}
