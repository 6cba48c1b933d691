/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fat.c - boot sector, two tables, the root, and three chains of clusters one behind the other.
 */
#include "disk/fat.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

#define SECTOR       512
#define ENTRY        32
#define ROOT_SECTORS 4
#define FIRST        2    /* cluster; a table's first two entries are no clusters */
#define CLUSTERS_MIN 4200 /* with fewer it would be FAT12 */
#define CLUSTERS_MAX 60000
#define END          0xffff
#define DIRECTORY    0x10
#define READ_ONLY    0x01

static void put_entry(
	uint8_t *at, const char name[11], uint8_t kind, uint32_t cluster, size_t length)
{
	memcpy(at, name, 11);
	at[11] = kind;
	put_le16(at + 16, 0x21); /* the first day that it knows, thrice: made, seen, written */
	put_le16(at + 18, 0x21);
	put_le16(at + 24, 0x21);
	put_le16(at + 26, cluster);
	put_le32(at + 28, (uint32_t)length);
}

/* "." and "..": 0 is the root. */
static void put_directory(uint8_t *at, uint32_t self, uint32_t above)
{
	put_entry(at, ".          ", DIRECTORY, self, 0);
	put_entry(at + ENTRY, "..         ", DIRECTORY, above, 0);
}

static void put_boot(uint8_t *at, uint32_t sectors, uint32_t table_sectors)
{
	static const uint8_t jump[] = { 0xeb, 0x3c, 0x90 };
	memcpy(at, jump, sizeof(jump));
	memcpy(at + 3, "BERTH   ", 8);
	put_le16(at + 11, SECTOR);
	at[13] = 1;           /* sectors of a cluster */
	put_le16(at + 14, 1); /* before the tables */
	at[16] = 2;           /* tables */
	put_le16(at + 17, ROOT_SECTORS * SECTOR / ENTRY);
	put_le16(at + 19, sectors < 65536 ? sectors : 0);
	at[21] = 0xf8;
	put_le16(at + 22, table_sectors);
	put_le16(at + 24, 32); /* a geometry that nobody asks for */
	put_le16(at + 26, 64);
	put_le32(at + 32, sectors < 65536 ? 0 : sectors);
	at[36] = 0x80;
	at[38] = 0x29;
	put_le32(at + 39, 0x62657274);
	memcpy(at + 43, "NO NAME    FAT16   ", 19);
	at[510] = 0x55;
	at[511] = 0xaa;
}

static void put_table(uint8_t *at, uint32_t program_clusters)
{
	put_le16(at, 0xfff8);
	put_le16(at + 2, END);
	put_le16(at + 4, END);
	put_le16(at + 6, END);
	for (uint32_t i = 0; i < program_clusters; i++)
		put_le16(at + 2 * (FIRST + 2 + i), i + 1 < program_clusters ? FIRST + 3 + i : END);
}

int fat_add(const void *program, size_t length, struct text *ret, struct error *e)
{
	if (length == 0 || length > FAT_PROGRAM_MAX)
		return error_set(e, -E2BIG, "a program of %zu bytes has no place", length);
	uint32_t program_clusters = (uint32_t)((length + SECTOR - 1) / SECTOR);
	uint32_t clusters = program_clusters + 2;
	if (clusters < CLUSTERS_MIN)
		clusters = CLUSTERS_MIN;
	assert(clusters < CLUSTERS_MAX);
	uint32_t table_sectors = (2 * (clusters + FIRST) + SECTOR - 1) / SECTOR;
	uint32_t root = 1 + 2 * table_sectors, data = root + ROOT_SECTORS;
	uint32_t sectors = data + clusters;
	cleanup(free) uint8_t *all = alloc_array((size_t)sectors * SECTOR, uint8_t);
	put_boot(all, sectors, table_sectors);
	put_table(all + SECTOR, program_clusters);
	put_table(all + (size_t)(1 + table_sectors) * SECTOR, program_clusters);
	uint8_t *top = all + (size_t)root * SECTOR, *efi = all + (size_t)data * SECTOR;
	uint8_t *boot = efi + SECTOR;
	put_entry(top, "EFI        ", DIRECTORY, FIRST, 0);
	put_directory(efi, FIRST, 0);
	put_entry(efi + (size_t)2 * ENTRY, "BOOT       ", DIRECTORY, FIRST + 1, 0);
	put_directory(boot, FIRST + 1, FIRST);
	put_entry(boot + (size_t)2 * ENTRY, "BOOTX64 EFI", READ_ONLY, FIRST + 2, length);
	memcpy(boot + SECTOR, program, length);
	text_add_n(ret, all, (size_t)sectors * SECTOR);
	return 0;
}
