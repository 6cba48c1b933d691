/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ext2.c - the volume's head, its groups, what is free, and inodes.
 *
 * Theory of operation. Blocks have 4096 bytes (mke2fs is told so). A few blocks of metadata are remembered; each change
 * is written at once. The descriptors of all groups stay in memory, and the counts in them reach the volume with
 * ext2_sync(). The head says from ext2_open() to ext2_close() that the volume is in use; who finds it so counts anew.
 */
#include "unikernel/ext2.h"

#include <errno.h>
#include <sys/stat.h>

#include "unikernel/heap.h"

#define BUFFERS          48u
#define GROUPS_MOST      (1u << 16) /* 8 TiB */
#define ATTRIBUTES_MAGIC 0xea020000u

struct buffer {
	uint32_t block; /* 0: none, as no block of metadata is */
	uint64_t used;
	uint8_t *bytes;
};

static struct ext2_super super;
static struct ext2_group *groups;
static uint32_t group_count;
static bool *is_group_changed;
static bool has_changes;
static struct buffer buffers[BUFFERS];
static uint64_t buffer_clock;

static int read_volume(uint64_t offset, void *to, uint64_t size)
{
	return platform_volume_read(offset, to, size) == (int64_t)size ? 0 : -EIO;
}

static int write_volume(uint64_t offset, const void *from, uint64_t size)
{
	return platform_volume_write(offset, from, size) == (int64_t)size ? 0 : -EIO;
}

static struct buffer *buffer_of(uint32_t block)
{
	struct buffer *oldest = &buffers[0];
	for (uint32_t i = 0; i < BUFFERS; i++) {
		if (buffers[i].block == block && block) {
			buffers[i].used = ++buffer_clock;
			return &buffers[i];
		}
		if (buffers[i].used < oldest->used)
			oldest = &buffers[i];
	}
	if (!oldest->bytes)
		oldest->bytes = heap_page();
	oldest->block = 0;
	oldest->used = ++buffer_clock;
	return oldest;
}

const uint8_t *ext2_block(uint32_t block)
{
	if (!ext2_is_block(block))
		return NULL;
	struct buffer *buffer = buffer_of(block);
	if (!buffer->bytes)
		return NULL;
	if (buffer->block != block) {
		if (read_volume((uint64_t)block * EXT2_BLOCK, buffer->bytes, EXT2_BLOCK) < 0)
			return NULL;
		buffer->block = block;
	}
	return buffer->bytes;
}

int ext2_change(uint32_t block, uint32_t offset, const void *bytes, uint32_t size)
{
	uint8_t *at = (uint8_t *)(uintptr_t)ext2_block(block);
	if (!at)
		return -EIO;
	memcpy(at + offset, bytes, size);
	return write_volume((uint64_t)block * EXT2_BLOCK + offset, bytes, size);
}

/* Zeroes that are not on the volume yet. */
static uint8_t *fresh_block(uint32_t block)
{
	struct buffer *buffer = ext2_is_block(block) ? buffer_of(block) : NULL;
	if (!buffer || !buffer->bytes)
		return NULL;
	memset(buffer->bytes, 0, EXT2_BLOCK);
	buffer->block = block;
	return buffer->bytes;
}

int ext2_clear(uint32_t block)
{
	const uint8_t *bytes = fresh_block(block);
	return bytes ? write_volume((uint64_t)block * EXT2_BLOCK, bytes, EXT2_BLOCK) : -EIO;
}

bool ext2_is_block(uint32_t block)
{
	return block > super.first_block && block < super.blocks;
}

uint32_t ext2_first_block_of(uint32_t inode_number)
{
	return super.first_block +
		(inode_number - 1) / super.inodes_per_group * super.blocks_per_group;
}

static uint32_t blocks_of(uint32_t group)
{
	uint32_t start = super.first_block + group * super.blocks_per_group;
	uint32_t left = super.blocks - start;
	return left < super.blocks_per_group ? left : super.blocks_per_group;
}

/* The first clear bit from `from` on, or `count`. */
static uint32_t clear_bit(const uint8_t *bitmap, uint32_t from, uint32_t count)
{
	for (uint32_t bit = from; bit < count; bit++) {
		if (bit % 8 == 0 && bitmap[bit / 8] == 0xff) {
			bit += 7;
			continue;
		}
		if (!(bitmap[bit / 8] & (1u << bit % 8)))
			return bit;
	}
	return count;
}

