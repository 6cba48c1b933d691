/* SPDX-License-Identifier: Apache-2.0 */
/*
 * multiboot.c - the multiboot 1 protocol: flat 32-bit mode, EBX points to the information structure.
 */
#include <errno.h>
#include <string.h>

#include "vmm/boot/mode.h"
#include "vmm/boot/protocol.h"

#define HEADER_MAGIC   0x1badb002u
#define LOADED_MAGIC   0x2badb002u
#define SEARCH_BYTES   8192
#define FLAG_ADDRESSES 0x10000u
#define FLAGS_UNKNOWN  0xfff8u /* those a loader must know and this one does not */
#define INFO_MEMORY    0x001u
#define INFO_COMMAND   0x004u
#define INFO_MODULES   0x008u
#define INFO_MAP       0x040u

struct header {
	uint32_t magic, flags, checksum;
	uint32_t header_at, load_at, load_end, bss_end, entry;
};

struct info {
	uint32_t flags, low_kib, high_kib, boot_device, command_line_at;
	uint32_t module_count, modules_at, symbols[4], map_bytes, map_at;
	uint32_t drives[2], config, loader_at, apm, vbe[4];
};

struct module {
	uint32_t start, end, command_line_at, reserved;
};

struct __attribute__((__packed__)) map_record {
	uint32_t bytes_after;
	uint64_t at, bytes;
	uint32_t type;
};

struct block {
	struct info info;
	struct module module;
	struct map_record map[MAP_ENTRIES_MAX];
};

int multiboot_find(const uint8_t *head, size_t bytes)
{
	if (bytes > SEARCH_BYTES)
		bytes = SEARCH_BYTES;
	for (size_t at = 0; at + 12 <= bytes; at += 4) {
		struct header header;
		memcpy(&header, head + at, 12);
		if (header.magic == HEADER_MAGIC &&
			header.magic + header.flags + header.checksum == 0)
			return (int)at;
	}
	return -1;
}

/* A flat file whose header says where it goes. */
static int load_flat(const struct boot_options *options, struct guest *guest,
	const struct header *header, size_t header_offset, struct elf *ret, struct error *e)
{
	const struct image *kernel = &options->kernel;
	uint64_t skip = (uint64_t)header->header_at - header->load_at;
	if (header->load_at > header->header_at || skip > header_offset)
		return error_set(e, -EINVAL, "%s: its multiboot header has impossible addresses",
			kernel->name);
	uint64_t offset = header_offset - skip;
	uint64_t bytes = header->load_end ? (uint64_t)header->load_end - header->load_at
					  : kernel->bytes - offset;
	uint64_t end = header->load_at + bytes;
	if (header->load_end && header->load_end < header->load_at)
		return error_set(e, -EINVAL, "%s: its multiboot header has impossible addresses",
			kernel->name);
	if (header->bss_end > end)
		end = header->bss_end;
	if (header->load_at < LAYOUT_HIGH ||
		!guest_slice(guest, header->load_at, end - header->load_at))
		return error_set(e, -EINVAL,
			"%s: %ju bytes at 0x%x do not fit into the guest's memory", kernel->name,
			(uintmax_t)(end - header->load_at), header->load_at);
	*ret = (struct elf){ .entry = header->entry, .low = header->load_at, .high = end };
	return image_load(kernel, offset, bytes, guest, header->load_at, e);
}

int multiboot_load(const struct boot_options *options, struct guest *guest, const uint8_t *head,
	size_t head_bytes, struct cpu_state *ret, struct error *e)
{
	struct header header = {};
	struct elf elf;
	struct block block = {};
	uint64_t initrd_at;
	int at = multiboot_find(head, head_bytes);
	if (at < 0)
		return error_set(e, -EINVAL, "%s: no multiboot header", options->kernel.name);
	size_t there = head_bytes - (size_t)at;
	memcpy(&header, head + at, there < sizeof(header) ? there : sizeof(header));
	if (header.flags & FLAGS_UNKNOWN)
		return error_set(e, -EINVAL,
			"%s: it wants what this multiboot loader has not: 0x%x",
			options->kernel.name, header.flags & FLAGS_UNKNOWN);
	int r = header.flags & FLAG_ADDRESSES
		? load_flat(options, guest, &header, (size_t)at, &elf, e)
		: elf_load(&options->kernel, guest, &elf, e);
	if (r == 0)
		r = place_command_line(options, guest, LAYOUT_COMMAND_LINE_MAX, e);
	if (r == 0)
		r = place_initrd(options, guest, elf.high, UINT32_MAX, &initrd_at, e);
	if (r < 0)
		return r;
	block.info = (struct info){
		.flags = INFO_MEMORY | INFO_COMMAND | INFO_MODULES | INFO_MAP,
		.low_kib = (uint32_t)(LAYOUT_LOW_END / KIB),
		.high_kib = (uint32_t)((options->map->low_bytes - LAYOUT_HIGH) / KIB),
		.command_line_at = (uint32_t)LAYOUT_COMMAND_LINE,
		.module_count = initrd_at ? 1 : 0,
		.modules_at = (uint32_t)(LAYOUT_START_INFO + offsetof(struct block, module)),
		.map_bytes = (uint32_t)(options->map->count * sizeof(struct map_record)),
		.map_at = (uint32_t)(LAYOUT_START_INFO + offsetof(struct block, map)),
	};
	if (initrd_at)
		block.module = (struct module){ (uint32_t)initrd_at,
			(uint32_t)(initrd_at + options->initrd.bytes),
			(uint32_t)LAYOUT_COMMAND_LINE, 0 };
	for (uint32_t i = 0; i < options->map->count; i++)
		block.map[i] = (struct map_record){ sizeof(struct map_record) - 4,
			options->map->entries[i].at, options->map->entries[i].bytes,
			options->map->entries[i].type };
	if (guest_write(guest, LAYOUT_START_INFO, &block, sizeof(block)) < 0)
		return error_set(e, -EINVAL, "the guest has too little memory to boot");
	mode_protected(ret, elf.entry);
	mode_virtual_wire(ret);
	ret->gpr[CPU_RAX] = LOADED_MAGIC;
	ret->gpr[CPU_RBX] = LAYOUT_START_INFO;
	return 0;
}
