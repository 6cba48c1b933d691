/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.c - what all virtio devices share: status, features, interrupts, saved state.
 */
#include "vmm/virtio/device.h"

#include <errno.h>
#include <stdio.h>

#define RING_FEATURES \
	(UINT64_C(1) << VIRTIO_F_INDIRECT | UINT64_C(1) << VIRTIO_F_EVENT_INDEX | \
		UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_F_PACKED)

void virtio_device_init(struct virtio_device *device, const struct virtio_driver *driver,
	struct guest *guest, struct loop *loop, struct bus *bus, uint16_t queue_count,
	uint16_t queue_size)
{
	assert(queue_count <= VIRTIO_QUEUES_MAX && queue_size <= QUEUE_SIZE_MAX);
	device->driver = driver;
	device->guest = guest;
	device->loop = loop;
	device->bus = bus;
	device->features |= RING_FEATURES;
	device->queue_count = queue_count;
	device->queues = alloc_array(queue_count, struct queue);
	for (uint16_t i = 0; i < queue_count; i++)
		queue_init(&device->queues[i], guest, queue_size);
}

void virtio_device_done(struct virtio_device *device)
{
	free(device->queues);
	device->queues = NULL;
	device->queue_count = 0;
}

bool virtio_has(const struct virtio_device *device, uint32_t feature)
{
	return device->acked >> feature & 1;
}

void virtio_notify(struct virtio_device *device, struct queue *queue)
{
	if (queue_wants_interrupt(queue))
		device->interrupt(device->transport, queue->vector);
}

void virtio_config_changed(struct virtio_device *device)
{
	if (device->is_started)
		device->config_interrupt(device->transport);
}

void virtio_again(struct virtio_device *device, uint16_t queue)
{
	device->ring(device->transport, queue);
}

void virtio_config_is_fixed(struct virtio_device *device, uint32_t offset, uint32_t bytes)
{
	(void)device;
	(void)offset;
	(void)bytes;
}

void virtio_broken(struct virtio_device *device)
{
	if (device->status & VIRTIO_STATUS_NEEDS_RESET)
		return;
	device->status |= VIRTIO_STATUS_NEEDS_RESET;
	if (device->is_started)
		device->config_interrupt(device->transport);
}

static void reset(struct virtio_device *device)
{
	if (device->is_started)
		device->driver->reset(device);
	device->is_started = false;
	device->status = 0;
	device->acked = 0;
	for (uint16_t i = 0; i < device->queue_count; i++)
		queue_reset(&device->queues[i]);
}

static bool features_are_good(const struct virtio_device *device)
{
	return !(device->acked & ~device->features) && virtio_has(device, VIRTIO_F_VERSION_1);
}

void virtio_set_status(struct virtio_device *device, uint8_t status)
{
	if (status == 0) {
		reset(device);
		return;
	}
	/* Bits are only ever added; what the device itself set stays. */
	status |= device->status;
	if ((status & VIRTIO_STATUS_FEATURES_OK) && !(device->status & VIRTIO_STATUS_FEATURES_OK) &&
		!features_are_good(device))
		status &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	device->status = status;
	if ((status & VIRTIO_STATUS_DRIVER_OK) && (status & VIRTIO_STATUS_FEATURES_OK) &&
		!device->is_started) {
		device->is_started = true;
		device->driver->started(device);
	}
}

struct device_saved {
	uint64_t acked;
	uint32_t status, queue_count;
};
static_assert(sizeof(struct device_saved) == 16, "layout");

void virtio_save(struct virtio_device *device, struct state *state, const char *name)
{
	device->driver->settle(device);
	struct device_saved saved = {
		.acked = device->acked,
		.status = device->status,
		.queue_count = device->queue_count,
	};
	state_put(state, name, 1, &saved, sizeof(saved));
	char part[STATE_NAME_SIZE];
	for (uint16_t i = 0; i < device->queue_count; i++) {
		snprintf(part, sizeof(part), "%s.queue.%u", name, i);
		queue_save(&device->queues[i], state, part);
	}
	snprintf(part, sizeof(part), "%s.%s", name, device->driver->name);
	device->driver->save(device, state, part);
}

int virtio_load(
	struct virtio_device *device, const struct state *state, const char *name, struct error *e)
{
	struct device_saved saved;
	int r = state_get(state, name, 1, &saved, sizeof(saved), e);
	if (r < 0)
		return r;
	if (saved.queue_count != device->queue_count || (saved.acked & ~device->features))
		return error_set(e, -EINVAL, "saved state: %s is another device", name);
	device->acked = saved.acked;
	device->status = (uint8_t)saved.status;
	char part[STATE_NAME_SIZE];
	for (uint16_t i = 0; r == 0 && i < device->queue_count; i++) {
		snprintf(part, sizeof(part), "%s.queue.%u", name, i);
		r = queue_load(&device->queues[i], state, part, e);
	}
	if (r < 0)
		return r;
	snprintf(part, sizeof(part), "%s.%s", name, device->driver->name);
	r = device->driver->load(device, state, part, e);
	if (r < 0)
		return r;
	uint8_t running = VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FEATURES_OK;
	if ((device->status & running) == running) {
		device->is_started = true;
		device->driver->started(device);
	}
	return 0;
}
