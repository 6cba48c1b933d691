/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue.c - split and packed virtqueues, seen from the device.
 *
 * Theory of operation. queue_start() turns the three guest addresses into pointers once; they stay
 * valid as long as guest memory does. A descriptor is copied to the stack before it is looked at. What
 * the two ring formats share is the walk over buffers (`add_buffer`, `add_indirect`); the rest is a
 * pair of functions each.
 */
#include "vmm/virtio/queue.h"

#include <errno.h>
#include <string.h>

#define load(pointer)         __atomic_load_n(pointer, __ATOMIC_ACQUIRE)
#define store(pointer, value) __atomic_store_n(pointer, value, __ATOMIC_RELEASE)
#define barrier()             __atomic_thread_fence(__ATOMIC_SEQ_CST)

void queue_init(struct queue *queue, struct guest *guest, uint16_t size_max)
{
	*queue = (struct queue){ .guest = guest, .size_max = size_max };
	queue_reset(queue);
}

void queue_reset(struct queue *queue)
{
	*queue = (struct queue){
		.guest = queue->guest,
		.size_max = queue->size_max,
		.size = queue->size_max,
		.vector = 0xffff,
		.avail_wrap = true,
		.used_wrap = true,
	};
}

static int map_rings(struct queue *queue)
{
	uint64_t size = queue->size;
	bool is_packed = queue->is_packed;
	if (queue->desc_at % 16 || queue->driver_at % (is_packed ? 4 : 2) || queue->device_at % 4)
		return -EINVAL;
	if (size == 0 || size > queue->size_max || (!is_packed && (size & (size - 1)) != 0))
		return -EINVAL;
	queue->desc = guest_slice(queue->guest, queue->desc_at, size * sizeof(struct virtio_desc));
	queue->driver = guest_slice(queue->guest, queue->driver_at,
		is_packed ? sizeof(struct virtio_packed_event) : 6 + 2 * size);
	queue->device = guest_slice(queue->guest, queue->device_at,
		is_packed ? sizeof(struct virtio_packed_event)
			  : 6 + sizeof(struct virtio_used_entry) * size);
	return queue->desc && queue->driver && queue->device ? 0 : -EINVAL;
}

int queue_start(struct queue *queue, bool is_packed, bool has_event_index)
{
	queue->is_packed = is_packed;
	queue->has_event_index = has_event_index;
	int r = map_rings(queue);
	queue->is_broken = r < 0;
	queue->is_ready = r == 0;
	return r;
}

static int broken(struct queue *queue)
{
	queue->is_broken = true;
	return -EPROTO;
}

static int add_buffer(
	struct queue *queue, struct chain *chain, uint64_t at, uint32_t bytes, uint16_t flags)
{
	bool is_write = flags & VIRTIO_DESC_WRITE;
	if (!is_write && chain->writes)
		return -EPROTO;
	if (bytes == 0)
		return 0;
	uint32_t count = chain->reads + chain->writes;
	if (count >= CHAIN_MAX)
		return -EPROTO;
	union {
		const void *in;
		void *out;
	} data = { .out = NULL };
	if (is_write)
		data.out = guest_slice(queue->guest, at, bytes);
	else
		data.in = guest_slice_const(queue->guest, at, bytes);
	if (!data.out)
		return -EPROTO;
	chain->iov[count] = (struct iovec){ data.out, bytes };
	chain->at[count] = at;
	if (is_write) {
		chain->writes++;
		chain->write_bytes += bytes;
	} else {
		chain->reads++;
		chain->read_bytes += bytes;
	}
	return 0;
}

/* A table of split descriptors: a linked list. */
static int add_split_table(struct queue *queue, struct chain *chain, uint64_t at, uint32_t count)
{
	uint32_t index = 0;
	for (uint32_t steps = 0; steps < count; steps++) {
		struct virtio_desc desc;
		if (guest_read(queue->guest, at + index * sizeof(desc), &desc, sizeof(desc)) < 0 ||
			(desc.flags & VIRTIO_DESC_INDIRECT) ||
			add_buffer(queue, chain, desc.at, desc.bytes, desc.flags) < 0)
			return -EPROTO;
		if (!(desc.flags & VIRTIO_DESC_NEXT))
			return 0;
		index = desc.next;
		if (index >= count)
			return -EPROTO;
	}
	return -EPROTO;
}

