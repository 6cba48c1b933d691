/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_device.h - what test programs for CPUs expect of their machine: scratch ports, interrupt lines
 * that are set by a port, and memory behind a device.
 *
 * Ports 0xe0 to 0xe3 keep what is written; 0xe4 takes anything; 0x2000 + n sets line n. 64 KiB at
 * 0xff000000 behave as memory but are a device.
 */
#pragma once

#include "vmm/bus.h"

#define TEST_DEVICE_BYTES 65536

struct test_device {
	struct region scratch, lines, memory;
	void (*line)(void *data, uint32_t line, bool level);
	void *data;
	uint8_t kept[8];
	uint8_t bytes[TEST_DEVICE_BYTES];
};

/* `line` is called with the bus's lock held. */
int test_device_init(struct test_device *device, struct bus *bus,
	void (*line)(void *data, uint32_t line, bool level), void *data) must_use;
