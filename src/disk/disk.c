/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.c - what holds for every back end: nothing outside of the disk reaches a driver.
 */
#include "disk/disk.h"

#include <errno.h>

int disk_submit(struct disk *disk, struct disk_request *request)
{
	if (request->operation != DISK_FLUSH) {
		if (request->offset % DISK_SECTOR || request->bytes % DISK_SECTOR ||
			request->offset > disk->size_bytes ||
			request->bytes > disk->size_bytes - request->offset)
			return -EINVAL;
		if (disk->read_only && request->operation != DISK_READ)
			return -EROFS;
	}
	disk->pending++;
	disk->driver->submit(disk, request);
	return 0;
}

void disk_start(struct disk *disk)
{
	disk->driver->start(disk);
}

void disk_complete(struct disk *disk)
{
	disk->driver->complete(disk);
}

void disk_drain(struct disk *disk)
{
	disk->driver->drain(disk);
}

void disk_close(struct disk *disk)
{
	if (disk)
		disk->driver->close(disk);
}
