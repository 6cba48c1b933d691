/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver.h - a guest's virtio driver for tests: a board with one device, split rings in guest memory.
 *
 * Queue n has its rings at n * 0x4000 + 0x10000; buffers are the test's, from DRIVER_BUFFERS on.
 */
#pragma once

#include "base/loop.h"
#include "test.h"
#include "vmm/bus.h"
#include "vmm/guest.h"
#include "vmm/pci.h"
#include "vmm/virtio/pci.h"

#define DRIVER_MEMORY  (4 * MIB)
#define DRIVER_BUFFERS UINT64_C(0x100000)
#define DRIVER_RING    16
#define DRIVER_SLOT    3

struct driver {
	struct guest *guest;
	struct loop *loop;
	struct bus bus;
	struct wires wires;
	struct pci pci;
	struct virtio_pci *transport;
	uint32_t interrupts;
	uint16_t next[8]; /* of each queue: entries made available */
	uint16_t next_desc[8];
};

struct buffer {
	uint64_t at;
	uint32_t bytes;
	bool is_write;
};

static void driver_line(void *data, uint32_t line, bool level)
{
	struct driver *driver = data;
	(void)line;
	driver->interrupts += level;
}

static void driver_message(void *data, uint64_t address, uint32_t value)
{
	struct driver *driver = data;
	(void)address;
	(void)value;
	driver->interrupts++;
}

static int driver_doorbell(void *data, uint64_t at, int event_fd, bool on)
{
	(void)data;
	(void)at;
	(void)event_fd;
	(void)on;
	return -ENOSPC; /* writes reach the device */
}

static inline void driver_board(struct driver *driver)
{
	struct error e = {};
	*driver = (struct driver){};
	driver->wires =
		(struct wires){ driver, driver_line, driver_message, driver_doorbell, NULL };
	bus_init(&driver->bus);
	expect(guest_new(&driver->guest, &e) == 0);
	expect(guest_add(driver->guest, 0, DRIVER_MEMORY, GUEST_RAM, &e) == 0);
	expect(loop_new(&driver->loop, &e) == 0);
	expect(pci_init(&driver->pci, &driver->bus, &driver->wires, &e) == 0);
}

static inline void driver_done(struct driver *driver)
{
	virtio_pci_free(driver->transport);
	pci_done(&driver->pci);
	loop_free(driver->loop);
	bus_done(&driver->bus);
	guest_free(driver->guest);
}

static inline uint64_t driver_read(struct driver *driver, uint64_t offset, uint32_t bytes)
{
	return bus_read(&driver->bus, BUS_MEMORY, PCI_WINDOW_AT + offset, bytes);
}

static inline void driver_write(
	struct driver *driver, uint64_t offset, uint32_t bytes, uint64_t value)
{
	bus_write(&driver->bus, BUS_MEMORY, PCI_WINDOW_AT + offset, bytes, value);
}

static inline void driver_config_space(struct driver *driver, uint32_t offset, uint32_t value)
{
	bus_write(&driver->bus, BUS_MEMORY, PCI_ECAM_AT + (DRIVER_SLOT << 15) + offset, 4, value);
}

/* Plugs the device in and lets it be found. */
static inline void driver_plug(struct driver *driver, struct virtio_device *device)
{
	struct error e = {};
	expect(virtio_pci_new(&driver->pci, DRIVER_SLOT, device, &driver->transport, &e) == 0);
	expect(pci_assign(&driver->pci, &e) == 0);
	driver_config_space(driver, PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_BUS);
}

