/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ext2_entries.c - the entries of directories.
 *
 * Theory of operation. The entries of a block fill it: each says how far the next one is, and an entry that is longer than
 * its name has room for another. A new entry is written into that room before the one ahead of it is cut.
 */
#include <errno.h>
#include <sys/stat.h>

#include "unikernel/ext2.h"
#include "unikernel/heap.h"

struct entry {
	uint32_t number;
	uint16_t length; /* to the next one */
	uint8_t name_length, type;
};
static_assert(sizeof(struct entry) == 8, "on disk");

/* Where an entry stands. */
struct found {
	uint32_t block, offset,
		before; /* `before`: the offset of the one ahead of it, or its own */
	struct entry entry;
};

static uint32_t room_of(uint32_t name_length)
{
	return (uint32_t)sizeof(struct entry) + ((name_length + 3) & ~3u);
}

static uint8_t type_of(uint32_t mode)
{
	static const uint8_t types[16] = { [S_IFREG >> 12] = 1,
		[S_IFDIR >> 12] = 2,
		[S_IFCHR >> 12] = 3,
		[S_IFBLK >> 12] = 4,
		[S_IFIFO >> 12] = 5,
		[S_IFSOCK >> 12] = 6,
		[S_IFLNK >> 12] = 7 };
	return types[mode >> 12 & 15];
}

static uint64_t blocks_of(const struct ext2_inode *directory)
{
	return ext2_size(directory) / EXT2_BLOCK;
}

static int64_t block_at(const struct ext2_inode *directory, uint64_t index)
{
	bool is_fresh;
	int64_t block =
		ext2_map(0, (struct ext2_inode *)(uintptr_t)directory, index, 1, false, &is_fresh);
	return block == 0 ? -EIO : block;
}

/* The entry at an offset; false if the block is broken there. */
static bool read_entry(const uint8_t *bytes, uint32_t offset, struct entry *ret)
{
	if (offset + sizeof(*ret) > EXT2_BLOCK)
		return false;
	memcpy(ret, bytes + offset, sizeof(*ret));
	return ret->length >= sizeof(*ret) && ret->length % 4 == 0 &&
		ret->length <= EXT2_BLOCK - offset && room_of(ret->name_length) <= ret->length;
}

int ext2_list(const struct ext2_inode *directory, ext2_each *each, void *data)
{
	uint8_t *copy = heap_alloc_raw(EXT2_BLOCK);
	int r = copy ? 0 : -ENOMEM;
	for (uint64_t index = 0; r == 0 && index < blocks_of(directory); index++) {
		int64_t block = block_at(directory, index);
		const uint8_t *bytes = block < 0 ? NULL : ext2_block((uint32_t)block);
		struct entry entry;
		if (!bytes) {
			r = -EIO;
			break;
		}
		memcpy(copy, bytes, EXT2_BLOCK);
		for (uint32_t offset = 0; r == 0 && offset < EXT2_BLOCK; offset += entry.length) {
			if (!read_entry(copy, offset, &entry)) {
				r = -EIO;
				break;
			}
			if (entry.number && entry.name_length)
				r = each(data, (const char *)copy + offset + sizeof(entry),
					entry.name_length, entry.number);
		}
	}
	heap_free(copy);
	return r;
}

/* 0 with the entry; -ENOENT, and then the first place with `room` bytes in *ret_room (block 0: none). */
static int find(const struct ext2_inode *directory, const char *name, uint32_t length,
	uint32_t room, struct found *ret, struct found *ret_room)
{
	ret_room->block = 0;
	for (uint64_t index = 0; index < blocks_of(directory); index++) {
		int64_t block = block_at(directory, index);
		const uint8_t *bytes = block < 0 ? NULL : ext2_block((uint32_t)block);
		struct found here = { .block = (uint32_t)block };
		if (!bytes)
			return -EIO;
		for (; here.offset < EXT2_BLOCK; here.offset += here.entry.length) {
			if (!read_entry(bytes, here.offset, &here.entry))
				return -EIO;
			if (here.entry.number && here.entry.name_length == length &&
				memcmp(bytes + here.offset + sizeof(here.entry), name, length) ==
					0) {
				*ret = here;
				return 0;
			}
			uint32_t used = here.entry.number ? room_of(here.entry.name_length) : 0;
			if (!ret_room->block && here.entry.length - used >= room)
				*ret_room = here;
			here.before = here.offset;
		}
	}
	return -ENOENT;
}

