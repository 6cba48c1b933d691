/* SPDX-License-Identifier: Apache-2.0 */
/*
 * partition.c - the tables at the beginning and the end of a disk.
 */
#include "agent/partition.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "base/file.h"

#define ENTRY_AT    446
#define ENTRY_BYTES 16
#define ENTRIES     4
#define TYPE_LINUX  0x83
#define TYPE_GPT    0xee
#define TABLE_MAX   (128 * KIB)
#define GPT_ENTRY   128

uint32_t partition_crc(const void *bytes, size_t length)
{
	const uint8_t *at = bytes;
	uint32_t crc = UINT32_MAX;
	for (size_t i = 0; i < length; i++) {
		crc ^= at[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (UINT32_C(0xedb88320) & -(crc & 1));
	}
	return ~crc;
}

static bool is_record(const uint8_t *record)
{
	return record[510] == 0x55 && record[511] == 0xaa;
}

bool partition_is_protective(const uint8_t record[PARTITION_SECTOR])
{
	return is_record(record) && record[ENTRY_AT + 4] == TYPE_GPT;
}

int partition_grow_mbr(uint8_t record[PARTITION_SECTOR], uint64_t sectors)
{
	uint8_t *last = NULL;
	if (!is_record(record))
		return -EINVAL;
	for (int i = 0; i < ENTRIES; i++) {
		uint8_t *entry = record + ENTRY_AT + i * ENTRY_BYTES;
		if (entry[4] != 0 && (!last || get_le32(entry + 8) > get_le32(last + 8)))
			last = entry;
	}
	if (!last || last[4] != TYPE_LINUX)
		return 0;
	uint64_t start = get_le32(last + 8), end = sectors > UINT32_MAX ? UINT32_MAX : sectors;
	if (start >= end || end - start <= get_le32(last + 12))
		return 0;
	put_le32(last + 12, (uint32_t)(end - start));
	return 1;
}

int partition_gpt_table(
	const uint8_t header[PARTITION_SECTOR], uint64_t *ret_sector, size_t *ret_bytes)
{
	uint64_t count = get_le32(header + 80), size = get_le32(header + 84);
	if (memcmp(header, "EFI PART", 8) != 0 || size != GPT_ENTRY || count == 0 ||
		count * size > TABLE_MAX || get_le64(header + 72) != 2)
		return -EINVAL;
	*ret_sector = get_le64(header + 72);
	*ret_bytes = (size_t)(count * size);
	return 0;
}

/* Its own sum is counted as zero. */
static void seal(uint8_t *header, uint32_t size)
{
	put_le32(header + 16, 0);
	put_le32(header + 16, partition_crc(header, size));
}

/* A file system that is not the firmware's; the one that begins last. */
static uint8_t *last_entry(uint8_t *entries, size_t bytes)
{
	static const uint8_t none[16],
		efi[16] = { 0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0,
			0xc9, 0x3e, 0xc9, 0x3b };
	uint8_t *last = NULL;
	for (uint8_t *at = entries; at + GPT_ENTRY <= entries + bytes; at += GPT_ENTRY)
		if (memcmp(at, none, 16) != 0 && (!last || get_le64(at + 32) > get_le64(last + 32)))
			last = at;
	return last && memcmp(last, efi, 16) != 0 ? last : NULL;
}

int partition_grow_gpt(uint8_t header[PARTITION_SECTOR], uint8_t *entries, size_t entries_bytes,
	uint64_t sectors, uint8_t ret_backup[PARTITION_SECTOR])
{
	uint32_t size = get_le32(header + 12), sum = get_le32(header + 16);
	uint64_t table;
	size_t bytes;
	if (partition_gpt_table(header, &table, &bytes) < 0 || bytes != entries_bytes ||
		size < 92 || size > PARTITION_SECTOR)
		return -EINVAL;
	seal(header, size);
	bool is_whole = get_le32(header + 16) == sum;
	put_le32(header + 16, sum);
	if (!is_whole || partition_crc(entries, entries_bytes) != get_le32(header + 88))
		return -EINVAL;
	uint64_t table_sectors = (entries_bytes + PARTITION_SECTOR - 1) / PARTITION_SECTOR;
	if (sectors < 2 * (table_sectors + 2) || get_le64(header + 40) >= sectors)
		return -EINVAL;
	uint64_t last_usable = sectors - table_sectors - 2;
	int is_grown = 0;
	uint8_t *last = last_entry(entries, entries_bytes);
	if (last && get_le64(last + 40) < last_usable &&
		get_le64(last + 32) <= get_le64(last + 40)) {
		put_le64(last + 40, last_usable);
		is_grown = 1;
	}
	put_le64(header + 32, sectors - 1);
	put_le64(header + 48, last_usable);
	put_le32(header + 88, partition_crc(entries, entries_bytes));
	memcpy(ret_backup, header, PARTITION_SECTOR);
	seal(header, size);
	put_le64(ret_backup + 24, sectors - 1);
	put_le64(ret_backup + 32, 1);
	put_le64(ret_backup + 72, sectors - 1 - table_sectors);
	seal(ret_backup, size);
	return is_grown;
}

static int write_at(int disk, const void *bytes, size_t length, uint64_t sector, struct error *e)
{
	if (pwrite(disk, bytes, length, (off_t)(sector * PARTITION_SECTOR)) != (ssize_t)length)
		return error_errno(e, "write the partition table");
	return 0;
}

static int grow_gpt(int disk, uint64_t sectors, struct error *e)
{
	uint8_t header[PARTITION_SECTOR], backup[PARTITION_SECTOR];
	uint64_t table;
	size_t bytes;
	int r = file_read_at(disk, header, sizeof(header), PARTITION_SECTOR);
	if (r < 0 || partition_gpt_table(header, &table, &bytes) < 0)
		return error_set(e, -EINVAL, "the image's GPT is broken");
	cleanup(free) uint8_t *entries = alloc_array(bytes, uint8_t);
	r = file_read_at(disk, entries, bytes, table * PARTITION_SECTOR);
	if (r < 0)
		return error_code(e, r, "read the image's GPT");
	int is_grown = partition_grow_gpt(header, entries, bytes, sectors, backup);
	if (is_grown < 0)
		return error_set(e, is_grown, "the image's GPT is broken");
	uint64_t table_sectors = (bytes + PARTITION_SECTOR - 1) / PARTITION_SECTOR;
	/* The backup first: a stop between leaves one that is whole. */
	r = write_at(disk, entries, bytes, sectors - 1 - table_sectors, e);
	if (r == 0)
		r = write_at(disk, backup, sizeof(backup), sectors - 1, e);
	if (r == 0)
		r = write_at(disk, entries, bytes, table, e);
	if (r == 0)
		r = write_at(disk, header, sizeof(header), 1, e);
	return r < 0 ? r : is_grown;
}

int partition_grow(int disk, struct error *e)
{
	uint8_t record[PARTITION_SECTOR];
	uint64_t bytes = 0;
	int block = 0;
	if (ioctl(disk, BLKGETSIZE64, &bytes) < 0 || ioctl(disk, BLKSSZGET, &block) < 0)
		return error_errno(e, "ask for the size of the disk");
	int r = file_read_at(disk, record, sizeof(record), 0);
	if (r < 0)
		return error_code(e, r, "read the partition table");
	int is_grown = 0;
	/* A table for blocks of another size means other places. */
	if (block == PARTITION_SECTOR && partition_is_protective(record)) {
		is_grown = grow_gpt(disk, bytes / PARTITION_SECTOR, e);
	} else if (block == PARTITION_SECTOR && is_record(record)) {
		is_grown = partition_grow_mbr(record, bytes / PARTITION_SECTOR);
		if (is_grown > 0) {
			r = write_at(disk, record, sizeof(record), 0, e);
			is_grown = r < 0 ? r : is_grown;
		}
	}
	if (is_grown < 0)
		return is_grown;
	if (fsync(disk) < 0 || ioctl(disk, BLKRRPART) < 0)
		return error_errno(e, "read the partition table anew");
	return is_grown;
}
