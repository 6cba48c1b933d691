/* SPDX-License-Identifier: Apache-2.0 */
/*
 * firmware.c - firmware images, and the files of fw_cfg by which the firmware learns of the machine.
 *
 * The ACPI tables travel as one blob, and a script (etc/table-loader) of fixed-size commands: allocate a
 * file, add its address to a pointer in another, set a checksum. The firmware carries them out.
 */
#include "vmm/firmware.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "vmm/acpi.h"
#include "vmm/pci.h"

#define RESET_VECTOR     16   /* bytes before the end */
#define VOLUME_SIGNATURE 0x28 /* "_FVH" in a UEFI firmware volume */
#define VOLUME_KIND      16
#define TABLES           "etc/acpi/tables"
#define ROOT_POINTER     "etc/acpi/rsdp"
#define SERIAL_PORT      0x3f8u

/* The kind of a volume that holds variables. */
static const uint8_t variables_kind[16] = { 0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c, 0xa9,
	0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50 };

bool firmware_is_variables(const uint8_t *data, uint64_t bytes)
{
	return bytes > VOLUME_SIGNATURE + 4 && memcmp(data + VOLUME_SIGNATURE, "_FVH", 4) == 0 &&
		memcmp(data + VOLUME_KIND, variables_kind, sizeof(variables_kind)) == 0;
}

static int check(const struct image *image, const uint8_t *data, struct error *e)
{
	const uint8_t *first = data + image->bytes - RESET_VECTOR;
	if (memcmp(first, "\0\0\0", 3) != 0 && memcmp(first, "\xff\xff\xff", 3) != 0)
		return 0;
	if (firmware_is_variables(data, image->bytes))
		return error_set(e, -EINVAL,
			"%s: these are variables of UEFI, not the firmware itself", image->name);
	return error_set(e, -EINVAL, "%s: no firmware: there is no instruction at its reset vector",
		image->name);
}

int firmware_read(const struct image *image, uint8_t **ret, uint32_t *ret_bytes, struct error *e)
{
	if (image->bytes < FIRMWARE_BYTES_MIN || image->bytes > FIRMWARE_BYTES_MAX ||
		image->bytes % GUEST_PAGE)
		return error_set(e, -EINVAL,
			"%s: no firmware: %ju bytes are not whole pages from 64 KiB to 16 MiB",
			image->name, (uintmax_t)image->bytes);
	cleanup(free) uint8_t *data = alloc_array(image->bytes, uint8_t);
	int r = image_read(image, 0, data, image->bytes, e);
	if (r == 0)
		r = check(image, data, e);
	if (r < 0)
		return r;
	*ret_bytes = (uint32_t)image->bytes;
	*ret = TAKE_PTR(data);
	return 0;
}

struct __attribute__((__packed__)) e820_entry {
	uint64_t at, bytes;
	uint32_t type;
};

static void add_memory_map(struct fw_cfg *fw, const struct firmware_description *d)
{
	const struct e820_entry entries[] = {
		{ 0, d->low_bytes, MAP_RAM },
		{ FIRMWARE_OWN_PAGE, GUEST_PAGE, MAP_RESERVED },
		{ LAYOUT_ABOVE_4G, d->high_bytes, MAP_RAM },
	};
	uint32_t count = d->high_bytes ? 3 : 2;
	fw_cfg_file(fw, "etc/e820", entries, count * (uint32_t)sizeof(entries[0]));
}

enum loader_command { LOADER_ALLOCATE = 1, LOADER_POINTER = 2, LOADER_CHECKSUM = 3 };
enum loader_zone { ZONE_HIGH = 1, ZONE_FSEG = 2 };

struct __attribute__((__packed__)) loader_entry {
	uint32_t command;
	union {
		struct __attribute__((__packed__)) {
			char file[FW_CFG_NAME_SIZE];
			uint32_t alignment;
			uint8_t zone;
		} allocate;
		struct __attribute__((__packed__)) {
			char file[FW_CFG_NAME_SIZE];
			char target[FW_CFG_NAME_SIZE];
			uint32_t offset;
			uint8_t bytes;
		} pointer;
		struct __attribute__((__packed__)) {
			char file[FW_CFG_NAME_SIZE];
			uint32_t offset, start, length;
		} checksum;
		uint8_t room[124];
	};
};
static_assert(sizeof(struct loader_entry) == 128, "layout");

#define LOADER_MAX (2 + ACPI_FIXES_MAX + 1 + ACPI_TABLES_MAX + 2)

