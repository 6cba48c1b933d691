/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.h - the virtio console: one port, no control queue.
 */
#pragma once

#include "vmm/virtio/device.h"

struct virtio_console_options {
	/* Bytes the guest has written. The bus lock is held. */
	void (*output)(void *data, const uint8_t *bytes, size_t count);
	/* The guest has made room for input. The bus lock is held. */
	void (*drained)(void *data);
	void *data;
};

struct virtio_device *virtio_console_new(struct guest *guest, struct loop *loop, struct bus *bus);
/* Before the machine runs. Without it output is dropped. */
void virtio_console_connect(
	struct virtio_device *device, const struct virtio_console_options *options);

/* Both under the bus lock. virtio_console_input() returns how many bytes the guest had room for. */
size_t virtio_console_input(struct virtio_device *device, const uint8_t *bytes, size_t count);
void virtio_console_resize(struct virtio_device *device, uint16_t columns, uint16_t rows);
