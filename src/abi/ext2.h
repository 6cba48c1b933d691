/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ext2.h - an ext2 file system as it stands on a volume: its super block, the descriptor of a group, an inode. For who
 * makes one, who looks whether there is one, and who writes to it. Little-endian, revision 1, blocks of 4096 bytes.
 *
 * With EXT2_RO_GROUP_SUMS a group of which nothing is used has no maps yet: its descriptor says so, and a sum over the
 * descriptor shows that it is whole. Who uses the group first writes its maps.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define EXT2_BLOCK            4096u
#define EXT2_BLOCK_LOG        2u /* of kilobytes */
#define EXT2_SUPER_AT         1024u
#define EXT2_SUPER_MAGIC      0xef53u
#define EXT2_STATE_VALID      1u
#define EXT2_STATE_ERRORS     2u
#define EXT2_COMPAT_ATTR      8u /* attributes with names */
#define EXT2_COMPAT_RESIZE    0x10u
#define EXT2_INCOMPAT_TYPES   2u /* entries of directories have types */
#define EXT2_RO_SPARSE_SUPER  1u /* few groups have copies of the super block */
#define EXT2_RO_LARGE_FILE    2u
#define EXT2_RO_GROUP_SUMS    0x10u
#define EXT2_ROOT             2u
#define EXT2_FIRST_INODE      11u
#define EXT2_DIRECT           12u
#define EXT2_TYPE_DIRECTORY   2u
#define EXT2_INODE_BYTES      256u /* of a new one; 128 is known, too */
#define EXT2_INODE_BYTES_LESS 128u

#define EXT2_INODES_UNUSED 1u /* no map of inodes, and nothing in the table counts */
#define EXT2_BLOCKS_UNUSED 2u /* no map of blocks: what is not for data is known by where it lies */
#define EXT2_TABLE_ZERO    4u /* the table of inodes is zero where nothing was written */

struct ext2_super {
	uint32_t inodes, blocks, reserved_blocks, free_blocks, free_inodes, first_block, block_log,
		fragment_log, blocks_per_group, fragments_per_group, inodes_per_group, mount_time,
		write_time;
	uint16_t mounts, mounts_most, magic, state, errors, minor;
	uint32_t check_time, check_interval, creator, revision;
	uint16_t reserved_uid, reserved_gid;
	uint32_t first_inode;
	uint16_t inode_bytes, group;
	uint32_t compat, incompat, ro_compat;
	uint8_t uuid[16], names[80];
	uint32_t bitmap_use;
	uint8_t preallocate[2];
	uint16_t reserved_descriptors;
	uint8_t journal_uuid[16];
	uint32_t journal[3], hash_seed[4];
	uint8_t hash_version, journal_kind;
	uint16_t descriptor_bytes;
	uint32_t default_options, first_meta_group, make_time, journal_blocks[17], high[3];
	uint16_t extra_least, extra_wanted;
};
_Static_assert(offsetof(struct ext2_super, magic) == 56 &&
		offsetof(struct ext2_super, uuid) == 104 &&
		offsetof(struct ext2_super, default_options) == 256 &&
		sizeof(struct ext2_super) == 352,
	"on disk");

/* What is known of an inode; one of 128 bytes has the first 128. */
struct ext2_inode {
	uint16_t mode, uid;
	uint32_t size;
	uint32_t atime, ctime, mtime, dtime;
	uint16_t gid, links;
	uint32_t sectors; /* of 512 bytes, with indirect blocks */
	uint32_t flags, reserved1;
	uint32_t block[15];
	uint32_t generation, file_acl, size_high, reserved2;
	uint16_t reserved3[2];
	uint16_t uid_high, gid_high;
	uint32_t reserved4;
	uint16_t extra_size, reserved5;
	uint32_t ctime_extra, mtime_extra, atime_extra, born, born_extra, version_high, project;
};
_Static_assert(sizeof(struct ext2_inode) == 160, "on disk");

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
