/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ext2.h - an ext2 file system on the volume: inodes, their bytes, the entries of directories.
 *
 * What is asked for is on the volume when a function returns, in an order that leaves at any moment nothing worse than
 * space that nobody uses; only the counts of what is free are written by ext2_sync() and ext2_close(). Every number that
 * is read is checked: a wrong one is -EIO. Functions return 0 (or what they say) or a negative errno.
 */
#pragma once

#include "abi/ext2.h"
#include "unikernel/kernel.h"

#define EXT2_NAME_LONGEST 255u
#define EXT2_LINKS_MOST   32000u

/* Reads the volume's head; from here on it is in use. -EINVAL if it is no ext2 of a kind that is known here. */
int ext2_open(uint64_t volume_bytes);
int ext2_sync(void);
void ext2_close(void);

uint64_t ext2_blocks(void);
uint64_t ext2_blocks_free(void);
uint64_t ext2_inodes(void);
uint64_t ext2_inodes_free(void);

int ext2_read_inode(uint32_t number, struct ext2_inode *ret);
int ext2_write_inode(uint32_t number, const struct ext2_inode *inode);

/* A new inode, zero, close to that of its directory; its number, or -ENOSPC. */
int64_t ext2_new_inode(uint32_t directory, bool is_directory);
void ext2_free_inode(uint32_t number, bool is_directory);

/* A mark that a directory hides what an image below has (an attribute that overlayfs knows, too). */
int ext2_set_opaque(uint32_t number);
bool ext2_is_opaque(uint32_t number);

uint64_t ext2_size(const struct ext2_inode *inode);

/* Reading stops at the end. Writing changes `inode`, which the caller writes; bytes that were written, or -ENOSPC. */
int64_t ext2_read(const struct ext2_inode *inode, void *to, uint64_t size, uint64_t offset);
int64_t ext2_write(uint32_t number, struct ext2_inode *inode, const void *from, uint64_t size,
	uint64_t offset);

/* Makes it this long; `inode` is written. */
int ext2_truncate(uint32_t number, struct ext2_inode *inode, uint64_t size);

/* Calls `each` for every entry; stops with what it returns if that is not 0. */
typedef int ext2_each(void *data, const char *name, uint32_t length, uint32_t number);
int ext2_list(const struct ext2_inode *directory, ext2_each *each, void *data);

/* The first entries of a new directory. */
int ext2_make_directory(uint32_t number, struct ext2_inode *directory, uint32_t parent);

/* -EEXIST if the name is there, with its inode in *ret_number. `directory` is written if it grows. */
int ext2_add_entry(uint32_t directory_number, struct ext2_inode *directory, const char *name,
	uint32_t length, uint32_t number, uint32_t mode, uint32_t *ret_number);
int ext2_set_entry(const struct ext2_inode *directory, const char *name, uint32_t length,
	uint32_t number, uint32_t mode);
int ext2_remove_entry(const struct ext2_inode *directory, const char *name, uint32_t length);

/* For the parts of ext2 itself. A block of metadata, until other blocks are asked for; NULL: it cannot be read. */
const uint8_t *ext2_block(uint32_t block);

/* Changes bytes of a block of metadata, on the volume, too. */
int ext2_change(uint32_t block, uint32_t offset, const void *bytes, uint32_t size);

/* The block becomes metadata: zero. */
int ext2_clear(uint32_t block);

/* A free block, close to `goal`, or -ENOSPC. */
int64_t ext2_take_block(uint32_t goal);

/* The block is free, and nothing of it is remembered. */
void ext2_free_block(uint32_t block);

bool ext2_is_block(uint32_t block);
uint32_t ext2_first_block_of(uint32_t inode_number);

/* The block that has the file's block `index`, 0 for a hole; with `makes` there is none. `*ret_is_fresh`: nothing was written there yet. */
int64_t ext2_map(uint32_t number, struct ext2_inode *inode, uint64_t index, uint32_t goal,
	bool makes, bool *ret_is_fresh);