/* Sets or clears a bit: 1 if that changed it. */
static int put_bit(uint32_t bitmap, uint32_t bit, bool value)
{
	const uint8_t *bytes = ext2_block(bitmap);
	if (!bytes)
		return -EIO;
	uint8_t byte = bytes[bit / 8], mask = (uint8_t)(1u << bit % 8);
	if (((byte & mask) != 0) == value)
		return 0;
	byte = value ? byte | mask : byte & (uint8_t)~mask;
	int r = ext2_change(bitmap, bit / 8, &byte, 1);
	return r < 0 ? r : 1;
}

static void set_bits(uint8_t *map, uint32_t from, uint32_t to)
{
	for (; from < to; from++)
		map[from / 8] |= (uint8_t)(1u << from % 8);
}

static void change_group(uint32_t index)
{
	is_group_changed[index] = has_changes = true;
}

static void sum_group(uint32_t index)
{
	if (super.ro_compat & EXT2_RO_GROUP_SUMS)
		groups[index].sum = ext2_group_sum(super.uuid, index, &groups[index]);
	is_group_changed[index] = false;
}

static uint16_t unused_of(uint32_t index)
{
	return super.ro_compat & EXT2_RO_GROUP_SUMS
		? groups[index].flags & (EXT2_INODES_UNUSED | EXT2_BLOCKS_UNUSED)
		: 0;
}

static int find_inode(uint32_t number, uint32_t *ret_block, uint32_t *ret_offset)
{
	if (number == 0 || number > super.inodes)
		return -EIO;
	uint32_t index = (number - 1) % super.inodes_per_group;
	uint64_t at = (uint64_t)index * super.inode_bytes;
	*ret_block = groups[(number - 1) / super.inodes_per_group].inode_table +
		(uint32_t)(at / EXT2_BLOCK);
	*ret_offset = (uint32_t)(at % EXT2_BLOCK);
	return 0;
}

static uint32_t table_blocks(void)
{
	return super.inodes_per_group * super.inode_bytes / EXT2_BLOCK;
}

static bool is_power_of(uint32_t number, uint32_t base)
{
	while (number % base == 0)
		number /= base;
	return number == 1;
}

/* The blocks at its beginning that are a copy of the head and of the descriptors. */
static uint32_t head_blocks(uint32_t index)
{
	bool has_head = index <= 1 || !(super.ro_compat & EXT2_RO_SPARSE_SUPER) ||
		is_power_of(index, 3) || is_power_of(index, 5) || is_power_of(index, 7);
	return has_head ? 1 +
			(group_count * (uint32_t)sizeof(struct ext2_group) + EXT2_BLOCK - 1) /
				EXT2_BLOCK
			: 0;
}

/* What of [block, end) is the group's own is taken. */
static void take_own(uint8_t *map, uint32_t index, uint32_t block, uint32_t end)
{
	uint32_t start = super.first_block + index * super.blocks_per_group;
	uint32_t last = start + blocks_of(index);
	block = block > start ? block : start;
	end = end < last ? end : last;
	if (block < end)
		set_bits(map, block - start, end - start);
}

static int write_block_map(uint32_t index)
{
	const struct ext2_group *group = &groups[index];
	uint8_t *map = fresh_block(group->block_map);
	if (!map)
		return -EIO;
	set_bits(map, 0, head_blocks(index) < blocks_of(index) ? head_blocks(index) : 0);
	take_own(map, index, group->block_map, group->block_map + 1);
	take_own(map, index, group->inode_map, group->inode_map + 1);
	take_own(map, index, group->inode_table, group->inode_table + table_blocks());
	set_bits(map, blocks_of(index), EXT2_BLOCK * 8);
	return write_volume((uint64_t)group->block_map * EXT2_BLOCK, map, EXT2_BLOCK);
}

static int write_inode_map(uint32_t index)
{
	const struct ext2_group *group = &groups[index];
	uint8_t *map = fresh_block(group->inode_map);
	if (!map)
		return -EIO;
	set_bits(map, super.inodes_per_group, EXT2_BLOCK * 8);
	return write_volume((uint64_t)group->inode_map * EXT2_BLOCK, map, EXT2_BLOCK);
}

