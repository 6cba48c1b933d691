/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.h - the virtio console: one port, no control queue.
 */
#pragma once

#include "vmm/virtio/device.h"

struct console_options {
	/* Bytes the guest has written. The bus lock is held. */
	void (*output)(void *data, const uint8_t *bytes, size_t count);
	/* The guest has made room for input. The bus lock is held. */
	void (*drained)(void *data);
	void *data;
};

struct virtio_device *console_new(struct guest *guest, struct loop *loop, struct bus *bus);
/* Before the machine runs. Without it output is dropped. */
void console_connect(struct virtio_device *device, const struct console_options *options);

/* Both under the bus lock. console_input() returns how many bytes the guest had room for. */
size_t console_input(struct virtio_device *device, const uint8_t *bytes, size_t count);
void console_resize(struct virtio_device *device, uint16_t columns, uint16_t rows);
