/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_device.c - three regions.
 */
#include "vmm/test_device.h"

#include <string.h>

#define SCRATCH_AT 0xe0
#define LINES_AT   0x2000
#define LINES      24
#define MEMORY_AT  UINT64_C(0xff000000)

static uint64_t read_scratch(void *data, uint64_t offset, uint32_t bytes)
{
	struct test_device *device = data;
	return bytes_get(device->kept, sizeof(device->kept), offset, bytes);
}

static void write_scratch(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct test_device *device = data;
	memcpy(device->kept + offset, &value, bytes);
}

static const struct region_calls scratch_calls = { read_scratch, write_scratch };

static uint64_t read_lines(void *data, uint64_t offset, uint32_t bytes)
{
	(void)data;
	(void)offset;
	(void)bytes;
	return 0;
}

static void write_lines(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct test_device *device = data;
	(void)bytes;
	device->line(device->data, (uint32_t)offset, value & 1);
}

static const struct region_calls lines_calls = { read_lines, write_lines };

static uint64_t read_memory(void *data, uint64_t offset, uint32_t bytes)
{
	struct test_device *device = data;
	return bytes_get(device->bytes, sizeof(device->bytes), offset, bytes);
}

static void write_memory(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct test_device *device = data;
	memcpy(device->bytes + offset, &value, bytes);
}

static const struct region_calls memory_calls = { read_memory, write_memory };

int test_device_init(struct test_device *device, struct bus *bus,
	void (*line)(void *data, uint32_t line, bool level), void *data)
{
	device->line = line;
	device->data = data;
	device->scratch =
		(struct region){ &scratch_calls, device, SCRATCH_AT, sizeof(device->kept) };
	device->lines = (struct region){ &lines_calls, device, LINES_AT, LINES };
	device->memory = (struct region){ &memory_calls, device, MEMORY_AT, TEST_DEVICE_BYTES };
	int r = bus_add(bus, BUS_PORTS, &device->scratch);
	if (r == 0)
		r = bus_add(bus, BUS_PORTS, &device->lines);
	return r < 0 ? r : bus_add(bus, BUS_MEMORY, &device->memory);
}
