/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio.c - what all virtio devices have in common: the agreement at the start, and split rings.
 */
#include "unikernel/machine/virtio.h"

#include "unikernel/exit.h"

#define RESET_LONGEST    UINT64_C(1000000000) /* ns */
#define NO_INTERRUPT     1u
#define NO_KICK          1u
#define USED_BYTES(size) (6 + sizeof(struct virtio_used_entry) * (size))

static struct pages_range *memory;

void virtio_memory(struct pages_range *region)
{
	memory = region;
}

void *virtio_alloc(uint64_t bytes)
{
	bytes = (bytes + KERNEL_PAGE - 1) & ~(uint64_t)(KERNEL_PAGE - 1);
	if (bytes > memory->bytes)
		kernel_panic("there is not enough memory for the machine's devices");
	void *ret = pages_see(memory->start);
	memory->start += bytes;
	memory->bytes -= bytes;
	return memset(ret, 0, bytes);
}

static const char *name_of(const struct virtio *device)
{
	switch (device->id) {
	case VIRTIO_ID_NET:
		return "network card";
	case VIRTIO_ID_BLOCK:
		return "disk";
	default:
		return "source of random numbers";
	}
}

void virtio_broke(const struct virtio *device, const char *what)
{
	static char sentence[160];
	const char *const parts[] = { "the machine's ", name_of(device), " ", what };
	size_t length = 0;
	for (size_t i = 0; i < COUNT(parts); i++) {
		size_t bytes = strlen(parts[i]);
		if (bytes > sizeof(sentence) - 1 - length)
			bytes = sizeof(sentence) - 1 - length;
		memcpy(sentence + length, parts[i], bytes);
		length += bytes;
	}
	sentence[length] = '\0';
	kernel_panic(sentence);
}

void virtio_begin(struct virtio *device, uint64_t wanted)
{
	const struct virtio_transport *transport = device->transport;
	uint64_t start = platform_clock_monotonic();
	transport->set_status(device, 0);
	while (transport->status(device))
		if (platform_clock_monotonic() - start > RESET_LONGEST)
			virtio_broke(device, "cannot be reset");
	transport->set_status(device, VIRTIO_STATUS_ACKNOWLEDGE);
	transport->set_status(device, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	wanted |= UINT64_C(1) << VIRTIO_F_VERSION_1;
	device->features = transport->features(device) & wanted;
	if (!device->is_legacy && !virtio_has(device, VIRTIO_F_VERSION_1))
		virtio_broke(device, "is older than virtio 1");
	transport->accept(device, device->features);
	if (device->is_legacy)
		return;
	uint8_t status =
		VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK;
	transport->set_status(device, status);
	if (!(transport->status(device) & VIRTIO_STATUS_FEATURES_OK))
		virtio_broke(device, "does not take what it offered");
}

void virtio_ready(struct virtio *device)
{
	device->transport->set_status(device,
		VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK |
			(device->is_legacy ? 0 : VIRTIO_STATUS_FEATURES_OK));
}

void virtio_config(struct virtio *device, uint32_t offset, void *to, uint32_t bytes)
{
	uint8_t *out = to;
	bool is_same = false;
	/* It may change between two bytes; a device that always changes has no size. */
	for (int tries = 0; tries < 4 && !is_same; tries++) {
		is_same = tries > 0;
		for (uint32_t i = 0; i < bytes; i++) {
			uint8_t value = device->transport->config(device, offset + i);
			is_same = is_same && out[i] == value;
			out[i] = value;
		}
	}
}

static uint32_t power_of_two(uint32_t most)
{
	uint32_t size = 1;
	while (2 * size <= most)
		size *= 2;
	return size;
}

/* In the one layout that devices before virtio 1 have, too. */
void ring_start(struct ring *ring, struct virtio *device, uint16_t index, uint32_t most)
{
	uint32_t has = device->transport->ring_most(device, index);
	if (has == 0 || has > 32768)
		virtio_broke(device, "lacks a queue");
	uint32_t size = power_of_two(has < most ? has : most);
	uint64_t avail = sizeof(struct virtio_desc) * size;
	uint64_t used = (avail + 6 + 2 * size + KERNEL_PAGE - 1) & ~(uint64_t)(KERNEL_PAGE - 1);
	uint8_t *at_page = virtio_alloc(used + USED_BYTES(size));
	*ring = (struct ring){ .device = device,
		.index = index,
		.size = (uint16_t)size,
		.desc = (void *)at_page,
		.avail = (void *)(at_page + avail),
		.used = (void *)(at_page + used),
		.is_offered = virtio_alloc(size) };
	ring->avail->flags = NO_INTERRUPT;
	if (!device->transport->start_ring(device, ring))
		virtio_broke(device, "does not start a queue");
}

void ring_describe(struct ring *ring, uint16_t entry, uint64_t physical, uint32_t bytes,
	uint16_t flags, uint16_t next)
{
	ring->desc[entry] = (struct virtio_desc){ physical, bytes, flags, next };
}

void ring_offer(struct ring *ring, uint16_t entry)
{
	ring->is_offered[entry] = true;
	ring->avail->ring[ring->offered++ & (ring->size - 1)] = entry;
	__atomic_store_n(&ring->avail->index, ring->offered, __ATOMIC_RELEASE);
}

void ring_kick(struct ring *ring)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!(ring->used->flags & NO_KICK))
		ring->device->transport->kick(ring->device, ring->index);
}

bool ring_has(const struct ring *ring)
{
	return __atomic_load_n(&ring->used->index, __ATOMIC_ACQUIRE) != ring->taken;
}

bool ring_take(struct ring *ring, uint16_t *ret_entry, uint32_t *ret_bytes)
{
	uint16_t ready = __atomic_load_n(&ring->used->index, __ATOMIC_ACQUIRE);
	if (ready == ring->taken)
		return false;
	volatile struct virtio_used_entry *used = &ring->used->ring[ring->taken & (ring->size - 1)];
	uint32_t entry = used->id;
	*ret_bytes = used->bytes;
	if ((uint16_t)(ready - ring->taken) > ring->size || entry >= ring->size ||
		!ring->is_offered[entry])
		virtio_broke(ring->device, "gives back what it was not given");
	ring->is_offered[entry] = false;
	ring->taken++;
	*ret_entry = (uint16_t)entry;
	return true;
}

void ring_listen(struct ring *ring, bool is_listening)
{
	__atomic_store_n(&ring->avail->flags, is_listening ? 0 : NO_INTERRUPT, __ATOMIC_SEQ_CST);
}
