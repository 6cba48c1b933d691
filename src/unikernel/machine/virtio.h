/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio.h - a virtio device as a driver sees it, whatever carries its registers, and its split rings.
 *
 * Nothing that a device says is believed: a driver ends the library OS with a sentence by virtio_broke(), or goes on
 * without what was wrong. Nobody waits for a device without an end.
 */
#pragma once

#include "abi/virtio.h"
#include "unikernel/machine/pages.h"

struct virtio;

/* One ring; size is a power of two. */
struct ring {
	struct virtio *device;
	uint16_t index, size;
	struct virtio_desc *desc;
	struct virtio_avail *avail;
	volatile struct virtio_used *used;
	uint16_t offered, taken;
	bool *is_offered; /* by the number of the first descriptor */
};

struct virtio_transport {
	uint64_t (*features)(struct virtio *device);
	void (*accept)(struct virtio *device, uint64_t features);
	uint8_t (*status)(struct virtio *device);
	void (*set_status)(struct virtio *device, uint8_t status);
	uint32_t (*ring_most)(
		struct virtio *device, uint16_t index); /* entries; 0: there is no such ring */
	bool (*start_ring)(struct virtio *device, const struct ring *ring);
	void (*kick)(struct virtio *device, uint16_t index);
	uint8_t (*config)(struct virtio *device, uint32_t offset);
	bool (*quiet)(struct virtio
			*device); /* takes its interrupt back; true if there was one. May be NULL */
};

#define VIRTIO_RINGS_MOST 3u

struct virtio {
	const struct virtio_transport *transport;
	uint32_t id;
	uint64_t features;  /* that both know */
	bool is_legacy;     /* before virtio 1 */
	bool has_interrupt; /* it wakes the processor; else it is looked at now and then */
	volatile uint8_t *registers, *status, *own, *bells; /* of the transport */
	uint64_t own_bytes, bells_bytes;
	uint32_t bell_step;
	volatile uint8_t *ring_bells[VIRTIO_RINGS_MOST];
};

/* Memory that devices see comes from the head of `region`, until it is given out. */
void virtio_memory(struct pages_range *region);
void *virtio_alloc(uint64_t bytes); /* whole pages, zero */

/* Resets the device and agrees on what of `wanted` it offers. */
void virtio_begin(struct virtio *device, uint64_t wanted);
/* From here on it works. */
void virtio_ready(struct virtio *device);

static inline bool virtio_has(const struct virtio *device, uint32_t feature)
{
	return device->features >> feature & 1;
}

/* Bytes of the device's own configuration. */
void virtio_config(struct virtio *device, uint32_t offset, void *to, uint32_t bytes);

/* The library OS ends: the device does what no device may. */
void virtio_broke(const struct virtio *device, const char *what) __attribute__((__noreturn__));

/* `most` entries or what the device has at most. */
void ring_start(struct ring *ring, struct virtio *device, uint16_t index, uint32_t most);

void ring_describe(struct ring *ring, uint16_t entry, uint64_t physical, uint32_t bytes,
	uint16_t flags, uint16_t next);
/* The chain that begins with `entry` is the device's; it learns of it by ring_kick(). */
void ring_offer(struct ring *ring, uint16_t entry);
void ring_kick(struct ring *ring);

bool ring_has(const struct ring *ring);
/* The next chain that the device is done with, and how many bytes it wrote. */
bool ring_take(struct ring *ring, uint16_t *ret_entry, uint32_t *ret_bytes);

/* Whether what the device does wakes the processor. */
void ring_listen(struct ring *ring, bool is_listening);
