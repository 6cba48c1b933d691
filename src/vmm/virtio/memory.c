/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c - the virtio memory device.
 */
#include "vmm/virtio/memory.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

#define QUEUE_SIZE       128
#define REQUESTS_AT_ONCE 16 /* each may be about all of the range */

enum request_type { PLUG, UNPLUG, UNPLUG_ALL, STATE };
enum answer_type { ACK, NACK, BUSY, ERROR };
enum block_state { PLUGGED, UNPLUGGED, MIXED };

struct request {
	uint16_t type, reserved[3];
	uint64_t at;
	uint16_t blocks, reserved_too[3];
};
static_assert(sizeof(struct request) == 24, "virtio 1.2, 5.15.6");

struct answer {
	uint16_t type, reserved[3];
	uint16_t state;
};
static_assert(sizeof(struct answer) == 10, "virtio 1.2, 5.15.6");

struct memory_config {
	uint64_t block_bytes;
	uint16_t node, reserved[3];
	uint64_t at, bytes, usable_bytes, plugged_bytes, wanted_bytes;
};
static_assert(sizeof(struct memory_config) == 56, "virtio 1.2, 5.15.4");

struct memory {
	struct virtio_device device;
	struct memory_config config;
	struct chain chain;
	uint64_t blocks;
	uint8_t plugged[]; /* a bit a block */
};

static struct memory *memory_of(struct virtio_device *device)
{
	return container_of(device, struct memory, device);
}

static size_t map_bytes(const struct memory *memory)
{
	return (memory->blocks + 7) / 8;
}

static bool is_plugged(const struct memory *memory, uint64_t block)
{
	return memory->plugged[block / 8] >> block % 8 & 1;
}

static uint64_t count_plugged(const struct memory *memory, uint64_t first, uint64_t count)
{
	uint64_t found = 0;
	for (uint64_t i = first; i < first + count; i++)
		found += is_plugged(memory, i);
	return found;
}

static void mark(struct memory *memory, uint64_t first, uint64_t count, bool plug)
{
	for (uint64_t i = first; i < first + count; i++) {
		uint8_t bit = (uint8_t)(1u << i % 8);
		memory->plugged[i / 8] = (uint8_t)(plug ? memory->plugged[i / 8] | bit
							: memory->plugged[i / 8] & ~bit);
	}
	uint64_t bytes = count * MEMORY_BLOCK;
	memory->config.plugged_bytes += plug ? bytes : -bytes;
}

/* What is unplugged goes back to the host, and reads as zeroes if it comes again. */
static bool give_back(const struct memory *memory, uint64_t first, uint64_t count)
{
	uint64_t at = memory->config.at + first * MEMORY_BLOCK;
	return guest_give_back(memory->device.guest, at, count * MEMORY_BLOCK) == 0;
}

static uint16_t plug(struct memory *memory, uint64_t first, uint64_t count)
{
	const struct memory_config *config = &memory->config;
	if (count_plugged(memory, first, count) != 0)
		return ERROR;
	if (config->plugged_bytes + count * MEMORY_BLOCK > config->wanted_bytes)
		return NACK;
	mark(memory, first, count, true);
	return ACK;
}

static uint16_t unplug(struct memory *memory, uint64_t first, uint64_t count)
{
	if (count_plugged(memory, first, count) != count)
		return ERROR;
	if (!give_back(memory, first, count))
		return BUSY;
	mark(memory, first, count, false);
	return ACK;
}

/* Run by run: a guest that asks again and again costs nothing. */
static uint16_t unplug_all(struct memory *memory)
{
	for (uint64_t first = 0, count; first < memory->blocks; first += count) {
		bool plugged = is_plugged(memory, first);
		count = 1;
		while (first + count < memory->blocks &&
			is_plugged(memory, first + count) == plugged)
			count++;
		if (plugged && !give_back(memory, first, count))
			return BUSY;
		if (plugged)
			mark(memory, first, count, false);
	}
	return ACK;
}

/* The blocks that a request names; false if they are not wholly in the range. */
static bool blocks_of(const struct memory *memory, const struct request *request, uint64_t *first,
	uint64_t *count)
{
	uint64_t offset = request->at - memory->config.at;
	*first = offset / MEMORY_BLOCK;
	*count = request->blocks;
	return request->at >= memory->config.at && offset % MEMORY_BLOCK == 0 && *count > 0 &&
		*first < memory->blocks && *count <= memory->blocks - *first;
}

static struct answer answer_to(struct memory *memory, const struct request *request)
{
	uint64_t first, count;
	if (request->type == UNPLUG_ALL)
		return (struct answer){ .type = unplug_all(memory) };
	if (!blocks_of(memory, request, &first, &count))
		return (struct answer){ .type = ERROR };
	uint64_t found;
	switch (request->type) {
	case PLUG:
		return (struct answer){ .type = plug(memory, first, count) };
	case UNPLUG:
		return (struct answer){ .type = unplug(memory, first, count) };
	case STATE:
		found = count_plugged(memory, first, count);
		return (struct answer){ .type = ACK,
			.state = found == count ? PLUGGED
				: found == 0    ? UNPLUGGED
						: MIXED };
	default:
		return (struct answer){ .type = ERROR };
	}
}

