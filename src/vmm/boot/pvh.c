/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pvh.c - the PVH boot protocol: 32-bit entry, EBX points to the start info.
 */
#include <errno.h>

#include "vmm/boot/mode.h"
#include "vmm/boot/protocol.h"

#define START_MAGIC 0x336ec578

struct start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules_at, command_line_at, rsdp_at, map_at;
	uint32_t map_count, reserved;
};
static_assert(sizeof(struct start_info) == 56, "layout");

struct start_module {
	uint64_t at, bytes, command_line_at, reserved;
};

struct start_map {
	uint64_t at, bytes;
	uint32_t type, reserved;
};

struct start {
	struct start_info info;
	struct start_module initrd;
	struct start_map map[MAP_ENTRIES_MAX];
};

int pvh_load(const struct boot_options *options, struct guest *guest, const struct elf *elf,
	struct cpu_state *ret, struct error *e)
{
	struct start start = {};
	uint64_t initrd_at;
	int r = place_command_line(options, guest, LAYOUT_COMMAND_LINE_MAX, e);
	if (r == 0)
		r = place_initrd(options, guest, elf->high, UINT32_MAX, &initrd_at, e);
	if (r < 0)
		return r;
	start.info = (struct start_info){
		.magic = START_MAGIC,
		.version = 1,
		.module_count = initrd_at ? 1 : 0,
		.modules_at = LAYOUT_START_INFO + offsetof(struct start, initrd),
		.command_line_at = LAYOUT_COMMAND_LINE,
		.rsdp_at = options->rsdp_at,
		.map_at = LAYOUT_START_INFO + offsetof(struct start, map),
		.map_count = options->map->count,
	};
	if (initrd_at)
		start.initrd =
			(struct start_module){ .at = initrd_at, .bytes = options->initrd.bytes };
	for (uint32_t i = 0; i < options->map->count; i++)
		start.map[i] = (struct start_map){ options->map->entries[i].at,
			options->map->entries[i].bytes, options->map->entries[i].type, 0 };
	if (guest_write(guest, LAYOUT_START_INFO, &start, sizeof(start)) < 0)
		return error_set(e, -EINVAL, "the guest has too little memory to boot");
	mode_protected(ret, elf->pvh_entry);
	ret->gpr[CPU_RBX] = LAYOUT_START_INFO;
	return 0;
}
