/* SPDX-License-Identifier: Apache-2.0 */
/*
 * balloon.h - the virtio balloon: memory the guest gives up or reports free goes back to the host.
 */
#pragma once

#include "vmm/virtio/device.h"

#define BALLOON_UNKNOWN UINT64_MAX

struct balloon_stats {
	uint64_t held_bytes; /* in the balloon */
	uint64_t free_bytes, total_bytes,
		available_bytes; /* as the guest says, or BALLOON_UNKNOWN */
	uint64_t reported_bytes; /* given back by free-page reports, in all */
};

struct virtio_device *balloon_new(struct guest *guest, struct loop *loop, struct bus *bus);

/* All under the bus lock. The guest shall give up `bytes`; it may take its time. */
void balloon_set(struct virtio_device *device, uint64_t bytes);
/* What is known; asks the guest for new numbers, which the next call has. */
struct balloon_stats balloon_stats(struct virtio_device *device);