/* Negotiates `features` and sets up `queues` queues. */
static inline void driver_start(struct driver *driver, uint64_t features, uint32_t queues)
{
	features |= UINT64_C(1) << VIRTIO_F_VERSION_1;
	driver_write(driver, 20, 1, 0);
	driver_write(driver, 20, 1, 3);
	for (uint32_t word = 0; word < 2; word++) {
		driver_write(driver, 8, 4, word);
		driver_write(driver, 12, 4, (uint32_t)(features >> (32 * word)));
	}
	driver_write(driver, 20, 1, 3 | 8);
	expect_equal(driver_read(driver, 20, 1), 3 | 8);
	for (uint32_t i = 0; i < queues; i++) {
		uint64_t at = 0x10000 + i * UINT64_C(0x4000);
		driver_write(driver, 22, 2, i);
		driver_write(driver, 24, 2, DRIVER_RING);
		driver_write(driver, 32, 8, at);
		driver_write(driver, 40, 8, at + 0x1000);
		driver_write(driver, 48, 8, at + 0x2000);
		driver_write(driver, 28, 2, 1);
		expect_equal(driver_read(driver, 28, 2), 1);
		driver->next[i] = driver->next_desc[i] = 0;
	}
	driver_write(driver, 20, 1, 3 | 8 | 4);
	expect_equal(driver_read(driver, 20, 1), 3 | 8 | 4);
}

/* Makes one chain of the buffers available; its head. */
static inline uint16_t driver_put(
	struct driver *driver, uint16_t queue, const struct buffer *buffers, uint32_t count)
{
	uint64_t at = 0x10000 + queue * UINT64_C(0x4000);
	uint16_t head = driver->next_desc[queue] % DRIVER_RING;
	for (uint32_t i = 0; i < count; i++) {
		uint16_t index = driver->next_desc[queue]++ % DRIVER_RING;
		struct virtio_desc desc = {
			.at = buffers[i].at,
			.bytes = buffers[i].bytes,
			.flags = (uint16_t)((i + 1 < count ? VIRTIO_DESC_NEXT : 0) |
				(buffers[i].is_write ? VIRTIO_DESC_WRITE : 0)),
			.next = (uint16_t)((index + 1) % DRIVER_RING),
		};
		expect(guest_write(driver->guest, at + index * sizeof(desc), &desc, sizeof(desc)) ==
			0);
	}
	uint16_t slot = driver->next[queue]++ % DRIVER_RING, index = driver->next[queue];
	expect(guest_write(driver->guest, at + 0x1000 + 4 + 2 * (uint64_t)slot, &head, 2) == 0);
	expect(guest_write(driver->guest, at + 0x1002, &index, 2) == 0);
	return head;
}

static inline uint16_t driver_used(struct driver *driver, uint16_t queue)
{
	uint16_t index;
	expect(guest_read(driver->guest, 0x12002 + queue * UINT64_C(0x4000), &index, 2) == 0);
	return index;
}

static inline struct virtio_used_entry driver_used_entry(
	struct driver *driver, uint16_t queue, uint16_t index)
{
	struct virtio_used_entry entry;
	expect(guest_read(driver->guest,
		       0x12004 + queue * UINT64_C(0x4000) + 8 * (uint64_t)(index % DRIVER_RING),
		       &entry, sizeof(entry)) == 0);
	return entry;
}

static inline void driver_kick(struct driver *driver, uint16_t queue)
{
	driver_write(driver, 0x3000 + 4 * (uint64_t)queue, 2, queue);
}

/* Lets the device work until `count` chains of the queue are used; fails after a minute. */
static inline void driver_wait(struct driver *driver, uint16_t queue, uint16_t count)
{
	uint64_t end = loop_now() + 60 * NS_PER_SEC;
	while (driver_used(driver, queue) != count) {
		expect(loop_now() < end);
		expect(loop_step(driver->loop, 100 * NS_PER_MS) == 0);
	}
}

static inline uint32_t driver_send(
	struct driver *driver, uint16_t queue, const struct buffer *buffers, uint32_t count)
{
	uint16_t before = driver_used(driver, queue);
	driver_put(driver, queue, buffers, count);
	driver_kick(driver, queue);
	driver_wait(driver, queue, (uint16_t)(before + 1));
	return driver_used_entry(driver, queue, before).bytes;
}