/* A table of packed descriptors: a plain sequence. */
static int add_packed_table(struct queue *queue, struct chain *chain, uint64_t at, uint32_t count)
{
	for (uint32_t index = 0; index < count; index++) {
		struct virtio_packed_desc desc;
		if (guest_read(queue->guest, at + index * sizeof(desc), &desc, sizeof(desc)) < 0 ||
			(desc.flags & VIRTIO_DESC_INDIRECT) ||
			add_buffer(queue, chain, desc.at, desc.bytes, desc.flags) < 0)
			return -EPROTO;
	}
	return 0;
}

static int add_indirect(struct queue *queue, struct chain *chain, uint64_t at, uint32_t bytes)
{
	uint32_t count = bytes / sizeof(struct virtio_desc);
	static_assert(sizeof(struct virtio_desc) == sizeof(struct virtio_packed_desc), "layout");
	if (count == 0 || bytes % sizeof(struct virtio_desc) != 0 || count > 65536)
		return -EPROTO;
	return queue->is_packed ? add_packed_table(queue, chain, at, count)
				: add_split_table(queue, chain, at, count);
}

static void chain_clear(struct chain *chain)
{
	chain->id = 0;
	chain->descriptors = 0;
	chain->reads = chain->writes = 0;
	chain->read_bytes = chain->write_bytes = 0;
}

static int pop_split(struct queue *queue, struct chain *chain)
{
	struct virtio_avail *avail = queue->driver;
	const struct virtio_desc *table = queue->desc;
	uint16_t waiting = (uint16_t)(load(&avail->index) - queue->next_avail);
	if (waiting == 0)
		return 0;
	if (waiting > queue->size)
		return broken(queue);
	uint16_t mask = queue->size - 1, index = load(&avail->ring[queue->next_avail & mask]);
	chain->id = index;
	chain->descriptors = 1;
	for (uint32_t steps = 0; steps < queue->size; steps++) {
		struct virtio_desc desc;
		if (index >= queue->size)
			return broken(queue);
		memcpy(&desc, &table[index], sizeof(desc));
		int r = desc.flags & VIRTIO_DESC_INDIRECT
			? add_indirect(queue, chain, desc.at, desc.bytes)
			: add_buffer(queue, chain, desc.at, desc.bytes, desc.flags);
		if (r < 0)
			return broken(queue);
		if (!(desc.flags & VIRTIO_DESC_NEXT) || (desc.flags & VIRTIO_DESC_INDIRECT)) {
			queue->next_avail++;
			return 1;
		}
		index = desc.next;
	}
	return broken(queue);
}

static bool packed_is_available(const struct queue *queue, uint16_t flags)
{
	bool avail = flags & VIRTIO_DESC_AVAIL, used = flags & VIRTIO_DESC_USED;
	return avail == queue->avail_wrap && used != queue->avail_wrap;
}

static void packed_advance(const struct queue *queue, uint16_t *index, bool *wrap, uint16_t count)
{
	uint32_t next = (uint32_t)*index + count;
	if (next >= queue->size) {
		next -= queue->size;
		*wrap = !*wrap;
	}
	*index = (uint16_t)next;
}

static int pop_packed(struct queue *queue, struct chain *chain)
{
	struct virtio_packed_desc *ring = queue->desc;
	uint16_t index = queue->next_avail;
	if (!packed_is_available(queue, load(&ring[index].flags)))
		return 0;
	for (uint16_t count = 1; count <= queue->size; count++) {
		struct virtio_packed_desc desc;
		memcpy(&desc, &ring[index], sizeof(desc));
		int r = desc.flags & VIRTIO_DESC_INDIRECT
			? add_indirect(queue, chain, desc.at, desc.bytes)
			: add_buffer(queue, chain, desc.at, desc.bytes, desc.flags);
		if (r < 0)
			return broken(queue);
		if (!(desc.flags & VIRTIO_DESC_NEXT) || (desc.flags & VIRTIO_DESC_INDIRECT)) {
			chain->id = desc.id;
			chain->descriptors = count;
			packed_advance(queue, &queue->next_avail, &queue->avail_wrap, count);
			return 1;
		}
		index = index + 1 < queue->size ? index + 1 : 0;
	}
	return broken(queue);
}

