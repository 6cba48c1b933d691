/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.h - the contract of a virtio device: between a transport (pci) below the guest's registers and
 * a front end (block, net, ...) that serves queues.
 *
 * A front end embeds struct virtio_device and sets what its docstrings say; the transport drives it.
 * Every call holds the bus lock; `kicked` comes on the I/O thread only, but for the queue that is served
 * at once.
 */
#pragma once

#include "base/loop.h"
#include "vmm/bus.h"
#include "vmm/virtio/queue.h"

#define VIRTIO_QUEUES_MAX 64
#define VIRTIO_BUDGET     1024 /* chains a queue is served at once */

struct virtio_device;

struct virtio_driver {
	const char *name; /* "block": also the name in saved states */
	uint16_t id;      /* VIRTIO_ID_... */
	uint32_t class_code;

	/* The guest's driver is ready: queues are started, device->acked is final. */
	void (*started)(struct virtio_device *device);
	/* There are chains in the queue. */
	void (*kicked)(struct virtio_device *device, uint16_t queue);
	/* Forget everything about the guest; no buffer of it is touched after this returns. */
	void (*reset)(struct virtio_device *device);
	/* The guest wrote the device's configuration space; only if config_is_writable. */
	void (*config_written)(struct virtio_device *device, uint32_t offset, uint32_t bytes);

	/* Let what is under way end, so that state can be saved; nothing new is begun. */
	void (*settle)(struct virtio_device *device);
	void (*save)(const struct virtio_device *device, struct state *state, const char *name);
	int (*load)(struct virtio_device *device, const struct state *state, const char *name,
		struct error *e);
	void (*free)(struct virtio_device *device);
};

struct virtio_device {
	const struct virtio_driver *driver;
	struct guest *guest;
	struct loop *loop;
	struct bus *bus;
	uint64_t features; /* offered, without what virtio_device_init() adds */
	uint64_t acked;
	uint8_t status;
	bool is_started;
	uint16_t queue_count;
	/*
	 * 0: none. This queue is served while the CPU that rings stands in its write, and at no other
	 * time: then the guest has not gone on since it made a chain available.
	 */
	uint16_t queue_at_once;
	struct queue *queues;
	void *config; /* the front end's, read by the guest as it stands */
	uint32_t config_size;
	bool config_is_writable;

	/* Set by the transport. */
	void (*interrupt)(void *transport, uint16_t vector);
	void (*config_interrupt)(void *transport);
	void (*ring)(void *transport, uint16_t queue);
	void *transport;
};

/* Sets the fields, adds the ring features and makes the queues. */
void virtio_device_init(struct virtio_device *device, const struct virtio_driver *driver,
	struct guest *guest, struct loop *loop, struct bus *bus, uint16_t queue_count,
	uint16_t queue_size);
void virtio_device_done(struct virtio_device *device);

bool virtio_has(const struct virtio_device *device, uint32_t feature);
/* Interrupts the guest if it wants that for what was pushed. */
void virtio_notify(struct virtio_device *device, struct queue *queue);
/* Tells the guest that the configuration space has changed. */
void virtio_config_changed(struct virtio_device *device);
/* Serves the queue again soon: a front end does a bounded amount at once. */
void virtio_again(struct virtio_device *device, uint16_t queue);
/* For drivers whose configuration space the guest may not write. */
void virtio_config_is_fixed(struct virtio_device *device, uint32_t offset, uint32_t bytes);
/* The guest broke the rules: it must reset the device. */
void virtio_broken(struct virtio_device *device);

/* What the transport does with the status register, and with saved states. */
void virtio_set_status(struct virtio_device *device, uint8_t status);
void virtio_save(struct virtio_device *device, struct state *state, const char *name);
int virtio_load(struct virtio_device *device, const struct state *state, const char *name,
	struct error *e) must_use;
