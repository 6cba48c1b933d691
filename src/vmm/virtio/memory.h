/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.h - virtio's memory device: a range of guest memory of which the guest takes as much as it is offered.
 *
 * The range is part of the guest's memory from the start and costs nothing where nothing is plugged. What the
 * guest touches without having plugged it is bounded by the monitor's memory limit alone.
 */
#pragma once

#include "vmm/virtio/device.h"

#define MEMORY_BLOCK (4 * MIB) /* what is plugged and unplugged; Linux takes no less */

/* `at` and `bytes` are a region of `guest`, whole blocks. */
struct virtio_device *memory_new(
	struct guest *guest, struct loop *loop, struct bus *bus, guest_addr at, uint64_t bytes);

/* Both under the bus lock. The guest shall have so much of it, in whole blocks; it may take its time. */
void memory_want(struct virtio_device *device, uint64_t bytes);
uint64_t memory_plugged(const struct virtio_device *device);
