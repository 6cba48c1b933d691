/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block.c - the virtio disk.
 *
 * Each chain is one request; it waits in one of a fixed number of slots until the back end is done.
 * When slots or tokens run out the queue rests until a slot is free or the timer says so.
 */
#include "vmm/virtio/block.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/throttle.h"

#define QUEUE_SIZE     256
#define SLOTS          128
#define ID_BYTES       20
#define SECTORS_MAX    (1u << 21) /* of one discard or write-zeroes */
#define F_SEG_MAX      2
#define F_READ_ONLY    5
#define F_BLOCK_SIZE   6
#define F_FLUSH        9
#define F_TOPOLOGY     10
#define F_QUEUES       12
#define F_DISCARD      13
#define F_WRITE_ZEROES 14
#define UNMAP          1u

enum status { STATUS_OK, STATUS_ERROR, STATUS_UNKNOWN };

enum request_type {
	TYPE_READ = 0,
	TYPE_WRITE = 1,
	TYPE_FLUSH = 4,
	TYPE_ID = 8,
	TYPE_DISCARD = 11,
	TYPE_ZEROES = 13
};

struct block_config {
	uint64_t sectors;
	uint32_t size_max, segments_max;
	uint16_t cylinders;
	uint8_t heads, track_sectors;
	uint32_t block_bytes;
	uint8_t physical_block_exponent, alignment;
	uint16_t io_min_blocks;
	uint32_t io_best_blocks;
	uint8_t writeback, reserved;
	uint16_t queues;
	uint32_t discard_sectors_max, discard_segments_max, discard_alignment;
	uint32_t zeroes_sectors_max, zeroes_segments_max;
	uint8_t zeroes_may_unmap, reserved2[3];
};
static_assert(sizeof(struct block_config) == 64, "layout");

struct request_header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct segment {
	uint64_t sector;
	uint32_t sectors, flags;
};

struct slot {
	struct block *block;
	struct slot *next;
	struct queue *queue;
	struct disk_request request;
	uint8_t *status;
	uint32_t written; /* bytes for the guest if it goes well, with the status */
	struct chain chain;
};

struct block {
	struct virtio_device device;
	struct block_config config;
	struct disk *disk;
	struct source *ended;
	struct source *timer; /* tokens, or room on the volume */
	struct throttle bytes, operations;
	struct slot *free;
	struct slot *held; /* writes that wait for room */
	uint64_t resting;  /* queues that wait for slots or tokens */
	uint32_t slots;
	char id[ID_BYTES];
	void (*stalled)(void *data, bool is_stalled);
	void *data;
};

static struct block *block_of(struct virtio_device *device)
{
	return container_of(device, struct block, device);
}

static struct slot *slot_take(struct block *block)
{
	struct slot *slot = block->free;
	if (slot) {
		block->free = slot->next;
		return slot;
	}
	if (block->slots == SLOTS)
		return NULL;
	block->slots++;
	/* Not zeroed: its buffers are touched only as far as a chain is long. */
	slot = malloc(sizeof(*slot));
	if (slot)
		slot->block = block;
	return slot;
}

static void slot_put(struct slot *slot)
{
	slot->next = slot->block->free;
	slot->block->free = slot;
}

static void answer(struct slot *slot, enum status status)
{
	struct block *block = slot->block;
	*slot->status = (uint8_t)status;
	queue_push(slot->queue, &slot->chain, status == STATUS_OK ? slot->written : 1);
	virtio_notify(&block->device, slot->queue);
	slot_put(slot);
}

static void hold(struct slot *slot)
{
	struct block *block = slot->block;
	if (!block->held && block->stalled)
		block->stalled(block->data, true);
	slot->next = block->held;
	block->held = slot;
	timer_set_after(block->timer, NS_PER_SEC);
}

static void request_done(struct disk_request *request, int result)
{
	struct slot *slot = container_of(request, struct slot, request);
	if ((result == -ENOSPC || result == -EDQUOT) && slot->block->device.is_started)
		hold(slot);
	else
		answer(slot, result < 0 ? STATUS_ERROR : STATUS_OK);
}