static void put_entry(uint8_t *to, uint32_t number, uint32_t length, const char *name,
	uint32_t name_length, uint32_t mode)
{
	const struct entry entry = { number, (uint16_t)length, (uint8_t)name_length,
		type_of(mode) };
	memcpy(to, &entry, sizeof(entry));
	memcpy(to + sizeof(entry), name, name_length);
}

/* In the room of another entry. */
static int add_here(
	const struct found *room, const char *name, uint32_t length, uint32_t number, uint32_t mode)
{
	uint8_t bytes[sizeof(struct entry) + EXT2_NAME_LONGEST + 1] = {};
	struct entry ahead = room->entry;
	uint32_t used = ahead.number ? room_of(ahead.name_length) : 0;
	put_entry(bytes, number, ahead.length - used, name, length, mode);
	int r = ext2_change(
		room->block, room->offset + used, bytes, (uint32_t)sizeof(ahead) + length);
	if (r < 0 || used == 0)
		return r;
	ahead.length = (uint16_t)used;
	return ext2_change(room->block, room->offset, &ahead, sizeof(ahead));
}

/* In a new block at the end. */
static int add_block(uint32_t directory_number, struct ext2_inode *directory, const char *name,
	uint32_t length, uint32_t number, uint32_t mode)
{
	uint8_t bytes[sizeof(struct entry) + EXT2_NAME_LONGEST + 1] = {};
	struct ext2_inode grown = *directory;
	uint64_t size = ext2_size(directory);
	bool is_fresh;
	int64_t block = ext2_map(directory_number, &grown, size / EXT2_BLOCK, 0, true, &is_fresh);
	if (block < 0)
		return (int)block;
	put_entry(bytes, number, EXT2_BLOCK, name, length, mode);
	int r = ext2_clear((uint32_t)block);
	if (r == 0)
		r = ext2_change((uint32_t)block, 0, bytes, (uint32_t)sizeof(struct entry) + length);
	grown.size = (uint32_t)(size + EXT2_BLOCK);
	if (r == 0)
		r = ext2_write_inode(directory_number, &grown);
	if (r == 0)
		*directory = grown;
	return r;
}

int ext2_add_entry(uint32_t directory_number, struct ext2_inode *directory, const char *name,
	uint32_t length, uint32_t number, uint32_t mode, uint32_t *ret_number)
{
	struct found found, room;
	int r = find(directory, name, length, room_of(length), &found, &room);
	if (r == 0) {
		*ret_number = found.entry.number;
		return -EEXIST;
	}
	if (r != -ENOENT)
		return r;
	return room.block ? add_here(&room, name, length, number, mode)
			  : add_block(directory_number, directory, name, length, number, mode);
}

int ext2_set_entry(const struct ext2_inode *directory, const char *name, uint32_t length,
	uint32_t number, uint32_t mode)
{
	struct found found, room;
	int r = find(directory, name, length, EXT2_BLOCK, &found, &room);
	if (r < 0)
		return r;
	found.entry.number = number;
	found.entry.type = type_of(mode);
	return ext2_change(found.block, found.offset, &found.entry, sizeof(found.entry));
}

int ext2_remove_entry(const struct ext2_inode *directory, const char *name, uint32_t length)
{
	struct found found, room;
	int r = find(directory, name, length, EXT2_BLOCK, &found, &room);
	if (r < 0)
		return r;
	struct entry entry = found.entry;
	if (found.offset == 0) {
		entry.number = 0;
		return ext2_change(found.block, 0, &entry, sizeof(entry));
	}
	const uint8_t *bytes = ext2_block(found.block);
	struct entry ahead;
	if (!bytes || !read_entry(bytes, found.before, &ahead))
		return -EIO;
	ahead.length = (uint16_t)(ahead.length + entry.length);
	return ext2_change(found.block, found.before, &ahead, sizeof(ahead));
}

int ext2_make_directory(uint32_t number, struct ext2_inode *directory, uint32_t parent)
{
	uint8_t bytes[24] = {};
	bool is_fresh;
	int64_t block = ext2_map(number, directory, 0, 0, true, &is_fresh);
	if (block < 0)
		return (int)block;
	put_entry(bytes, number, 12, ".", 1, S_IFDIR);
	put_entry(bytes + 12, parent, EXT2_BLOCK - 12, "..", 2, S_IFDIR);
	int r = ext2_clear((uint32_t)block);
	if (r == 0)
		r = ext2_change((uint32_t)block, 0, bytes, sizeof(bytes));
	directory->size = EXT2_BLOCK;
	return r;
}