int queue_pop(struct queue *queue, struct chain *chain)
{
	if (queue->is_broken)
		return -EPROTO;
	if (!queue->is_ready)
		return 0;
	chain_clear(chain);
	return queue->is_packed ? pop_packed(queue, chain) : pop_split(queue, chain);
}

void queue_unpop(struct queue *queue, const struct chain *chain)
{
	if (!queue->is_packed) {
		queue->next_avail--;
		return;
	}
	if (queue->next_avail < chain->descriptors) {
		queue->next_avail = (uint16_t)(queue->next_avail + queue->size);
		queue->avail_wrap = !queue->avail_wrap;
	}
	queue->next_avail = (uint16_t)(queue->next_avail - chain->descriptors);
}

/* What the device wrote may be code: the CPU engine must know. */
static void tell_engine(const struct queue *queue, const struct chain *chain, uint64_t bytes)
{
	uint32_t count = chain->reads + chain->writes;
	for (uint32_t i = chain->reads; i < count && bytes > 0; i++) {
		uint64_t part = chain->iov[i].iov_len < bytes ? chain->iov[i].iov_len : bytes;
		guest_wrote(queue->guest, chain->at[i], part);
		bytes -= part;
	}
}

void queue_push(struct queue *queue, const struct chain *chain, uint32_t bytes)
{
	if (!queue->is_ready || queue->is_broken)
		return;
	tell_engine(queue, chain, bytes);
	if (queue->is_packed) {
		struct virtio_packed_desc *desc = queue->desc;
		desc += queue->next_used;
		desc->id = chain->id;
		desc->bytes = bytes;
		uint16_t flags = queue->used_wrap ? VIRTIO_DESC_AVAIL | VIRTIO_DESC_USED : 0;
		if (bytes)
			flags |= VIRTIO_DESC_WRITE;
		store(&desc->flags, flags);
		packed_advance(queue, &queue->next_used, &queue->used_wrap, chain->descriptors);
	} else {
		struct virtio_used *used = queue->device;
		struct virtio_used_entry *entry = &used->ring[queue->next_used & (queue->size - 1)];
		entry->id = chain->id;
		entry->bytes = bytes;
		store(&used->index, ++queue->next_used);
	}
	queue->added = (uint16_t)(queue->added + chain->descriptors);
}

static bool passed(uint16_t event, uint16_t now, uint16_t added)
{
	return (uint16_t)(now - event - 1) < added;
}

bool queue_wants_interrupt(struct queue *queue)
{
	uint16_t added = queue->added;
	if (!queue->is_ready || queue->is_broken || added == 0)
		return false;
	queue->added = 0;
	barrier();
	if (queue->is_packed) {
		const struct virtio_packed_event *event = queue->driver;
		uint16_t flags = load(&event->flags), offset_wrap = load(&event->offset_wrap);
		if (flags != VIRTIO_EVENT_DESC || !queue->has_event_index)
			return flags != VIRTIO_EVENT_DISABLE;
		uint16_t offset = offset_wrap & 0x7fff;
		if ((offset_wrap >> 15 != 0) != queue->used_wrap)
			offset = (uint16_t)(offset - queue->size);
		return passed(offset, queue->next_used, added);
	}
	const struct virtio_avail *avail = queue->driver;
	if (!queue->has_event_index)
		return !(load(&avail->flags) & 1);
	return passed(load(&avail->ring[queue->size]), queue->next_used, added);
}

static bool has_waiting(const struct queue *queue)
{
	if (queue->is_packed) {
		const struct virtio_packed_desc *ring = queue->desc;
		return packed_is_available(queue, load(&ring[queue->next_avail].flags));
	}
	const struct virtio_avail *avail = queue->driver;
	return load(&avail->index) != queue->next_avail;
}