static void begin(struct slot *slot)
{
	slot->request.done = request_done;
	if (disk_submit(slot->block->disk, &slot->request) < 0)
		answer(slot, STATUS_ERROR);
}

/* Takes `bytes` off the front of the chain's readable buffers. */
static void trim_front(struct chain *chain, size_t bytes, uint32_t *first)
{
	*first = 0;
	while (*first < chain->reads && bytes > 0) {
		struct iovec *iov = &chain->iov[*first];
		size_t part = iov->iov_len < bytes ? iov->iov_len : bytes;
		iov->iov_base = (uint8_t *)iov->iov_base + part;
		iov->iov_len -= part;
		bytes -= part;
		if (iov->iov_len == 0)
			++*first;
	}
}

static void begin_transfer(struct slot *slot, bool is_read, uint64_t sector)
{
	struct chain *chain = &slot->chain;
	struct disk_request *request = &slot->request;
	uint32_t first;
	trim_front(chain, sizeof(struct request_header), &first);
	if (is_read) {
		/* The status byte stands behind the data. */
		struct iovec *last = &chain->iov[chain->reads + chain->writes - 1];
		last->iov_len--;
		request->iov = chain->iov + chain->reads;
		request->iov_count = (int)(chain->writes - (last->iov_len == 0));
		request->bytes = chain->write_bytes - 1;
		slot->written = (uint32_t)chain->write_bytes;
	} else {
		request->iov = chain->iov + first;
		request->iov_count = (int)(chain->reads - first);
		request->bytes = chain->read_bytes - sizeof(struct request_header);
		slot->written = 1;
	}
	request->operation = is_read ? DISK_READ : DISK_WRITE;
	/* Without the flush feature the guest believes that what is written is safe. */
	request->is_durable = !is_read && !virtio_has(&slot->block->device, F_FLUSH);
	request->offset = sector > UINT64_MAX / DISK_SECTOR ? UINT64_MAX : sector * DISK_SECTOR;
	throttle_take(&slot->block->bytes, request->bytes);
	begin(slot);
}

static void begin_discard(struct slot *slot, bool is_discard)
{
	struct segment segment;
	struct disk_request *request = &slot->request;
	if (chain_read(&slot->chain, sizeof(struct request_header), &segment, sizeof(segment)) !=
			sizeof(segment) ||
		slot->chain.read_bytes != sizeof(struct request_header) + sizeof(segment) ||
		segment.sectors > SECTORS_MAX || (segment.flags & ~(is_discard ? 0 : UNMAP))) {
		answer(slot, segment.flags & ~UNMAP ? STATUS_UNKNOWN : STATUS_ERROR);
		return;
	}
	request->operation = is_discard ? DISK_DISCARD : DISK_ZERO;
	request->may_unmap = segment.flags & UNMAP;
	request->offset = segment.sector > UINT64_MAX / DISK_SECTOR ? UINT64_MAX
								    : segment.sector * DISK_SECTOR;
	request->bytes = (uint64_t)segment.sectors * DISK_SECTOR;
	slot->written = 1;
	begin(slot);
}

static void answer_id(struct slot *slot)
{
	slot->written = (uint32_t)chain_write(&slot->chain, 0, slot->block->id, ID_BYTES) + 1;
	answer(slot, STATUS_OK);
}

static void dispatch(struct slot *slot, const struct request_header *header)
{
	const struct block *block = slot->block;
	slot->request = (struct disk_request){};
	switch (header->type) {
	case TYPE_READ:
	case TYPE_WRITE:
		begin_transfer(slot, header->type == TYPE_READ, header->sector);
		return;
	case TYPE_FLUSH:
		slot->request.operation = DISK_FLUSH;
		slot->written = 1;
		begin(slot);
		return;
	case TYPE_ID:
		answer_id(slot);
		return;
	case TYPE_DISCARD:
	case TYPE_ZEROES:
		if (!block->disk->can_discard)
			break;
		begin_discard(slot, header->type == TYPE_DISCARD);
		return;
	default:
		break;
	}
	answer(slot, STATUS_UNKNOWN);
}

