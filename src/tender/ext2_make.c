/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ext2_make.c - an empty ext2 on a volume of which nothing was ever written.
 *
 * Theory of operation. Starting mke2fs in a jail takes longer than all the rest of a unikernel's first start. A volume
 * that is one hole reads as zero, so that only what is not zero is written: the head, the descriptors and their copies, the
 * maps of the first group and of the last one, the root and lost+found. The other groups have no maps until they are
 * used, as their descriptors say. Block 0, which says that there is a file system, goes last.
 */
#include "tender/ext2_make.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "abi/ext2.h"
#include "base/file.h"

#define BLOCK          EXT2_BLOCK
#define BLOCKS_A_GROUP 32768u
#define BYTES_AN_INODE 16384u
#define INODES_A_BLOCK (BLOCK / EXT2_INODE_BYTES)
#define LOST_FOUND     EXT2_FIRST_INODE
#define LOST_BLOCKS    4u
#define ROOT_BLOCKS    (1 + LOST_BLOCKS)
#define GROUP_LEAST    50u /* blocks for data, without which a last group is not worth having */
#define BYTES_MIN      MIB
#define BLOCKS_MAX     UINT32_MAX
#define EXTRA_BYTES    32u
/* In block 0 until it is written, last of all. */
#define BEGUN           "berth: an ext2 is being made here"
#define DEFAULT_OPTIONS 0xcu /* user_xattr, acl */

/* As large as it is made. */
struct inode {
	struct ext2_inode known;
	uint8_t rest[EXT2_INODE_BYTES - sizeof(struct ext2_inode)];
};

struct layout {
	struct ext2_super head;
	struct ext2_group *descriptors;
	uint32_t group_count, descriptor_blocks, table_blocks;
};

static bool is_power_of(uint32_t number, uint32_t base)
{
	while (number % base == 0)
		number /= base;
	return number == 1;
}

/* Which groups have a copy of the head. */
static bool has_head(uint32_t group)
{
	return group <= 1 || is_power_of(group, 3) || is_power_of(group, 5) ||
		is_power_of(group, 7);
}

static uint32_t head_blocks(const struct layout *layout, uint32_t group)
{
	return has_head(group) ? 1 + layout->descriptor_blocks : 0;
}

/* What of a group is not for data. */
static uint32_t taken_of(const struct layout *layout, uint32_t group)
{
	return head_blocks(layout, group) + 2 + layout->table_blocks;
}

static uint32_t blocks_of(const struct layout *layout, uint32_t group)
{
	uint32_t left = layout->head.blocks - group * BLOCKS_A_GROUP;
	return left < BLOCKS_A_GROUP ? left : BLOCKS_A_GROUP;
}

static void count_groups(struct layout *layout)
{
	struct ext2_super *head = &layout->head;
	uint64_t inodes = (uint64_t)head->blocks * BLOCK / BYTES_AN_INODE;
	layout->group_count =
		(uint32_t)(((uint64_t)head->blocks + BLOCKS_A_GROUP - 1) / BLOCKS_A_GROUP);
	uint64_t each = (inodes + layout->group_count - 1) / layout->group_count;
	each = (each + INODES_A_BLOCK - 1) / INODES_A_BLOCK * INODES_A_BLOCK;
	head->inodes_per_group = (uint32_t)each;
	head->inodes = (uint32_t)each * layout->group_count;
	layout->table_blocks = (uint32_t)each / INODES_A_BLOCK;
	layout->descriptor_blocks =
		(uint32_t)(((uint64_t)layout->group_count * sizeof(struct ext2_group) + BLOCK - 1) /
			BLOCK);
}

/* The last group is shorter than the others and has its map of blocks from the beginning. */
static uint16_t flags_of(const struct layout *layout, uint32_t group)
{
	if (group == 0)
		return EXT2_TABLE_ZERO;
	return EXT2_TABLE_ZERO | EXT2_INODES_UNUSED |
		(group < layout->group_count - 1 ? EXT2_BLOCKS_UNUSED : 0);
}

static void fill_descriptors(struct layout *layout)
{
	for (uint32_t i = 0; i < layout->group_count; i++) {
		struct ext2_group *one = &layout->descriptors[i];
		uint32_t taken = taken_of(layout, i) + (i == 0 ? ROOT_BLOCKS : 0);
		one->block_map = i * BLOCKS_A_GROUP + head_blocks(layout, i);
		one->inode_map = one->block_map + 1;
		one->inode_table = one->block_map + 2;
		one->free_blocks = (uint16_t)(blocks_of(layout, i) - taken);
		one->free_inodes =
			(uint16_t)(layout->head.inodes_per_group - (i == 0 ? EXT2_FIRST_INODE : 0));
		one->directories = i == 0 ? 2 : 0;
		one->flags = flags_of(layout, i);
		one->unused_inodes = i == 0 ? 0 : one->free_inodes;
		one->sum = ext2_group_sum(layout->head.uuid, i, one);
		layout->head.free_blocks += one->free_blocks;
		layout->head.free_inodes += one->free_inodes;
	}
}