/* The part of the table that nobody has written yet counts from now on. */
static int clear_table(uint32_t index)
{
	static const uint8_t zero[256];
	const struct ext2_group *group = &groups[index];
	bool is_new = unused_of(index) & EXT2_INODES_UNUSED;
	uint32_t unused = is_new ? super.inodes_per_group : group->unused_inodes, block, offset;
	if (group->flags & EXT2_TABLE_ZERO)
		return 0;
	if (unused > super.inodes_per_group)
		return -EIO;
	for (uint32_t i = super.inodes_per_group - unused; i < super.inodes_per_group; i++) {
		int r = find_inode(index * super.inodes_per_group + i + 1, &block, &offset);
		if (r == 0)
			r = offset ? ext2_change(block, offset, zero, super.inode_bytes)
				   : ext2_clear(block);
		if (r < 0)
			return r;
		if (offset == 0)
			i += EXT2_BLOCK / super.inode_bytes - 1;
	}
	return 0;
}

/* The first use of a group: its maps, then its descriptor, which says that it has them. */
static int use_group(uint32_t index)
{
	struct ext2_group *group = &groups[index];
	uint16_t unused = unused_of(index);
	if (!unused && !(super.ro_compat & EXT2_RO_GROUP_SUMS && group->unused_inodes))
		return 0;
	if (group->sum != ext2_group_sum(super.uuid, index, group) && !is_group_changed[index])
		return -EIO;
	int r = unused & EXT2_BLOCKS_UNUSED ? write_block_map(index) : 0;
	if (r == 0 && (unused & EXT2_INODES_UNUSED))
		r = write_inode_map(index);
	if (r == 0)
		r = clear_table(index);
	if (r < 0)
		return r;
	group->flags = EXT2_TABLE_ZERO;
	group->unused_inodes = 0;
	sum_group(index);
	return write_volume(EXT2_BLOCK + index * sizeof(*group), group, sizeof(*group));
}

int64_t ext2_take_block(uint32_t goal)
{
	uint32_t wanted =
		goal > super.first_block && goal < super.blocks ? goal - super.first_block : 0;
	uint32_t first = wanted / super.blocks_per_group;
	for (uint32_t i = 0; i <= group_count; i++) {
		uint32_t index = (first + i) % group_count;
		struct ext2_group *group = &groups[index];
		/* The first group once more at the end, from its start. */
		uint32_t from = i == 0 ? wanted % super.blocks_per_group : 0;
		if (group->free_blocks == 0)
			continue;
		const uint8_t *bitmap = use_group(index) < 0 ? NULL : ext2_block(group->block_map);
		if (!bitmap)
			return -EIO;
		uint32_t bit = clear_bit(bitmap, from, blocks_of(index));
		if (bit == blocks_of(index))
			continue;
		uint32_t block = super.first_block + index * super.blocks_per_group + bit;
		if (!ext2_is_block(block) || put_bit(group->block_map, bit, true) < 0)
			return -EIO;
		group->free_blocks--;
		super.free_blocks--;
		change_group(index);
		return block;
	}
	return -ENOSPC;
}

void ext2_free_block(uint32_t block)
{
	if (!ext2_is_block(block))
		return;
	for (uint32_t i = 0; i < BUFFERS; i++)
		if (buffers[i].block == block)
			buffers[i].block = 0;
	uint32_t index = (block - super.first_block) / super.blocks_per_group;
	if ((unused_of(index) & EXT2_BLOCKS_UNUSED) ||
		put_bit(groups[index].block_map,
			(block - super.first_block) % super.blocks_per_group, false) != 1)
		return;
	groups[index].free_blocks++;
	super.free_blocks++;
	change_group(index);
}

static uint32_t inode_bytes(void)
{
	return super.inode_bytes >= sizeof(struct ext2_inode) ? sizeof(struct ext2_inode)
							      : EXT2_INODE_BYTES_LESS;
}

int ext2_read_inode(uint32_t number, struct ext2_inode *ret)
{
	uint32_t block, offset;
	int r = find_inode(number, &block, &offset);
	const uint8_t *bytes = r < 0 ? NULL : ext2_block(block);
	if (!bytes)
		return -EIO;
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, bytes + offset, inode_bytes());
	return 0;
}

int ext2_write_inode(uint32_t number, const struct ext2_inode *inode)
{
	uint32_t block, offset;
	int r = find_inode(number, &block, &offset);
	return r < 0 ? r : ext2_change(block, offset, inode, inode_bytes());
}

/* Directories go where there is room, files to their directory. */
static uint32_t best_group(uint32_t directory, bool is_directory)
{
	uint32_t best = (directory - 1) / super.inodes_per_group;
	for (uint32_t i = 0; is_directory && i < group_count; i++)
		if (groups[i].free_inodes && groups[i].free_blocks > groups[best].free_blocks)
			best = i;
	return best;
}

