/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus.c - two sorted arrays of regions, ports and memory.
 */
#include "vmm/bus.h"

#include <errno.h>
#include <string.h>

void bus_init(struct bus *bus)
{
	*bus = (struct bus){};
	pthread_mutex_init(&bus->lock, NULL);
}

void bus_done(struct bus *bus)
{
	for (size_t i = 0; i < BUS_SPACES; i++)
		free(bus->regions[i]);
	pthread_mutex_destroy(&bus->lock);
	memset(bus->regions, 0, sizeof(bus->regions));
	memset(bus->counts, 0, sizeof(bus->counts));
}

void bus_enter(struct bus *bus)
{
	pthread_mutex_lock(&bus->lock);
}

void bus_leave(struct bus *bus)
{
	pthread_mutex_unlock(&bus->lock);
}

/* The first region that ends behind `at`; the count if there is none. */
static size_t search(const struct bus *bus, enum bus_space space, uint64_t at)
{
	size_t low = 0, high = bus->counts[space];
	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct region *region = bus->regions[space][middle];
		if (region->at + region->bytes <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int bus_add(struct bus *bus, enum bus_space space, struct region *region)
{
	assert(region->bytes > 0);
	if (region->at + region->bytes < region->at)
		return -EINVAL;
	size_t index = search(bus, space, region->at), count = bus->counts[space];
	if (index < count && bus->regions[space][index]->at < region->at + region->bytes)
		return -EEXIST;
	struct region **regions =
		alloc_resize(bus->regions[space], count + 1, sizeof(struct region *));
	memmove(regions + index + 1, regions + index, (count - index) * sizeof(*regions));
	regions[index] = region;
	bus->regions[space] = regions;
	bus->counts[space] = count + 1;
	return 0;
}

void bus_remove(struct bus *bus, enum bus_space space, struct region *region)
{
	struct region **regions = bus->regions[space];
	for (size_t i = 0; i < bus->counts[space]; i++) {
		if (regions[i] != region)
			continue;
		memmove(regions + i, regions + i + 1,
			(bus->counts[space] - i - 1) * sizeof(*regions));
		bus->counts[space]--;
		bus->last[space] = 0;
		return;
	}
}

static struct region *find(struct bus *bus, enum bus_space space, uint64_t at, uint32_t bytes)
{
	size_t index = bus->last[space];
	if (index >= bus->counts[space] ||
		at - bus->regions[space][index]->at >= bus->regions[space][index]->bytes)
		index = search(bus, space, at);
	if (index >= bus->counts[space])
		return NULL;
	struct region *region = bus->regions[space][index];
	if (at < region->at || bytes > region->bytes - (at - region->at))
		return NULL;
	bus->last[space] = index;
	return region;
}

uint64_t bus_read(struct bus *bus, enum bus_space space, uint64_t at, uint32_t bytes)
{
	bus_guard(bus);
	uint64_t mask = bytes >= 8 ? UINT64_MAX : (UINT64_C(1) << (bytes * 8)) - 1;
	struct region *region = find(bus, space, at, bytes);
	if (!region)
		return mask;
	return region->calls->read(region->data, at - region->at, bytes) & mask;
}

void bus_write(struct bus *bus, enum bus_space space, uint64_t at, uint32_t bytes, uint64_t value)
{
	bus_guard(bus);
	struct region *region = find(bus, space, at, bytes);
	if (region)
		region->calls->write(region->data, at - region->at, bytes, value);
}

uint64_t bytes_get(const void *file, size_t size, uint64_t offset, uint32_t bytes)
{
	uint64_t value = UINT64_MAX;
	if (bytes <= sizeof(value) && offset <= size && bytes <= size - offset)
		memcpy(&value, (const uint8_t *)file + offset, bytes);
	if (bytes < 8)
		value &= (UINT64_C(1) << (bytes * 8)) - 1;
	return value;
}