bool queue_arm(struct queue *queue)
{
	if (!queue->is_ready || queue->is_broken)
		return false;
	if (queue->is_packed) {
		struct virtio_packed_event *event = queue->device;
		if (queue->has_event_index) {
			uint16_t wrap = queue->avail_wrap ? 0x8000 : 0;
			store(&event->offset_wrap, (uint16_t)(queue->next_avail | wrap));
		}
		store(&event->flags,
			queue->has_event_index ? VIRTIO_EVENT_DESC : VIRTIO_EVENT_ENABLE);
	} else {
		struct virtio_used *used = queue->device;
		if (queue->has_event_index) {
			uint8_t *end = (uint8_t *)&used->ring[queue->size];
			store((uint16_t *)(void *)end, queue->next_avail);
		} else {
			store(&used->flags, 0);
		}
	}
	barrier();
	return has_waiting(queue);
}

void queue_disarm(struct queue *queue)
{
	if (!queue->is_ready || queue->is_broken)
		return;
	if (queue->is_packed) {
		struct virtio_packed_event *event = queue->device;
		store(&event->flags, VIRTIO_EVENT_DISABLE);
	} else if (!queue->has_event_index) {
		struct virtio_used *used = queue->device;
		store(&used->flags, 1);
	}
}

static size_t copy(const struct iovec *iov, uint32_t count, uint64_t offset, uint8_t *data,
	size_t bytes, bool to_guest)
{
	size_t done = 0;
	for (uint32_t i = 0; i < count && done < bytes; i++) {
		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		size_t part = iov[i].iov_len - offset;
		if (part > bytes - done)
			part = bytes - done;
		uint8_t *guest = (uint8_t *)iov[i].iov_base + offset;
		memcpy(to_guest ? guest : data + done, to_guest ? data + done : guest, part);
		done += part;
		offset = 0;
	}
	return done;
}

size_t chain_read(const struct chain *chain, uint64_t offset, void *data, size_t bytes)
{
	return copy(chain->iov, chain->reads, offset, data, bytes, false);
}

size_t chain_write(const struct chain *chain, uint64_t offset, const void *data, size_t bytes)
{
	/* copy() only reads `data` in this direction. */
	union {
		const void *in;
		uint8_t *out;
	} both = { .in = data };
	return copy(chain->iov + chain->reads, chain->writes, offset, both.out, bytes, true);
}

struct queue_saved {
	uint64_t desc_at, driver_at, device_at;
	uint16_t size, vector, next_avail, next_used, added;
	uint8_t is_ready, is_broken, is_packed, has_event_index, avail_wrap, used_wrap;
};
static_assert(sizeof(struct queue_saved) == 40, "layout");

void queue_save(const struct queue *queue, struct state *state, const char *name)
{
	struct queue_saved saved = {
		.desc_at = queue->desc_at,
		.driver_at = queue->driver_at,
		.device_at = queue->device_at,
		.size = queue->size,
		.vector = queue->vector,
		.next_avail = queue->next_avail,
		.next_used = queue->next_used,
		.added = queue->added,
		.is_ready = queue->is_ready,
		.is_broken = queue->is_broken,
		.is_packed = queue->is_packed,
		.has_event_index = queue->has_event_index,
		.avail_wrap = queue->avail_wrap,
		.used_wrap = queue->used_wrap,
	};
	state_put(state, name, 1, &saved, sizeof(saved));
}

int queue_load(struct queue *queue, const struct state *state, const char *name, struct error *e)
{
	struct queue_saved saved;
	int r = state_get(state, name, 1, &saved, sizeof(saved), e);
	if (r < 0)
		return r;
	queue_reset(queue);
	queue->desc_at = saved.desc_at;
	queue->driver_at = saved.driver_at;
	queue->device_at = saved.device_at;
	queue->size = saved.size;
	queue->vector = saved.vector;
	if (saved.size > queue->size_max ||
		(saved.is_packed && saved.is_ready &&
			(saved.next_avail >= saved.size || saved.next_used >= saved.size)))
		return error_set(e, -EINVAL, "saved state: %s does not fit its ring", name);
	if (saved.is_ready && queue_start(queue, saved.is_packed, saved.has_event_index) < 0)
		return error_set(e, -EINVAL, "saved state: %s is not in guest memory", name);
	queue->is_broken = saved.is_broken;
	queue->next_avail = saved.next_avail;
	queue->next_used = saved.next_used;
	queue->added = saved.added;
	queue->avail_wrap = saved.avail_wrap;
	queue->used_wrap = saved.used_wrap;
	return 0;
}
