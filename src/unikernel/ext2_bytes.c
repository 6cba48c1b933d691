/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ext2_bytes.c - the bytes of a file: from its blocks' numbers to what stands in them.
 *
 * Theory of operation. Twelve numbers stand in the inode, 1024 more in a block, 1024 blocks of numbers in the next, and
 * once more. A number is set after what it points to has been written, and a block is free after nothing points to it.
 */
#include <errno.h>
#include <sys/stat.h>

#include "unikernel/ext2.h"

#define PER_BLOCK (EXT2_BLOCK / 4)
#define LEVELS    3u
#define SECTORS   (EXT2_BLOCK / 512)
#define SIZE_MOST \
	((EXT2_DIRECT + PER_BLOCK + (uint64_t)PER_BLOCK * PER_BLOCK + \
		 (uint64_t)PER_BLOCK * PER_BLOCK * PER_BLOCK) * \
		EXT2_BLOCK)

uint64_t ext2_size(const struct ext2_inode *inode)
{
	return (uint64_t)inode->size_high << 32 | inode->size;
}

static void set_size(struct ext2_inode *inode, uint64_t size)
{
	inode->size = (uint32_t)size;
	inode->size_high = (uint32_t)(size >> 32);
}

/* How many of a file's blocks a number of this level stands for. */
static uint64_t span(uint32_t level)
{
	uint64_t blocks = 1;
	while (level-- > 0)
		blocks *= PER_BLOCK;
	return blocks;
}

/* Which number in the inode leads to the file's block, and which block below that. */
static uint32_t first_step(uint64_t index, uint32_t *ret_level, uint64_t *ret_rest)
{
	*ret_level = 0;
	*ret_rest = 0;
	if (index < EXT2_DIRECT)
		return (uint32_t)index;
	index -= EXT2_DIRECT;
	for (uint32_t level = 1; level <= LEVELS; level++) {
		if (index < span(level)) {
			*ret_level = level;
			*ret_rest = index;
			return EXT2_DIRECT + level - 1;
		}
		index -= span(level);
	}
	return UINT32_MAX;
}

static int64_t take(struct ext2_inode *inode, uint32_t goal, bool is_metadata)
{
	int64_t block = ext2_take_block(goal);
	if (block < 0)
		return block;
	int r = is_metadata ? ext2_clear((uint32_t)block) : 0;
	if (r < 0) {
		ext2_free_block((uint32_t)block);
		return r;
	}
	inode->sectors += SECTORS;
	return block;
}

int64_t ext2_map(uint32_t number, struct ext2_inode *inode, uint64_t index, uint32_t goal,
	bool makes, bool *ret_is_fresh)
{
	uint32_t level;
	uint64_t rest;
	uint32_t step = first_step(index, &level, &rest);
	*ret_is_fresh = false;
	if (step == UINT32_MAX)
		return -EFBIG;
	if (!goal)
		goal = ext2_first_block_of(number);
	uint32_t block = inode->block[step];
	if (!block) {
		int64_t fresh = makes ? take(inode, goal, level > 0) : 0;
		if (fresh <= 0)
			return fresh;
		inode->block[step] = block = (uint32_t)fresh;
		*ret_is_fresh = level == 0;
	}
	while (level-- > 0) {
		uint32_t place = (uint32_t)(rest / span(level) % PER_BLOCK), next;
		const uint8_t *numbers = ext2_block(block);
		if (!numbers)
			return -EIO;
		memcpy(&next, numbers + 4 * (uint64_t)place, sizeof(next));
		if (!next) {
			int64_t fresh = makes ? take(inode, goal, level > 0) : 0;
			if (fresh <= 0)
				return fresh;
			next = (uint32_t)fresh;
			int r = ext2_change(block, 4 * place, &next, sizeof(next));
			if (r < 0)
				return r;
			*ret_is_fresh = level == 0;
		}
		block = next;
	}
	return ext2_is_block(block) ? (int64_t)block : -EIO;
}

static int64_t min(uint64_t a, uint64_t b)
{
	return (int64_t)(a < b ? a : b);
}