int64_t ext2_new_inode(uint32_t directory, bool is_directory)
{
	uint32_t first = best_group(directory, is_directory);
	for (uint32_t i = 0; i < group_count; i++) {
		uint32_t index = (first + i) % group_count, block, offset;
		struct ext2_group *group = &groups[index];
		if (!group->free_inodes)
			continue;
		const uint8_t *bitmap = use_group(index) < 0 ? NULL : ext2_block(group->inode_map);
		if (!bitmap)
			return -EIO;
		uint32_t bit = clear_bit(
			bitmap, index == 0 ? EXT2_FIRST_INODE - 1 : 0, super.inodes_per_group);
		if (bit == super.inodes_per_group)
			continue;
		uint32_t number = index * super.inodes_per_group + bit + 1;
		static const uint8_t zero[256];
		uint32_t bytes =
			super.inode_bytes < sizeof(zero) ? super.inode_bytes : sizeof(zero);
		if (find_inode(number, &block, &offset) < 0 ||
			ext2_change(block, offset, zero, bytes) < 0 ||
			put_bit(group->inode_map, bit, true) < 0)
			return -EIO;
		group->free_inodes--;
		super.free_inodes--;
		if (is_directory)
			group->directories++;
		change_group(index);
		return number;
	}
	return -ENOSPC;
}

void ext2_free_inode(uint32_t number, bool is_directory)
{
	if (number < EXT2_FIRST_INODE || number > super.inodes)
		return;
	uint32_t index = (number - 1) / super.inodes_per_group;
	struct ext2_group *group = &groups[index];
	if ((unused_of(index) & EXT2_INODES_UNUSED) ||
		put_bit(group->inode_map, (number - 1) % super.inodes_per_group, false) != 1)
		return;
	group->free_inodes++;
	super.free_inodes++;
	if (is_directory && group->directories)
		group->directories--;
	change_group(index);
}

/* trusted.overlay.opaque="y", as ext4 keeps it behind an inode. */
struct attributes {
	uint32_t magic;
	uint8_t name_length, name_index;
	uint16_t value_offset;
	uint32_t value_inode, value_size, hash;
	char name[16]; /* filled up to 4 bytes, and an end of 4 zeroes */
	uint32_t end;
	char value[4];
};
static_assert(sizeof(struct attributes) == 44, "on disk");

static const struct attributes opaque = { .magic = ATTRIBUTES_MAGIC,
	.name_length = 14,
	.name_index = 4,
	.value_offset = sizeof(struct attributes) - 4 - 4, /* from behind the magic */
	.value_size = 1,
	.name = "overlay.opaque",
	.value = "y" };

int ext2_set_opaque(uint32_t number)
{
	uint32_t block, offset;
	if (super.inode_bytes < sizeof(struct ext2_inode) + sizeof(opaque))
		return -EIO;
	int r = find_inode(number, &block, &offset);
	return r < 0 ? r
		     : ext2_change(block, offset + (uint32_t)sizeof(struct ext2_inode), &opaque,
			       sizeof(opaque));
}

bool ext2_is_opaque(uint32_t number)
{
	uint32_t block, offset;
	if (super.inode_bytes < sizeof(struct ext2_inode) + sizeof(opaque) ||
		find_inode(number, &block, &offset) < 0)
		return false;
	const uint8_t *bytes = ext2_block(block);
	return bytes &&
		memcmp(bytes + offset + sizeof(struct ext2_inode), &opaque, sizeof(opaque)) == 0;
}

uint64_t ext2_blocks(void)
{
	return super.blocks;
}

uint64_t ext2_blocks_free(void)
{
	return super.free_blocks;
}

uint64_t ext2_inodes(void)
{
	return super.inodes;
}

uint64_t ext2_inodes_free(void)
{
	return super.free_inodes;
}