static void kicked(struct virtio_device *device, uint16_t index)
{
	struct memory *memory = memory_of(device);
	struct queue *queue = &device->queues[index];
	struct chain *chain = &memory->chain;
	int r = 0, budget = REQUESTS_AT_ONCE;
	while (budget-- > 0 && (r = queue_pop(queue, chain)) > 0) {
		struct request request = {};
		struct answer answer = { .type = ERROR };
		if (chain_read(chain, 0, &request, sizeof(request)) == sizeof(request))
			answer = answer_to(memory, &request);
		size_t written = chain_write(chain, 0, &answer, sizeof(answer));
		queue_push(queue, chain, (uint32_t)written);
	}
	virtio_notify(device, queue);
	if (r < 0)
		virtio_broken(device);
	else if (r > 0 || queue_arm(queue))
		virtio_again(device, index);
}

void memory_want(struct virtio_device *device, uint64_t bytes)
{
	struct memory_config *config = &memory_of(device)->config;
	uint64_t whole = bytes / MEMORY_BLOCK * MEMORY_BLOCK;
	config->wanted_bytes = whole < config->bytes ? whole : config->bytes;
	virtio_config_changed(device);
}

uint64_t memory_plugged(const struct virtio_device *device)
{
	static_assert(offsetof(struct memory, device) == 0, "layout");
	return ((const struct memory *)(const void *)device)->config.plugged_bytes;
}

/* A driver that begins anew unplugs all and plugs again; until then its memory stays. */
static void nothing(struct virtio_device *device)
{
	(void)device;
}

static size_t state_bytes(const struct memory *memory)
{
	return sizeof(memory->config) + map_bytes(memory);
}

static void save(const struct virtio_device *device, struct state *state, const char *name)
{
	const struct memory *memory = (const void *)device;
	cleanup(free) uint8_t *bytes = alloc_array(state_bytes(memory), uint8_t);
	memcpy(bytes, &memory->config, sizeof(memory->config));
	memcpy(bytes + sizeof(memory->config), memory->plugged, map_bytes(memory));
	state_put(state, name, 1, bytes, (uint32_t)state_bytes(memory));
}

/* Only what the map says is believed: sizes and places are this machine's. */
static int load(
	struct virtio_device *device, const struct state *state, const char *name, struct error *e)
{
	struct memory *memory = memory_of(device);
	struct memory_config saved;
	cleanup(free) uint8_t *bytes = alloc_array(state_bytes(memory), uint8_t);
	int r = state_get(state, name, 1, bytes, (uint32_t)state_bytes(memory), e);
	if (r < 0)
		return r;
	memcpy(&saved, bytes, sizeof(saved));
	if (saved.at != memory->config.at || saved.bytes != memory->config.bytes ||
		saved.wanted_bytes > saved.bytes || saved.wanted_bytes % MEMORY_BLOCK)
		return error_set(e, -EINVAL, "saved state: %s: another range of memory", name);
	memcpy(memory->plugged, bytes + sizeof(saved), map_bytes(memory));
	if (memory->blocks % 8)
		memory->plugged[map_bytes(memory) - 1] &= (uint8_t)((1u << memory->blocks % 8) - 1);
	memory->config.wanted_bytes = saved.wanted_bytes;
	memory->config.plugged_bytes = count_plugged(memory, 0, memory->blocks) * MEMORY_BLOCK;
	return 0;
}

static void free_memory(struct virtio_device *device)
{
	virtio_device_done(device);
	free(memory_of(device));
}

static const struct virtio_driver memory_driver = {
	.name = "memory",
	.id = VIRTIO_ID_MEMORY,
	.class_code = 0x00ff00,
	.started = nothing,
	.kicked = kicked,
	.reset = nothing,
	.config_written = virtio_config_is_fixed,
	.settle = nothing,
	.save = save,
	.load = load,
	.free = free_memory,
};

struct virtio_device *memory_new(
	struct guest *guest, struct loop *loop, struct bus *bus, guest_addr at, uint64_t bytes)
{
	uint64_t blocks = bytes / MEMORY_BLOCK;
	struct memory *memory = (void *)alloc_array(sizeof(*memory) + (blocks + 7) / 8, uint8_t);
	struct virtio_device *device = &memory->device;
	assert(bytes > 0 && bytes % MEMORY_BLOCK == 0 && at % MEMORY_BLOCK == 0);
	memory->blocks = blocks;
	memory->config = (struct memory_config){
		.block_bytes = MEMORY_BLOCK,
		.at = at,
		.bytes = bytes,
		.usable_bytes = bytes,
	};
	device->config = &memory->config;
	device->config_size = sizeof(memory->config);
	virtio_device_init(device, &memory_driver, guest, loop, bus, 1, QUEUE_SIZE);
	return device;
}
