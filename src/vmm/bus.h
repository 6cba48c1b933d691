/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus.h - who answers at which port or guest address, and the lock all devices stand under.
 *
 * vCPU threads come in by bus_read() and bus_write(), which take the lock; the I/O thread's callbacks
 * that touch what a register shows take it with bus_enter(). A region is embedded in its device.
 * What nobody answers reads as all ones, and a write to it is dropped.
 */
#pragma once

#include <pthread.h>

#include "base/base.h"
#include "base/error.h"

enum bus_space { BUS_PORTS, BUS_MEMORY };
#define BUS_SPACES 2

struct region_calls {
	/* `offset` + `bytes` lies inside the region; `bytes` is 1, 2, 4 or 8. The lock is held. */
	uint64_t (*read)(void *data, uint64_t offset, uint32_t bytes);
	void (*write)(void *data, uint64_t offset, uint32_t bytes, uint64_t value);
};

struct region {
	const struct region_calls *calls;
	void *data;
	uint64_t at;
	uint64_t bytes;
};

struct bus {
	pthread_mutex_t lock;
	struct region **regions[BUS_SPACES]; /* sorted by address */
	size_t counts[BUS_SPACES];
	size_t last[BUS_SPACES]; /* the region that answered last: the next access is often its */
};

void bus_init(struct bus *bus);
void bus_done(struct bus *bus);

/* The region stays the caller's and must outlive its place on the bus. -EEXIST if it overlaps one. */
int bus_add(struct bus *bus, enum bus_space space, struct region *region) must_use;
/* Does nothing if it is not there. */
void bus_remove(struct bus *bus, enum bus_space space, struct region *region);

uint64_t bus_read(struct bus *bus, enum bus_space space, uint64_t at, uint32_t bytes);
void bus_write(struct bus *bus, enum bus_space space, uint64_t at, uint32_t bytes, uint64_t value);

void bus_enter(struct bus *bus);
void bus_leave(struct bus *bus);

/* `{ bus_guard(bus); ... }` holds the lock to the end of the block. */
static inline void bus_leave_cleanup(struct bus **bus)
{
	bus_leave(*bus);
}
#define bus_guard(which) \
	cleanup(bus_leave) struct bus *bus_guarded __attribute__((__unused__)) = \
		(bus_enter(which), (which))

/* A slice of `bytes` bytes of `value` at `offset` of a register file; all ones outside of it. */
uint64_t bytes_get(const void *file, size_t size, uint64_t offset, uint32_t bytes);
