/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block.c - the file of a block volume: made, grown.
 */
#include "disk/block.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define NOTES_BYTES (32 * MIB)
#define NOTES_SHARE 64 /* checksums and extents: a part of what they are of */

uint64_t block_limit(uint64_t size_bytes)
{
	return size_bytes ? size_bytes + size_bytes / NOTES_SHARE + NOTES_BYTES : 0;
}

static uint64_t whole_sectors(uint64_t bytes)
{
	return (bytes + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR;
}

int block_make(int dir, uint64_t size_bytes, struct error *e)
{
	cleanup(close) int fd =
		openat(dir, BLOCK_FILE, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(e, "create %s", BLOCK_FILE);
	if (ftruncate(fd, (off_t)whole_sectors(size_bytes ?: BLOCK_DEFAULT_BYTES)) < 0)
		return error_errno(e, "set the size of %s", BLOCK_FILE);
	return 0;
}

int block_grow_file(int fd, uint64_t size_bytes, struct error *e)
{
	struct stat status;
	size_bytes = whole_sectors(size_bytes);
	if (fstat(fd, &status) < 0)
		return error_errno(e, "stat %s", BLOCK_FILE);
	if (size_bytes == 0 || size_bytes == (uint64_t)status.st_size)
		return 0;
	if (size_bytes < (uint64_t)status.st_size)
		return error_set(e, -EINVAL, "size: a disk only grows; it has %jd bytes now",
			(intmax_t)status.st_size);
	return ftruncate(fd, (off_t)size_bytes) < 0 ? error_errno(e, "grow %s", BLOCK_FILE) : 0;
}

int block_grow(int dir, uint64_t size_bytes, struct error *e)
{
	cleanup(close) int fd = openat(dir, BLOCK_FILE, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? error_errno(e, "open %s", BLOCK_FILE) : block_grow_file(fd, size_bytes, e);
}
