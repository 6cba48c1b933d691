/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.h - virtio disks: the image, if the machine has no initial file system, and the volume.
 */
#pragma once

#include "unikernel/machine/virtio.h"

#define DISK_SLOTS 16u

struct disk {
	struct virtio device;
	struct ring ring;
	uint64_t bytes;
	bool is_read_only, has_flush, is_broken;
	uint32_t piece_most; /* bytes of one request */
	uint8_t *page;       /* heads and status of requests, and a page for what is in no piece */

	/* Requests that are on their way. */
	bool is_busy[DISK_SLOTS], wants_kick;
	uint32_t slot_count, busy_count;
	uint64_t failed_at; /* the first byte of those that failed since it was set */
};

/* Makes it work. */
void disk_start(struct disk *disk, const struct virtio *device);

/* `size` or a negative errno; what is read from outside by pieces is the program's memory or ours. */
int64_t disk_read(struct disk *disk, uint64_t offset, void *to, size_t size);
int64_t disk_write(struct disk *disk, uint64_t offset, const void *from, size_t size);
int64_t disk_flush(struct disk *disk);