static int plan_layout(struct layout *layout, uint64_t bytes, struct error *e)
{
	struct ext2_super *head = &layout->head;
	uint64_t blocks = bytes / BLOCK;
	uint32_t now = (uint32_t)time(NULL);
	*head = (struct ext2_super){ .blocks =
					     (uint32_t)(blocks < BLOCKS_MAX ? blocks : BLOCKS_MAX),
		.block_log = EXT2_BLOCK_LOG,
		.fragment_log = EXT2_BLOCK_LOG,
		.blocks_per_group = BLOCKS_A_GROUP,
		.fragments_per_group = BLOCKS_A_GROUP,
		.write_time = now,
		.mounts_most = UINT16_MAX,
		.magic = EXT2_SUPER_MAGIC,
		.state = EXT2_STATE_VALID,
		.errors = 1,
		.check_time = now,
		.revision = 1,
		.first_inode = EXT2_FIRST_INODE,
		.inode_bytes = EXT2_INODE_BYTES,
		.compat = EXT2_COMPAT_ATTR,
		.incompat = EXT2_INCOMPAT_TYPES,
		.ro_compat = EXT2_RO_SPARSE_SUPER | EXT2_RO_LARGE_FILE | EXT2_RO_GROUP_SUMS,
		.default_options = DEFAULT_OPTIONS,
		.make_time = now,
		.extra_least = EXTRA_BYTES,
		.extra_wanted = EXTRA_BYTES };
	count_groups(layout);
	uint32_t last = layout->group_count - 1;
	if (last > 0 && blocks_of(layout, last) < taken_of(layout, last) + GROUP_LEAST) {
		head->blocks = last * BLOCKS_A_GROUP;
		count_groups(layout);
	}
	if (getrandom(head->uuid, sizeof(head->uuid), 0) != sizeof(head->uuid) ||
		getrandom(head->hash_seed, sizeof(head->hash_seed), 0) != sizeof(head->hash_seed))
		return error_errno(e, "random bytes");
	head->uuid[6] =
		(uint8_t)((head->uuid[6] & 0x0f) | 0x40); /* a random UUID, as RFC 4122 says so */
	head->uuid[8] = (uint8_t)((head->uuid[8] & 0x3f) | 0x80);
	layout->descriptors =
		(void *)alloc_array((size_t)layout->descriptor_blocks * BLOCK, uint8_t);
	fill_descriptors(layout);
	return 0;
}

static void set_bits(uint8_t *map, uint32_t from, uint32_t to)
{
	for (; from < to && from % 8; from++)
		map[from / 8] |= (uint8_t)(1u << from % 8);
	memset(map + from / 8, 0xff, (to - from) / 8);
	for (from += (to - from) / 8 * 8; from < to; from++)
		map[from / 8] |= (uint8_t)(1u << from % 8);
}

/* The two maps; what is behind the group's end is taken. */
static void fill_maps(const struct layout *layout, uint32_t group, uint8_t *maps)
{
	uint32_t taken = taken_of(layout, group) + (group == 0 ? ROOT_BLOCKS : 0);
	set_bits(maps, 0, taken);
	set_bits(maps, blocks_of(layout, group), BLOCK * 8);
	set_bits(maps + BLOCK, 0, group == 0 ? EXT2_FIRST_INODE : 0);
	set_bits(maps + BLOCK, layout->head.inodes_per_group, BLOCK * 8);
}

static int put(int fd, const void *data, size_t size, uint64_t at, struct error *e)
{
	ssize_t done = pwrite(fd, data, size, (off_t)at);
	if (done == (ssize_t)size)
		return 0;
	if (done >= 0)
		errno = ENOSPC;
	return error_errno(e, "make its file system");
}

static int put_group(int fd, struct layout *layout, uint32_t group, uint8_t *bytes, struct error *e)
{
	uint32_t heads = head_blocks(layout, group);
	uint32_t maps = layout->descriptors[group].flags & EXT2_BLOCKS_UNUSED ? 0 : 2;
	if (heads + maps == 0)
		return 0;
	memset(bytes, 0, (heads + 2) * (size_t)BLOCK);
	if (heads) {
		layout->head.group = (uint16_t)group;
		memcpy(bytes + (group == 0 ? EXT2_SUPER_AT : 0), &layout->head,
			sizeof(layout->head));
		memcpy(bytes + BLOCK, layout->descriptors,
			layout->group_count * sizeof(struct ext2_group));
	}
	fill_maps(layout, group, bytes + heads * (size_t)BLOCK);
	uint64_t at = (uint64_t)group * BLOCKS_A_GROUP * BLOCK;
	uint32_t first = group == 0; /* block 0 goes last */
	return put(fd, bytes + first * (size_t)BLOCK, (heads + maps - first) * (size_t)BLOCK,
		at + first * BLOCK, e);
}