struct loader {
	struct loader_entry entries[LOADER_MAX];
	uint32_t count;
};

static struct loader_entry *next(struct loader *loader, enum loader_command command)
{
	assert(loader->count < LOADER_MAX);
	struct loader_entry *entry = &loader->entries[loader->count++];
	entry->command = command;
	return entry;
}

static void allocate(
	struct loader *loader, const char *file, uint32_t alignment, enum loader_zone zone)
{
	struct loader_entry *entry = next(loader, LOADER_ALLOCATE);
	snprintf(entry->allocate.file, sizeof(entry->allocate.file), "%s", file);
	entry->allocate.alignment = alignment;
	entry->allocate.zone = (uint8_t)zone;
}

static void point(struct loader *loader, const char *file, uint32_t offset, uint32_t bytes)
{
	struct loader_entry *entry = next(loader, LOADER_POINTER);
	snprintf(entry->pointer.file, sizeof(entry->pointer.file), "%s", file);
	snprintf(entry->pointer.target, sizeof(entry->pointer.target), "%s", TABLES);
	entry->pointer.offset = offset;
	entry->pointer.bytes = (uint8_t)bytes;
}

static void sum(
	struct loader *loader, const char *file, uint32_t offset, uint32_t start, uint32_t length)
{
	struct loader_entry *entry = next(loader, LOADER_CHECKSUM);
	snprintf(entry->checksum.file, sizeof(entry->checksum.file), "%s", file);
	entry->checksum.offset = offset;
	entry->checksum.start = start;
	entry->checksum.length = length;
}

static void add_acpi(struct fw_cfg *fw, const struct firmware_description *d)
{
	cleanup(acpi_done) struct acpi acpi = {};
	const struct acpi_options options = { .cpus = d->cpus, .generation_at = FIRMWARE_OWN_PAGE };
	uint8_t root[ACPI_RSDP_BYTES];
	cleanup(free) struct loader *loader = alloc(struct loader);
	acpi_build(&options, &acpi);
	acpi_rsdp(root, acpi.xsdt_offset, true);
	allocate(loader, TABLES, 64, ZONE_HIGH);
	allocate(loader, ROOT_POINTER, 16, ZONE_FSEG);
	for (size_t i = 0; i < acpi.fix_count; i++)
		point(loader, TABLES, acpi.fixes[i].offset, acpi.fixes[i].bytes);
	for (size_t i = 0; i < acpi.table_count; i++)
		sum(loader, TABLES, acpi.tables[i].offset + ACPI_CHECKSUM_OFFSET,
			acpi.tables[i].offset, acpi.tables[i].length);
	point(loader, ROOT_POINTER, ACPI_RSDP_XSDT, 8);
	sum(loader, ROOT_POINTER, ACPI_RSDP_CHECKSUM, 0, ACPI_RSDP_V1_BYTES);
	sum(loader, ROOT_POINTER, ACPI_RSDP_CHECKSUM_2, 0, ACPI_RSDP_BYTES);
	fw_cfg_file(fw, TABLES, acpi.data, (uint32_t)acpi.length);
	fw_cfg_file(fw, ROOT_POINTER, root, sizeof(root));
	fw_cfg_file(fw, "etc/table-loader", loader->entries,
		loader->count * (uint32_t)sizeof(struct loader_entry));
}

static void add_number(struct fw_cfg *fw, const char *name, uint64_t value, uint32_t bytes)
{
	fw_cfg_file(fw, name, &value, bytes);
}

void firmware_describe(struct fw_cfg *fw, const struct firmware_description *d)
{
	add_memory_map(fw, d);
	add_acpi(fw, d);
	/* SeaBIOS's own screen and keyboard, on the first serial port. */
	add_number(fw, "etc/sercon-port", SERIAL_PORT, 2);
	/* Nobody presses a key in time: no menu, no picture; when nothing boots, again in a minute. */
	add_number(fw, "etc/show-boot-menu", 0, 2);
	add_number(fw, "etc/boot-menu-wait", 0, 4);
	add_number(fw, "etc/boot-fail-wait", 60000, 4);
	add_number(fw, "etc/max-cpus", d->cpus, 2);
	/* Behind it the firmware may put large windows of devices. */
	if (d->room_end)
		add_number(fw, "etc/reserved-memory-end", d->room_end, 8);
	if (d->boot_order)
		fw_cfg_file(fw, "bootorder", d->boot_order, (uint32_t)strlen(d->boot_order) + 1);
}
