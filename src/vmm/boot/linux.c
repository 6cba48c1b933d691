/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.c - a Linux bzImage by the 64-bit boot protocol.
 *
 * The kernel proper is an ELF program inside the bzImage, compressed. The host unpacks it and loads it
 * at the addresses it was linked for; the code that would unpack it in the guest never runs.
 */
#include <errno.h>
#include <string.h>

#include "vmm/boot/mode.h"
#include "vmm/boot/protocol.h"

#define HEADER_AT      0x1f1
#define MAGIC_AT       0x202
#define BOOT_FLAG      0xaa55
#define VERSION_MIN    0x020c
#define XLOAD_64       1u
#define LOADER_UNKNOWN 0xff
#define LOADED_HIGH    1u
#define E820_MAX       128
#define INITRD_MAX     UINT64_C(0x7fffffff)

struct __attribute__((__packed__)) setup_header {
	uint8_t setup_sectors;
	uint16_t root_flags;
	uint32_t system_size;
	uint16_t ram_size, video_mode, root_device, boot_flag;
	uint16_t jump;
	char magic[4];
	uint16_t version;
	uint32_t realmode_switch;
	uint16_t start_system, kernel_version;
	uint8_t loader, load_flags;
	uint16_t setup_move;
	uint32_t code32, initrd_at, initrd_bytes, boot_sector;
	uint16_t heap_end;
	uint8_t loader_version, loader_type;
	uint32_t command_line_at, initrd_max, alignment;
	uint8_t relocatable, min_alignment;
	uint16_t xload_flags;
	uint32_t command_line_max, hardware;
	uint64_t hardware_data;
	uint32_t payload_offset, payload_bytes;
	uint64_t setup_data, preferred_at;
	uint32_t init_bytes, handover;
	uint32_t kernel_info;
};
static_assert(sizeof(struct setup_header) == 0x26c - HEADER_AT, "layout");

struct __attribute__((__packed__)) e820_entry {
	uint64_t at, bytes;
	uint32_t type;
};

struct __attribute__((__packed__)) zero_page {
	uint8_t screen[0x70];
	uint64_t rsdp_at;
	uint8_t reserved[0x1e8 - 0x78];
	uint8_t e820_count;
	uint8_t reserved2[HEADER_AT - 0x1e9];
	struct setup_header header;
	uint8_t reserved3[0x2d0 - 0x26c];
	struct e820_entry e820[E820_MAX];
	uint8_t reserved4[4096 - 0x2d0 - E820_MAX * sizeof(struct e820_entry)];
};
static_assert(sizeof(struct zero_page) == 4096, "layout");
static_assert(offsetof(struct zero_page, header) == HEADER_AT, "layout");

bool linux_is(const uint8_t *head, size_t bytes)
{
	return bytes >= MAGIC_AT + 4 && memcmp(head + MAGIC_AT, "HdrS", 4) == 0 &&
		head[0x1fe] == 0x55 && head[0x1ff] == 0xaa;
}

static int check_header(
	const struct image *kernel, const struct setup_header *header, struct error *e)
{
	if (header->version < VERSION_MIN || !(header->xload_flags & XLOAD_64))
		return error_set(e, -EINVAL,
			"%s: a Linux kernel of boot protocol %u.%02u without the 64-bit entry",
			kernel->name, header->version >> 8, header->version & 255u);
	if (header->payload_bytes == 0)
		return error_set(e, -EINVAL, "%s: a Linux kernel without a payload", kernel->name);
	return 0;
}

/* Unpacks and loads the kernel proper. */
static int load_payload(const struct boot_options *options, const struct setup_header *header,
	struct guest *guest, struct elf *ret, struct error *e)
{
	const struct image *kernel = &options->kernel;
	uint32_t sectors = header->setup_sectors ? header->setup_sectors : 4;
	uint64_t offset = (uint64_t)(sectors + 1) * 512 + header->payload_offset;
	if (offset > kernel->bytes || header->payload_bytes > kernel->bytes - offset)
		return error_set(e, -EINVAL,
			"%s: it is cut off: its payload ends at %ju of %ju bytes", kernel->name,
			(uintmax_t)offset + header->payload_bytes, (uintmax_t)kernel->bytes);
	if (!options->unpack)
		return error_set(
			e, -ENOTSUP, "%s: compressed kernels are not unpacked here", kernel->name);
	cleanup(close) int fd = -1;
	int r = options->unpack(
		options->unpack_data, kernel, offset, header->payload_bytes, &fd, e);
	struct image program;
	if (r == 0)
		r = image_init(&program, fd, kernel->name, e);
	if (r == 0)
		r = elf_load(&program, guest, ret, e);
	if (r == 0 && !ret->is_64)
		return error_set(e, -EINVAL, "%s: its payload is no 64-bit kernel", kernel->name);
	return r;
}

static void fill_map(struct zero_page *page, const struct memory_map *map)
{
	for (uint32_t i = 0; i < map->count; i++)
		page->e820[i] = (struct e820_entry){ map->entries[i].at, map->entries[i].bytes,
			map->entries[i].type };
	page->e820_count = (uint8_t)map->count;
}

int linux_load(const struct boot_options *options, struct guest *guest, struct cpu_state *ret,
	struct error *e)
{
	struct zero_page page = { .rsdp_at = options->rsdp_at };
	struct setup_header *header = &page.header;
	struct elf elf;
	uint64_t initrd_at;
	int r = image_read(&options->kernel, HEADER_AT, header, sizeof(*header), e);
	if (r == 0)
		r = check_header(&options->kernel, header, e);
	if (r == 0)
		r = load_payload(options, header, guest, &elf, e);
	if (r == 0)
		r = place_command_line(options, guest, (uint64_t)header->command_line_max + 1, e);
	if (r < 0)
		return r;
	uint64_t end = header->initrd_max < INITRD_MAX ? header->initrd_max : INITRD_MAX;
	uint64_t taken = elf.low + header->init_bytes;
	r = place_initrd(
		options, guest, taken > elf.high ? taken : elf.high, end + 1, &initrd_at, e);
	if (r < 0)
		return r;
	header->loader = LOADER_UNKNOWN;
	header->load_flags |= LOADED_HIGH;
	header->command_line_at = (uint32_t)LAYOUT_COMMAND_LINE;
	header->initrd_at = (uint32_t)initrd_at;
	header->initrd_bytes = initrd_at ? (uint32_t)options->initrd.bytes : 0;
	fill_map(&page, options->map);
	r = guest_write(guest, LAYOUT_ZERO_PAGE, &page, sizeof(page));
	if (r == 0)
		r = mode_long(ret, guest, elf.entry);
	if (r < 0)
		return error_set(e, -EINVAL, "the guest has too little memory to boot");
	ret->gpr[CPU_RSI] = LAYOUT_ZERO_PAGE;
	return 0;
}
