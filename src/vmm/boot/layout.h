/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout.h - what lies where in guest memory at the first instruction, and the map of it.
 */
#pragma once

#include "vmm/guest.h"

#define LAYOUT_GDT              UINT64_C(0x500)
#define LAYOUT_START_INFO       UINT64_C(0x6000) /* PVH, multiboot */
#define LAYOUT_ZERO_PAGE        UINT64_C(0x7000) /* Linux boot_params */
#define LAYOUT_PAGE_TABLES      UINT64_C(0x9000) /* 6 pages: 4 GiB in 2 MiB pages */
#define LAYOUT_STACK            UINT64_C(0x8ff0)
#define LAYOUT_COMMAND_LINE     UINT64_C(0x20000)
#define LAYOUT_COMMAND_LINE_MAX 65536             /* with the NUL */
#define LAYOUT_SHARED           UINT64_C(0x40000) /* a page of a file; what is booted knows of it */
#define LAYOUT_LOW_END          UINT64_C(0x9fc00)
#define LAYOUT_GENERATION       UINT64_C(0xdf000) /* the VM generation id's page */
#define LAYOUT_ACPI             UINT64_C(0xe0000)
#define LAYOUT_ACPI_END         UINT64_C(0xf0000)
#define LAYOUT_RSDP             UINT64_C(0xf0000)
#define LAYOUT_HIGH             UINT64_C(0x100000)
#define LAYOUT_LOW_MAX          UINT64_C(0x80000000) /* memory below 4 GiB ends here at most */
#define LAYOUT_ABOVE_4G         UINT64_C(0x100000000)

enum map_type { MAP_RAM = 1, MAP_RESERVED = 2, MAP_ACPI = 3 };

struct map_entry {
	uint64_t at, bytes;
	enum map_type type;
};

#define MAP_ENTRIES_MAX 8

struct memory_map {
	struct map_entry entries[MAP_ENTRIES_MAX];
	uint32_t count;
	uint64_t low_bytes;  /* memory from 0 */
	uint64_t high_bytes; /* memory from 4 GiB */
	uint64_t room_at;    /* where more can come while it runs */
	uint64_t room_bytes;
};

#define LAYOUT_ROOM_UNIT (128 * MIB) /* Linux takes memory in such pieces at least */

/* How a guest of so much memory is laid out. */
void memory_map_init(struct memory_map *map, uint64_t memory_bytes);

/* Room behind it for so much more, or a little over. In no list: its driver tells the guest. */
void memory_map_leave_room(struct memory_map *map, uint64_t bytes);