static bool is_known(uint64_t volume_bytes)
{
	return super.magic == EXT2_SUPER_MAGIC && super.block_log == EXT2_BLOCK_LOG &&
		super.revision == 1 && (super.incompat & ~EXT2_INCOMPAT_TYPES) == 0 &&
		(super.incompat & EXT2_INCOMPAT_TYPES) &&
		(super.ro_compat &
			~(EXT2_RO_SPARSE_SUPER | EXT2_RO_LARGE_FILE | EXT2_RO_GROUP_SUMS)) == 0 &&
		/* With both, the blocks that a growth is to have are taken in groups without maps. */
		!((super.ro_compat & EXT2_RO_GROUP_SUMS) && (super.compat & EXT2_COMPAT_RESIZE)) &&
		super.first_block == 0 && super.blocks > 8 &&
		super.blocks <= volume_bytes / EXT2_BLOCK && super.blocks_per_group > 8 &&
		super.blocks_per_group <= 8 * EXT2_BLOCK &&
		super.inodes_per_group > EXT2_FIRST_INODE &&
		super.inodes_per_group <= 8 * EXT2_BLOCK &&
		(super.inode_bytes == 128 || super.inode_bytes == 256);
}

static bool are_groups_good(void)
{
	for (uint32_t i = 0; i < group_count; i++)
		if (!ext2_is_block(groups[i].block_map) || !ext2_is_block(groups[i].inode_map) ||
			!ext2_is_block(groups[i].inode_table) ||
			table_blocks() > super.blocks - groups[i].inode_table)
			return false;
	return true;
}

static uint32_t count_clear(uint32_t bitmap, uint32_t count)
{
	const uint8_t *bytes = ext2_block(bitmap);
	uint32_t clear = 0;
	for (uint32_t bit = 0; bytes && bit < count; bit++)
		clear += !(bytes[bit / 8] & (1u << bit % 8));
	return clear;
}

static void count_anew(void)
{
	super.free_blocks = super.free_inodes = 0;
	for (uint32_t i = 0; i < group_count; i++) {
		/* Without a map nothing was taken since its descriptor was written. */
		if (!(unused_of(i) & EXT2_BLOCKS_UNUSED))
			groups[i].free_blocks =
				(uint16_t)count_clear(groups[i].block_map, blocks_of(i));
		if (!(unused_of(i) & EXT2_INODES_UNUSED))
			groups[i].free_inodes =
				(uint16_t)count_clear(groups[i].inode_map, super.inodes_per_group);
		super.free_blocks += groups[i].free_blocks;
		super.free_inodes += groups[i].free_inodes;
		change_group(i);
	}
}

static int write_super(void)
{
	super.write_time = (uint32_t)(platform_clock_realtime() / 1000000000);
	return write_volume(EXT2_SUPER_AT, &super, sizeof(super));
}

int ext2_open(uint64_t volume_bytes)
{
	for (uint32_t i = 0; i < BUFFERS; i++)
		buffers[i].block = 0;
	has_changes = false;
	if (volume_bytes < 2 * EXT2_SUPER_AT ||
		read_volume(EXT2_SUPER_AT, &super, sizeof(super)) < 0 || !is_known(volume_bytes))
		return -EINVAL;
	group_count = (super.blocks + super.blocks_per_group - 1) / super.blocks_per_group;
	if (group_count > GROUPS_MOST ||
		(uint64_t)group_count * super.inodes_per_group != super.inodes ||
		(uint64_t)group_count * sizeof(struct ext2_group) >
			(super.blocks - 1) * UINT64_C(4096))
		return -EINVAL;
	heap_free(groups);
	heap_free(is_group_changed);
	groups = heap_alloc(group_count * sizeof(struct ext2_group));
	is_group_changed = heap_alloc(group_count * sizeof(bool));
	if (!groups || !is_group_changed)
		return -ENOMEM;
	if (read_volume(EXT2_BLOCK, groups, group_count * sizeof(struct ext2_group)) < 0 ||
		!are_groups_good())
		return -EINVAL;
	if (!(super.state & EXT2_STATE_VALID))
		count_anew();
	super.state &= (uint16_t)~EXT2_STATE_VALID;
	super.mount_time = (uint32_t)(platform_clock_realtime() / 1000000000);
	return write_super();
}

int ext2_sync(void)
{
	int r = 0;
	if (has_changes) {
		for (uint32_t i = 0; i < group_count; i++)
			if (is_group_changed[i])
				sum_group(i);
		r = write_volume(EXT2_BLOCK, groups, group_count * sizeof(struct ext2_group));
		if (r == 0)
			r = write_super();
		has_changes = r < 0;
	}
	if (r == 0)
		r = (int)platform_volume_flush();
	return r < 0 ? -EIO : 0;
}

void ext2_close(void)
{
	if (ext2_sync() < 0)
		return;
	if (!(super.state & EXT2_STATE_ERRORS))
		super.state |= EXT2_STATE_VALID;
	(void)write_super();
	(void)platform_volume_flush();
}
