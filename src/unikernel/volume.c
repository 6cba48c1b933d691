/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume.c - the storage that was asked for, as the block device /dev/vda: its bytes.
 */
#include "unikernel/volume.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "unikernel/file.h"
#include "unikernel/kept.h"
#include "unikernel/node.h"
#include "unikernel/path.h"

#define SECTOR 512u

static uint64_t volume_bytes;

/* How much of a transfer is inside. */
static uint64_t inside(uint64_t position, uint64_t size)
{
	uint64_t left = position < volume_bytes ? volume_bytes - position : 0;
	return size < left ? size : left;
}

static int64_t volume_read(struct file *file, void *to, uint64_t size, uint64_t *position)
{
	(void)file;
	uint64_t count = inside(*position, size);
	int64_t got = count ? platform_volume_read(*position, to, count) : 0;
	*position += got > 0 ? (uint64_t)got : 0;
	return got;
}

static int64_t volume_write(struct file *file, const void *from, uint64_t size, uint64_t *position)
{
	(void)file;
	uint64_t count = inside(*position, size);
	if (kept_is_there())
		return -EBUSY; /* the file system on it is in use */
	if (size && !count)
		return -ENOSPC;
	int64_t put = count ? platform_volume_write(*position, from, count) : 0;
	*position += put > 0 ? (uint64_t)put : 0;
	return put;
}

static int64_t volume_seek(struct file *file, int64_t offset, int whence)
{
	int64_t base = whence == SEEK_CUR ? (int64_t)file->position
		: whence == SEEK_END      ? (int64_t)volume_bytes
					  : 0;
	if (whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END)
		return -EINVAL;
	if (__builtin_add_overflow(base, offset, &base) || base < 0)
		return -EINVAL;
	file->position = (uint64_t)base;
	return base;
}

static int64_t volume_stat(struct file *file, struct stat *ret)
{
	node_stat(file->node, ret);
	return 0;
}

static int64_t volume_ioctl(struct file *file, uint64_t request, uint64_t argument)
{
	(void)file;
	switch (request) {
	case BLKGETSIZE64:
		memcpy(at(argument), &volume_bytes, sizeof(volume_bytes));
		return 0;
	case BLKSSZGET: {
		const int sector = SECTOR;
		memcpy(at(argument), &sector, sizeof(sector));
		return 0;
	}
	case BLKFLSBUF:
		return platform_volume_flush();
	default:
		return -ENOTTY;
	}
}

static const struct file_operations volume_operations = {
	.read = volume_read,
	.write = volume_write,
	.seek = volume_seek,
	.stat = volume_stat,
	.ioctl = volume_ioctl,
	.poll = file_poll_always,
	.close = file_close_nothing,
};

static int64_t open_volume(struct node *node, uint32_t flags, struct file **ret)
{
	struct file *file = file_new(&volume_operations, flags, "/dev/vda");
	if (!file)
		return -ENOMEM;
	file->node = node;
	node_hold(node);
	*ret = file;
	return 0;
}

int volume_init(const struct boot *boot)
{
	struct place place;
	struct node *node;
	volume_bytes = boot->volume_bytes;
	if (!volume_bytes)
		return 0;
	int r = path_walk(path_root, "/dev/vda", false, &place);
	if (r == 0 && place.node)
		node_unlink(place.directory, place.entry);
	if (r == 0)
		r = path_make(&place, S_IFBLK | 0600, &node);
	if (r < 0)
		return r;
	node->rdev = makedev(253, 0);
	node->open = open_volume;
	return 0;
}
