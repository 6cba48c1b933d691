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
	uint64_t answers;        /* how often the guest has said its numbers */
	uint64_t hinted_bytes;   /* given back by hints, in all */
	bool can_hint;
	bool is_hinting; /* it was asked for hints, and has not said that it has no more */
};

struct virtio_device *balloon_new(struct guest *guest, struct loop *loop, struct bus *bus);

/* All under the bus lock. The guest shall give up `bytes`; it may take its time. */
void balloon_set(struct virtio_device *device, uint64_t bytes);
/*
 * Asks the guest for hints: it allocates free memory in large pieces and names each, and all of it goes back to
 * the host. With false it frees the pieces again. A pause ends it, too.
 */
void balloon_hints(struct virtio_device *device, bool on);
/* What is known. */
struct balloon_stats balloon_stats(const struct virtio_device *device);
/* Asks the guest for new numbers; that it answered is seen in `answers`. */
void balloon_ask(struct virtio_device *device);