static uint8_t *put_entry(
	uint8_t *at, uint32_t inode, uint16_t bytes, const char *name, uint8_t type)
{
	size_t length = strlen(name);
	memcpy(at, &inode, sizeof(inode));
	memcpy(at + 4, &bytes, sizeof(bytes));
	at[6] = (uint8_t)length;
	at[7] = type;
	memcpy(at + 8, name, length);
	return at + bytes;
}

static struct inode directory(
	const struct layout *layout, uint16_t mode, uint16_t links, uint32_t block, uint32_t count)
{
	uint32_t now = layout->head.make_time;
	struct inode inode = { .known.mode = (uint16_t)(S_IFDIR | mode),
		.known.size = count * BLOCK,
		.known.atime = now,
		.known.ctime = now,
		.known.mtime = now,
		.known.links = links,
		.known.sectors = count * (BLOCK / 512),
		.known.extra_size = EXTRA_BYTES };
	for (uint32_t i = 0; i < count; i++)
		inode.known.block[i] = block + i;
	return inode;
}

/* The root and lost+found, behind the first group's table; their inodes in its first block. */
static int put_root(int fd, const struct layout *layout, struct error *e)
{
	cleanup(free) uint8_t *blocks = alloc_array(ROOT_BLOCKS * BLOCK, uint8_t);
	cleanup(free) struct inode *inodes = alloc_array(INODES_A_BLOCK, struct inode);
	uint8_t *at = blocks;
	uint32_t table = layout->descriptors[0].inode_table;
	uint32_t root = table + layout->table_blocks;
	at = put_entry(at, EXT2_ROOT, 12, ".", EXT2_TYPE_DIRECTORY);
	at = put_entry(at, EXT2_ROOT, 12, "..", EXT2_TYPE_DIRECTORY);
	at = put_entry(at, LOST_FOUND, BLOCK - 24, "lost+found", EXT2_TYPE_DIRECTORY);
	at = put_entry(at, LOST_FOUND, 12, ".", EXT2_TYPE_DIRECTORY);
	at = put_entry(at, EXT2_ROOT, BLOCK - 12, "..", EXT2_TYPE_DIRECTORY);
	for (uint32_t i = 1; i < LOST_BLOCKS; i++)
		at = put_entry(at, 0, BLOCK, "", 0);
	inodes[EXT2_ROOT - 1] = directory(layout, 0755, 3, root, 1);
	inodes[LOST_FOUND - 1] = directory(layout, 0700, 2, root + 1, LOST_BLOCKS);
	int r = put(fd, blocks, ROOT_BLOCKS * BLOCK, (uint64_t)root * BLOCK, e);
	return r < 0 ? r : put(fd, inodes, BLOCK, (uint64_t)table * BLOCK, e);
}

static bool is_one_hole(int fd)
{
	struct stat status;
	return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && lseek(fd, 0, SEEK_DATA) < 0 &&
		errno == ENXIO;
}

/* Somebody was killed here before block 0 was written: all is a hole again. */
static bool is_left_begun(int fd, uint64_t bytes)
{
	char mark[sizeof(BEGUN)];
	return file_read_at(fd, mark, sizeof(mark), 0) == 0 &&
		memcmp(mark, BEGUN, sizeof(mark)) == 0 &&
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) == 0;
}

int ext2_make(int fd, uint64_t bytes, struct error *e)
{
	struct layout layout = {};
	if (bytes < BYTES_MIN || !(is_one_hole(fd) || is_left_begun(fd, bytes)))
		return 0;
	int r = plan_layout(&layout, bytes, e);
	if (r < 0)
		return r;
	cleanup(free) void *descriptors = layout.descriptors;
	r = put(fd, BEGUN, sizeof(BEGUN), 0, e);
	cleanup(free) uint8_t *one =
		alloc_array((3 + (size_t)layout.descriptor_blocks) * BLOCK, uint8_t);
	for (uint32_t group = layout.group_count; r == 0 && group-- > 0;)
		r = put_group(fd, &layout, group, one, e);
	if (r == 0)
		r = put_root(fd, &layout, e);
	/* The first group was the last one: its block 0 still stands there. */
	if (r == 0)
		r = put(fd, one, BLOCK, 0, e);
	return r < 0 ? r : 1;
}
