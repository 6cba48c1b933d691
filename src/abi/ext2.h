/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ext2.h - the descriptor of a group of an ext2 file system, as it stands on a volume.
 *
 * With EXT2_RO_GROUP_SUMS a group of which nothing is used has no maps yet: its descriptor says so, and a sum over the
 * descriptor shows that it is whole. Who uses the group first writes its maps.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define EXT2_RO_GROUP_SUMS 0x10u

#define EXT2_INODES_UNUSED 1u /* no map of inodes, and nothing in the table counts */
#define EXT2_BLOCKS_UNUSED 2u /* no map of blocks: what is not for data is known by where it lies */
#define EXT2_TABLE_ZERO    4u /* the table of inodes is zero where nothing was written */

struct ext2_group {
	uint32_t block_map, inode_map, inode_table;
	uint16_t free_blocks, free_inodes, directories, flags;
	uint32_t reserved;
	uint16_t map_sums[2];
	uint16_t unused_inodes; /* at the end of the table */
	uint16_t sum;
};
_Static_assert(
	sizeof(struct ext2_group) == 32 && offsetof(struct ext2_group, sum) == 30, "on disk");

static inline uint16_t ext2_sum_up(uint16_t sum, const void *data, size_t size)
{
	/* CRC-16 with the polynomial 0x8005 from the lowest bit on, four bits at a time. */
	static const uint16_t step[16] = { 0x0000, 0xcc01, 0xd801, 0x1400, 0xf001, 0x3c00, 0x2800,
		0xe401, 0xa001, 0x6c00, 0x7800, 0xb401, 0x5000, 0x9c01, 0x8801, 0x4400 };
	const uint8_t *bytes = (const uint8_t *)data;
	for (size_t i = 0; i < size; i++) {
		sum = (uint16_t)(sum >> 4 ^ step[(sum ^ bytes[i]) & 0xf]);
		sum = (uint16_t)(sum >> 4 ^ step[(sum ^ bytes[i] >> 4) & 0xf]);
	}
	return sum;
}

/* What `sum` of group `number` must be. */
static inline uint16_t ext2_group_sum(
	const uint8_t uuid[16], uint32_t number, const struct ext2_group *group)
{
	uint16_t sum = ext2_sum_up(0xffff, uuid, 16);
	sum = ext2_sum_up(sum, &number, sizeof(number));
	return ext2_sum_up(sum, group, offsetof(struct ext2_group, sum));
}