/* False if the chain is none of a request. */
static bool take_request(struct slot *slot)
{
	struct chain *chain = &slot->chain;
	struct request_header header;
	if (chain_read(chain, 0, &header, sizeof(header)) != sizeof(header) || !chain->writes)
		return false;
	const struct iovec *last = &chain->iov[chain->reads + chain->writes - 1];
	slot->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	dispatch(slot, &header);
	return true;
}

static uint64_t tokens_wait(struct block *block)
{
	uint64_t now = block->bytes.rate || block->operations.rate ? loop_now() : 0;
	uint64_t a = throttle_wait(&block->bytes, now), b = throttle_wait(&block->operations, now);
	return a > b ? a : b;
}

/* One chain of the queue: 1, 0 if there is none or it must rest, or -EPROTO. */
static int serve_one(struct block *block, uint16_t index)
{
	struct queue *queue = &block->device.queues[index];
	uint64_t wait = tokens_wait(block);
	struct slot *slot = wait || block->held ? NULL : slot_take(block);
	if (!slot) {
		if (wait && !block->held)
			timer_set_after(block->timer, wait);
		block->resting |= UINT64_C(1) << index;
		return 0;
	}
	int r = queue_pop(queue, &slot->chain);
	if (r <= 0) {
		slot_put(slot);
		return r;
	}
	slot->queue = queue;
	throttle_take(&block->operations, 1);
	if (take_request(slot))
		return 1;
	slot_put(slot);
	return -EPROTO;
}

static void serve(struct block *block, uint16_t index)
{
	struct queue *queue = &block->device.queues[index];
	int r, budget = VIRTIO_BUDGET;
	block->resting &= ~(UINT64_C(1) << index);
	queue_disarm(queue);
	do
		r = serve_one(block, index);
	while (r > 0 && budget-- > 0);
	disk_start(block->disk);
	if (r < 0) {
		queue->is_broken = true;
		virtio_broken(&block->device);
	} else if (!(block->resting >> index & 1) && queue_arm(queue)) {
		virtio_again(&block->device, index);
	}
}

static void kicked(struct virtio_device *device, uint16_t queue)
{
	serve(block_of(device), queue);
}

static void serve_resting(struct block *block)
{
	for (uint16_t i = 0; i < block->device.queue_count; i++)
		if (block->device.is_started && (block->resting >> i & 1))
			serve(block, i);
}

static void ended(void *data, int fd, uint32_t events)
{
	struct block *block = data;
	(void)fd;
	(void)events;
	bus_guard(block->device.bus);
	disk_complete(block->disk);
	serve_resting(block);
}

static void retry_held(struct block *block)
{
	struct slot *held = TAKE_PTR(block->held);
	if (held && block->stalled)
		block->stalled(block->data, false);
	while (held) {
		struct slot *slot = held;
		held = slot->next;
		begin(slot);
	}
	disk_start(block->disk);
}

static void timer_fired(void *data)
{
	struct block *block = data;
	bus_guard(block->device.bus);
	retry_held(block);
	serve_resting(block);
}

static void started(struct virtio_device *device)
{
	(void)device;
}

static void reset(struct virtio_device *device)
{
	struct block *block = block_of(device);
	/* Nothing is held any more: what does not fit now is an error to nobody. */
	device->is_started = false;
	while (block->held) {
		struct slot *slot = block->held;
		block->held = slot->next;
		if (!block->held && block->stalled)
			block->stalled(block->data, false);
		slot_put(slot);
	}
	disk_drain(block->disk);
	block->resting = 0;
	timer_stop(block->timer);
}

static void settle(struct virtio_device *device)
{
	disk_drain(block_of(device)->disk);
}

void block_set_rates(
	struct virtio_device *device, uint64_t bytes_per_second, uint64_t operations_per_second)
{
	struct block *block = block_of(device);
	throttle_init(&block->bytes, bytes_per_second, loop_now());
	throttle_init(&block->operations, operations_per_second, loop_now());
	serve_resting(block);
}

struct block_saved {
	uint64_t resting, sectors;
};

static void save(const struct virtio_device *device, struct state *state, const char *name)
{
	const struct block *block = (const void *)device;
	static_assert(offsetof(struct block, device) == 0, "layout");
	struct block_saved saved = { block->resting, block->config.sectors };
	state_put(state, name, 1, &saved, sizeof(saved));
}