int64_t ext2_read(const struct ext2_inode *inode, void *to, uint64_t size, uint64_t offset)
{
	uint8_t *out = to;
	uint64_t end = ext2_size(inode), done = 0;
	if (offset >= end)
		return 0;
	size = (uint64_t)min(size, end - offset);
	while (done < size) {
		uint64_t index = (offset + done) / EXT2_BLOCK, start = (offset + done) % EXT2_BLOCK;
		uint64_t count = (uint64_t)min(size - done, EXT2_BLOCK - start);
		bool is_fresh;
		int64_t block = ext2_map(
			0, (struct ext2_inode *)(uintptr_t)inode, index, 1, false, &is_fresh);
		if (block < 0)
			return done ? (int64_t)done : block;
		/* As long as one block follows the other, both are read at once. */
		while (block && done + count < size) {
			uint64_t more = (uint64_t)min(size - done - count, EXT2_BLOCK);
			if (ext2_map(0, (struct ext2_inode *)(uintptr_t)inode, ++index, 1, false,
				    &is_fresh) != block + (int64_t)((start + count) / EXT2_BLOCK))
				break;
			count += more;
		}
		if (!block)
			memset(out + done, 0, count);
		else if (platform_volume_read((uint64_t)block * EXT2_BLOCK + start, out + done,
				 count) != (int64_t)count)
			return done ? (int64_t)done : -EIO;
		done += count;
	}
	return (int64_t)done;
}

static int write_part(
	uint64_t block, uint64_t start, const uint8_t *from, uint64_t count, bool is_fresh)
{
	static uint8_t whole[EXT2_BLOCK];
	if (!is_fresh || count == EXT2_BLOCK)
		return platform_volume_write(block * EXT2_BLOCK + start, from, count) ==
				(int64_t)count
			? 0
			: -EIO;
	memset(whole, 0, sizeof(whole));
	memcpy(whole + start, from, count);
	return platform_volume_write(block * EXT2_BLOCK, whole, sizeof(whole)) == sizeof(whole)
		? 0
		: -EIO;
}

int64_t ext2_write(
	uint32_t number, struct ext2_inode *inode, const void *from, uint64_t size, uint64_t offset)
{
	const uint8_t *in = from;
	uint64_t done = 0;
	int64_t r = 0;
	uint32_t goal = 0;
	if (size > SIZE_MOST || offset > SIZE_MOST - size)
		return -EFBIG;
	/* Behind the block before this one, if that is there. */
	if (offset >= EXT2_BLOCK) {
		bool is_fresh;
		int64_t before =
			ext2_map(number, inode, offset / EXT2_BLOCK - 1, 1, false, &is_fresh);
		goal = before > 0 ? (uint32_t)before + 1 : 0;
	}
	while (done < size && r >= 0) {
		uint64_t start = (offset + done) % EXT2_BLOCK;
		uint64_t count = (uint64_t)min(size - done, EXT2_BLOCK - start);
		bool is_fresh, is_next_fresh;
		int64_t block = ext2_map(
			number, inode, (offset + done) / EXT2_BLOCK, goal, true, &is_fresh);
		if (block < 0) {
			r = block;
			break;
		}
		/* Whole blocks that follow each other are written at once. */
		while (start == 0 && count % EXT2_BLOCK == 0 && size - done - count >= EXT2_BLOCK) {
			int64_t next = ext2_map(number, inode, (offset + done + count) / EXT2_BLOCK,
				(uint32_t)(block + (int64_t)(count / EXT2_BLOCK)), true,
				&is_next_fresh);
			if (next < 0) {
				r = next;
				break;
			}
			if (next != block + (int64_t)(count / EXT2_BLOCK)) {
				if (is_next_fresh) /* what is not written now must not show what was there */
					(void)write_part((uint64_t)next, 0, in + done + count,
						EXT2_BLOCK, false);
				break;
			}
			count += EXT2_BLOCK;
		}
		if (write_part((uint64_t)block, start, in + done, count,
			    is_fresh && count < EXT2_BLOCK) < 0)
			return done ? (int64_t)done : -EIO;
		goal = (uint32_t)(block + (int64_t)((start + count + EXT2_BLOCK - 1) / EXT2_BLOCK));
		done += count;
	}
	if (done && offset + done > ext2_size(inode))
		set_size(inode, offset + done);
	return done ? (int64_t)done : r;
}

