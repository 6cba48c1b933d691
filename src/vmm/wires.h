/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wires.h - what a device is wired to: interrupt lines, messages, doorbells.
 *
 * The machine connects them to the CPU engine; a test connects them to itself. Any thread may call.
 */
#pragma once

#include "base/base.h"

struct wires {
	void *data;

	/* Sets the level of an interrupt line (GSI). */
	void (*line)(void *data, uint32_t line, bool level);

	/* Sends a message-signalled interrupt. */
	void (*message)(void *data, uint64_t address, uint32_t value);

	/*
	 * From now on (until `on` is false) a guest's write of 2 or 4 bytes to the guest address adds to
	 * the eventfd and reaches no device. Returns 0 or -errno; then writes reach the device.
	 */
	int (*doorbell)(void *data, uint64_t at, int event_fd, bool on);

	/* The guest has rung for a queue; on the I/O thread, under the bus lock. NULL: nobody asks. */
	void (*rung)(void *data);
};
