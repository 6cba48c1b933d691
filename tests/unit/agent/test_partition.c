/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/partition.h"

#include <errno.h>

#include "test.h"

#define ENTRIES_BYTES (128 * 128)
#define SECTORS       2048u /* of the image */

static void put32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, 4);
}

static void put64(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, 8);
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t value;
	memcpy(&value, at, 8);
	return value;
}

static void mbr(uint8_t record[512], uint8_t type)
{
	memset(record, 0, 512);
	record[510] = 0x55;
	record[511] = 0xaa;
	record[446 + 4] = 0x0c;
	put32(record + 446 + 8, 64);
	put32(record + 446 + 12, 100);
	record[462 + 4] = type;
	put32(record + 462 + 8, 200);
	put32(record + 462 + 12, 300);
}

static void grows_the_last_of_an_mbr(void)
{
	uint8_t record[512];
	mbr(record, 0x83);
	expect_equal(partition_grow_mbr(record, 10000), 1);
	expect_equal(get64(record + 462 + 8) >> 32, 9800);
	expect_equal(partition_grow_mbr(record, 10000), 0);
	expect_equal(partition_grow_mbr(record, 100), 0);
	mbr(record, 0x07);
	expect_equal(partition_grow_mbr(record, 10000), 0);
	record[510] = 0;
	expect_equal(partition_grow_mbr(record, 10000), -EINVAL);
}

static void gpt(uint8_t header[512], uint8_t *entries)
{
	memset(header, 0, 512);
	memset(entries, 0, ENTRIES_BYTES);
	entries[0] = 1; /* a type */
	put64(entries + 32, 40);
	put64(entries + 40, 99);
	entries[128] = 2;
	put64(entries + 128 + 32, 100);
	put64(entries + 128 + 40, 500);
	memcpy(header, "EFI PART", 8);
	put32(header + 8, 0x10000);
	put32(header + 12, 92);
	put64(header + 24, 1);
	put64(header + 32, SECTORS - 1);
	put64(header + 40, 34);
	put64(header + 48, SECTORS - 34);
	put64(header + 72, 2);
	put32(header + 80, 128);
	put32(header + 84, 128);
	put32(header + 88, partition_crc(entries, ENTRIES_BYTES));
	put32(header + 16, partition_crc(header, 92));
}

static void grows_the_last_of_a_gpt(void)
{
	static uint8_t entries[ENTRIES_BYTES];
	uint8_t header[512], backup[512];
	gpt(header, entries);
	expect_equal(partition_grow_gpt(header, entries, ENTRIES_BYTES, 10000, backup), 1);
	expect_equal(get64(entries + 128 + 40), 10000 - 34);
	expect_equal(get64(entries + 40), 99);
	expect_equal(get64(header + 32), 9999);
	expect_equal(get64(backup + 24), 9999);
	expect_equal(get64(backup + 32), 1);
	expect_equal(get64(backup + 72), 9999 - 32);
	/* What was written reads as whole. */
	expect_equal(partition_grow_gpt(header, entries, ENTRIES_BYTES, 10000, backup), 0);
}

static void refuses_a_broken_gpt(void)
{
	static uint8_t entries[ENTRIES_BYTES];
	uint8_t header[512], backup[512];
	gpt(header, entries);
	entries[200] ^= 1;
	expect_equal(partition_grow_gpt(header, entries, ENTRIES_BYTES, 10000, backup), -EINVAL);
	gpt(header, entries);
	header[40] ^= 1;
	expect_equal(partition_grow_gpt(header, entries, ENTRIES_BYTES, 10000, backup), -EINVAL);
	gpt(header, entries);
	expect_equal(partition_grow_gpt(header, entries, ENTRIES_BYTES, 40, backup), -EINVAL);
	uint64_t sector;
	size_t bytes;
	put32(header + 80, UINT32_MAX);
	expect_equal(partition_gpt_table(header, &sector, &bytes), -EINVAL);
}

static void counts_as_others_do(void)
{
	expect_equal(partition_crc("123456789", 9), 0xcbf43926u);
}

static const struct test tests[] = {
	{ "the last Linux partition of an MBR grows to the end", grows_the_last_of_an_mbr },
	{ "the last partition of a GPT grows, and its backup moves", grows_the_last_of_a_gpt },
	{ "a GPT whose sums are wrong is left alone", refuses_a_broken_gpt },
	{ "the sum is that of GPT", counts_as_others_do },
};

TEST_MAIN(tests)