static void release(struct ext2_inode *inode, uint32_t block)
{
	ext2_free_block(block);
	inode->sectors -= inode->sectors >= SECTORS ? SECTORS : inode->sectors;
}

/* All of the tree below a number, and its block. */
static void release_tree(struct ext2_inode *inode, uint32_t block, uint32_t level)
{
	for (uint32_t i = 0; level > 0 && i < PER_BLOCK; i++) {
		const uint8_t *numbers = ext2_block(block);
		uint32_t next = 0;
		if (!numbers)
			break;
		memcpy(&next, numbers + 4 * (uint64_t)i, sizeof(next));
		if (ext2_is_block(next))
			release_tree(inode, next, level - 1);
	}
	release(inode, block);
}

/* What stands behind the first `kept` blocks of the tree, of which there is at least one. */
static int cut_tree(struct ext2_inode *inode, uint32_t block, uint32_t level, uint64_t kept)
{
	static const uint32_t none;
	for (uint64_t i = kept / span(level - 1); i < PER_BLOCK; i++) {
		const uint8_t *numbers = ext2_block(block);
		uint64_t below = i * span(level - 1);
		uint32_t next;
		int r;
		if (!numbers)
			return -EIO;
		memcpy(&next, numbers + 4 * i, sizeof(next));
		if (!ext2_is_block(next))
			continue;
		if (below < kept) {
			r = cut_tree(inode, next, level - 1, kept - below);
		} else {
			r = ext2_change(block, (uint32_t)(4 * i), &none, sizeof(none));
			if (r == 0)
				release_tree(inode, next, level - 1);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* The end of the last block reads as zero should the file grow again. */
static int clear_tail(struct ext2_inode *inode, uint64_t size)
{
	static const uint8_t zero[EXT2_BLOCK];
	uint64_t start = size % EXT2_BLOCK;
	bool is_fresh;
	int64_t block = start ? ext2_map(0, inode, size / EXT2_BLOCK, 1, false, &is_fresh) : 0;
	if (block <= 0)
		return (int)block;
	return platform_volume_write((uint64_t)block * EXT2_BLOCK + start, zero,
		       EXT2_BLOCK - start) == (int64_t)(EXT2_BLOCK - start)
		? 0
		: -EIO;
}

/* Of a device its number stands there, of a short link its text. */
static bool has_blocks(const struct ext2_inode *inode)
{
	return S_ISREG(inode->mode) || S_ISDIR(inode->mode) ||
		(S_ISLNK(inode->mode) && inode->sectors);
}

int ext2_truncate(uint32_t number, struct ext2_inode *inode, uint64_t size)
{
	uint32_t gone[EXT2_DIRECT + LEVELS] = {};
	uint64_t kept = (size + EXT2_BLOCK - 1) / EXT2_BLOCK, base = EXT2_DIRECT;
	if (size > SIZE_MOST)
		return -EFBIG;
	bool is_shorter = has_blocks(inode) && size < ext2_size(inode);
	int r = is_shorter ? clear_tail(inode, size) : 0;
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < EXT2_DIRECT + LEVELS && is_shorter; i++) {
		uint32_t level = i < EXT2_DIRECT ? 0 : i - EXT2_DIRECT + 1;
		if (level == 0 ? i >= kept : base >= kept) {
			gone[i] = inode->block[i];
			inode->block[i] = 0;
		}
		base += level ? span(level) : 0;
	}
	set_size(inode, size);
	r = ext2_write_inode(number, inode);
	if (r < 0 || !is_shorter)
		return r;
	base = EXT2_DIRECT;
	for (uint32_t i = 0; i < EXT2_DIRECT + LEVELS; i++) {
		uint32_t level = i < EXT2_DIRECT ? 0 : i - EXT2_DIRECT + 1;
		if (ext2_is_block(gone[i]))
			release_tree(inode, gone[i], level);
		else if (level && ext2_is_block(inode->block[i]) && kept > base &&
			kept - base < span(level))
			r = cut_tree(inode, inode->block[i], level, kept - base);
		base += level ? span(level) : 0;
	}
	int e = ext2_write_inode(number, inode);
	return r < 0 ? r : e;
}