static int load(
	struct virtio_device *device, const struct state *state, const char *name, struct error *e)
{
	struct block *block = block_of(device);
	struct block_saved saved;
	int r = state_get(state, name, 1, &saved, sizeof(saved), e);
	if (r < 0)
		return r;
	if (saved.sectors > block->config.sectors)
		return error_set(e, -EINVAL, "saved state: %s had %ju sectors, the disk has %ju",
			name, (uintmax_t)saved.sectors, (uintmax_t)block->config.sectors);
	/* A disk that has grown since has its new size when the guest looks at its devices again. */
	block->config.sectors = saved.sectors;
	block->resting = saved.resting;
	return 0;
}

static void free_block(struct virtio_device *device)
{
	struct block *block = block_of(device);
	disk_drain(block->disk);
	source_free(block->ended);
	source_free(block->timer);
	disk_close(block->disk);
	while (block->free) {
		struct slot *slot = block->free;
		block->free = slot->next;
		free(slot);
	}
	virtio_device_done(device);
	free(block);
}

static const struct virtio_driver block_driver = {
	.name = "block",
	.id = VIRTIO_ID_BLOCK,
	.class_code = 0x018000,
	.started = started,
	.kicked = kicked,
	.reset = reset,
	.config_written = virtio_config_is_fixed,
	.settle = settle,
	.save = save,
	.load = load,
	.free = free_block,
};

static void describe(struct block *block, uint16_t queues)
{
	const struct disk *disk = block->disk;
	block->config = (struct block_config){
		.sectors = disk->size_bytes / DISK_SECTOR,
		.segments_max = CHAIN_MAX - 4,
		.block_bytes = DISK_SECTOR,
		.physical_block_exponent = 3,
		.io_min_blocks = 8,
		.writeback = 1,
		.queues = queues,
		.discard_sectors_max = SECTORS_MAX,
		.discard_segments_max = 1,
		.discard_alignment = 8,
		.zeroes_sectors_max = SECTORS_MAX,
		.zeroes_segments_max = 1,
		.zeroes_may_unmap = 1,
	};
	block->device.config = &block->config;
	block->device.config_size = sizeof(block->config);
	block->device.features = UINT64_C(1) << F_SEG_MAX | UINT64_C(1) << F_BLOCK_SIZE |
		UINT64_C(1) << F_FLUSH | UINT64_C(1) << F_TOPOLOGY;
	if (queues > 1)
		block->device.features |= UINT64_C(1) << F_QUEUES;
	if (disk->read_only)
		block->device.features |= UINT64_C(1) << F_READ_ONLY;
	if (disk->can_discard)
		block->device.features |= UINT64_C(1) << F_DISCARD | UINT64_C(1) << F_WRITE_ZEROES;
}

int block_new(struct guest *guest, struct loop *loop, struct bus *bus, struct disk *disk,
	const struct block_options *options, struct virtio_device **ret, struct error *e)
{
	struct block *block = alloc(struct block);
	uint16_t queues = options->queues ? options->queues : 1;
	block->disk = disk;
	block->stalled = options->stalled;
	block->data = options->data;
	if (options->id)
		memcpy(block->id, options->id, strnlen(options->id, ID_BYTES));
	throttle_init(&block->bytes, options->bytes_per_second, loop_now());
	throttle_init(&block->operations, options->operations_per_second, loop_now());
	describe(block, queues);
	int r = loop_add_fd(loop, disk->event_fd, EPOLLIN, ended, block, &block->ended);
	if (r < 0) {
		free(block);
		return error_code(e, r, "watch a disk");
	}
	block->timer = loop_add_timer(loop, timer_fired, block);
	virtio_device_init(&block->device, &block_driver, guest, loop, bus, queues, QUEUE_SIZE);
	*ret = &block->device;
	return 0;
}

void block_resize(struct virtio_device *device, uint64_t bytes)
{
	struct block *block = block_of(device);
	block->disk->size_bytes = bytes;
	block->config.sectors = bytes / DISK_SECTOR;
	virtio_config_changed(device);
}
