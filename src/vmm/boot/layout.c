/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout.c - the memory map of a PC.
 */
#include "vmm/boot/layout.h"

#include "vmm/pci.h"

static void add(struct memory_map *map, uint64_t at, uint64_t end, enum map_type type)
{
	assert(map->count < MAP_ENTRIES_MAX);
	if (end > at)
		map->entries[map->count++] = (struct map_entry){ at, end - at, type };
}

void memory_map_init(struct memory_map *map, uint64_t memory_bytes)
{
	*map = (struct memory_map){
		.low_bytes = memory_bytes < LAYOUT_LOW_MAX ? memory_bytes : LAYOUT_LOW_MAX,
	};
	map->high_bytes = memory_bytes - map->low_bytes;
	add(map, 0, LAYOUT_LOW_END, MAP_RAM);
	add(map, LAYOUT_LOW_END, UINT64_C(0xa0000), MAP_RESERVED);
	add(map, LAYOUT_GENERATION, LAYOUT_HIGH, MAP_RESERVED);
	add(map, LAYOUT_HIGH, map->low_bytes, MAP_RAM);
	add(map, PCI_ECAM_AT, PCI_ECAM_AT + PCI_ECAM_BYTES, MAP_RESERVED);
	add(map, LAYOUT_ABOVE_4G, LAYOUT_ABOVE_4G + map->high_bytes, MAP_RAM);
}

static uint64_t round_up(uint64_t number, uint64_t unit)
{
	return (number + unit - 1) / unit * unit;
}

void memory_map_leave_room(struct memory_map *map, uint64_t bytes)
{
	/* The largest of the pieces in which guests of any size take memory. */
	map->room_at = round_up(LAYOUT_ABOVE_4G + map->high_bytes, 2 * GIB);
	map->room_bytes = round_up(bytes, LAYOUT_ROOM_UNIT);
}
