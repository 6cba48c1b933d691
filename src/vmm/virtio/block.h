/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block.h - the virtio disk: requests from queues to a disk back end.
 */
#pragma once

#include "disk/disk.h"
#include "vmm/virtio/device.h"

struct block_options {
	const char *id; /* at most 20 characters: what the guest sees as the serial number */
	uint16_t queues;
	uint64_t bytes_per_second; /* 0: no limit */
	uint64_t operations_per_second;

	/* The disk's volume is full (true): a write waits, and is tried again each second, until (false)
	 * there is room. The bus lock is held. */
	void (*stalled)(void *data, bool is_stalled);
	void *data;
};

/* Takes the disk on success. */
int block_new(struct guest *guest, struct loop *loop, struct bus *bus, struct disk *disk,
	const struct block_options *options, struct virtio_device **ret, struct error *e) must_use;

/* Other limits from now on; 0: none. The bus lock is held. */
void block_set_rates(
	struct virtio_device *device, uint64_t bytes_per_second, uint64_t operations_per_second);

/* The disk has grown or shrunk to `bytes`; the guest is told. The bus lock is held. */
void block_resize(struct virtio_device *device, uint64_t bytes);
