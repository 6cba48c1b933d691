/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept.c - what the program changes, kept on the volume above the image: how a change gets there.
 *
 * Theory of operation. The volume's tree lies over the image's as the upper directory of Linux's overlayfs does, in the
 * same form: a device 0:0 hides a name of the image, an attribute all names of a directory. A directory's entries are those
 * of the image with the volume's over them, when somebody first looks. A file of the image that is changed is copied to the
 * volume first, with the directories above it; a directory of the image cannot be renamed (EXDEV, as there). A file of
 * the volume has no page in memory: it is read and written in place.
 */
#include "unikernel/kept.h"

#include <sys/sysmacros.h>

#include "unikernel/ext2.h"
#include "unikernel/heap.h"
#include "unikernel/kept_inode.h"

#define COPY_BYTES 65536u

static bool is_there, has_begun;

/* The content of a new inode, as the node has it now; a regular file's first `bytes`. */
static int write_content(struct kept *kept, struct node *node, uint64_t bytes)
{
	struct ext2_inode *inode = &kept->inode;
	if (S_ISLNK(node->mode)) {
		size_t length = strlen(node->target);
		inode->size = (uint32_t)length;
		if (length < KEPT_LINK_SHORT) {
			memcpy(inode->block, node->target, length);
			return 0;
		}
		inode->size = 0;
		return ext2_write(kept->number, inode, node->target, length, 0) == (int64_t)length
			? 0
			: -ENOSPC;
	}
	if (!S_ISREG(node->mode)) {
		uint32_t high = major(node->rdev), low = minor(node->rdev);
		if (high < 256 && low < 256)
			inode->block[0] = high << 8 | low;
		else
			inode->block[1] = (low & 0xff) | high << 8 | (low & ~0xffu) << 12;
		return 0;
	}
	uint8_t *copy = bytes ? heap_alloc_raw(COPY_BYTES) : NULL;
	int64_t r = bytes && !copy ? -ENOMEM : 0;
	for (uint64_t offset = 0; r >= 0 && offset < bytes && offset < node->size;) {
		uint64_t left = bytes - offset < COPY_BYTES ? bytes - offset : COPY_BYTES;
		int64_t got = node_read(node, copy, left, offset);
		r = ext2_write(kept->number, inode, copy, (uint64_t)got, offset);
		if (r >= 0 && r < got)
			r = -ENOSPC;
		offset += (uint64_t)got;
	}
	heap_free(copy);
	return r < 0 ? (int)r : 0;
}

/* An inode that is no directory's has one name less. */
static int let_go(uint32_t number)
{
	struct ext2_inode inode;
	int r = ext2_read_inode(number, &inode);
	if (r < 0 || S_ISDIR(inode.mode) || inode.links == 0)
		return r;
	inode.links--;
	if (inode.links == 0) {
		inode.dtime = kept_seconds(node_now());
		r = ext2_truncate(number, &inode, 0);
	}
	if (r == 0)
		r = ext2_write_inode(number, &inode);
	if (r == 0 && inode.links == 0) {
		ext2_free_inode(number, false);
		kept_all.hiding = number == kept_all.hiding ? 0 : kept_all.hiding;
	}
	return r;
}

/* A directory that programs find empty can have names that hide. */
static int let_hidden_go(void *data, const char *name, uint32_t length, uint32_t number)
{
	(void)data, (void)name, (void)length;
	return let_go(number);
}

static void give_up(struct kept *kept, bool is_directory)
{
	uint32_t number = kept->number;
	if (is_directory)
		(void)ext2_list(&kept->inode, let_hidden_go, NULL);
	(void)ext2_truncate(number, &kept->inode, 0);
	kept_detach(kept);
	ext2_free_inode(number, is_directory);
}

/* An inode for a node that has none; nothing points to it yet. */
static int make_inode(struct node *node, const struct node *directory, uint64_t bytes)
{
	bool is_directory = node_is_directory(node);
	struct ext2_inode inode = {};
	uint64_t number_before = node->number;
	int64_t number = ext2_new_inode(directory->kept->number, is_directory);
	if (number < 0)
		return (int)number;
	struct kept *kept = kept_attach(node, (uint32_t)number, &inode);
	if (!kept) {
		ext2_free_inode((uint32_t)number, is_directory);
		return -ENOMEM;
	}
	node->kept = NULL; /* until it is whole, it is read where it is */
	kept_set_head(&kept->inode, node);
	kept->inode.links = is_directory ? 2 : 0;
	int r = is_directory
		? ext2_make_directory(kept->number, &kept->inode, directory->kept->number)
		: write_content(kept, node, bytes);
	if (r == 0)
		r = kept_write_inode(kept);
	node->kept = kept;
	if (r < 0) {
		node->number = number_before;
		give_up(kept, is_directory);
		return r;
	}
	if (S_ISREG(node->mode))
		node_forget_bytes(node);
	return 0;
}

static int change_links(struct kept *kept, int by)
{
	kept->inode.links = (uint16_t)(kept->inode.links + by);
	return kept_write_inode(kept);
}

/* The hiding inode has one name more. */
static int add_hiding(void)
{
	struct ext2_inode inode;
	int r = ext2_read_inode(kept_all.hiding, &inode);
	inode.links++;
	return r < 0 ? r : ext2_write_inode(kept_all.hiding, &inode);
}

static int take_hiding(void)
{
	struct ext2_inode inode = {};
	if (kept_all.hiding && ext2_read_inode(kept_all.hiding, &inode) == 0 &&
		inode.links < EXT2_LINKS_MOST)
		return 0;
	int64_t number = ext2_new_inode(EXT2_ROOT, false);
	if (number < 0)
		return (int)number;
	inode = (struct ext2_inode){ .mode = S_IFCHR, .extra_size = KEPT_EXTRA_BYTES };
	kept_all.hiding = (uint32_t)number;
	return ext2_write_inode(kept_all.hiding, &inode);
}

/* An entry for what has an inode. */
static int add_entry(struct kept *directory, struct entry *entry, struct node *node)
{
	uint32_t there = 0;
	int r = ext2_add_entry(directory->number, &directory->inode, entry->name, entry->length,
		node->kept->number, node->mode, &there);
	entry->is_kept = r == 0 || r == -EEXIST;
	if (r != -EEXIST)
		return r;
	/* What stands there hides a name of the image, or was hidden in memory before changes were kept. */
	entry->is_over_image = true;
	r = ext2_set_entry(
		&directory->inode, entry->name, entry->length, node->kept->number, node->mode);
	if (r == 0)
		r = let_go(there);
	if (r == 0 && node_is_directory(node))
		r = ext2_set_opaque(node->kept->number);
	return r;
}

static int keep_directory(struct node *directory);

/* A node of the image, or in memory, gets its place on the volume. */
static int keep(struct node *directory, struct entry *entry, struct node *node, uint64_t bytes)
{
	int r = keep_directory(directory);
	if (r < 0 || node->kept)
		return r;
	r = make_inode(node, directory, bytes);
	if (r < 0)
		return r;
	bool is_directory = node_is_directory(node);
	if (!is_directory)
		r = change_links(node->kept, 1);
	if (r == 0)
		r = add_entry(directory->kept, entry, node);
	if (r == 0 && is_directory)
		r = change_links(directory->kept, 1);
	return r;
}

static int keep_directory(struct node *directory)
{
	if (directory->kept)
		return 0;
	struct node *parent = directory->directory.parent;
	struct entry *entry = directory->named;
	if (directory->in_memory || !entry || parent == directory)
		return -ENOENT;
	return keep(parent, entry, directory, 0);
}

static bool is_left_out(const struct node *directory)
{
	return directory->in_memory || directory->links == 0;
}

/* A name was given to a node. */
static int on_link(struct node *directory, struct entry *entry, struct node *node)
{
	if (!has_begun || is_left_out(directory) || node->in_memory)
		return 0;
	if (!node->kept)
		return keep(directory, entry, node, node->size);
	int r = keep_directory(directory);
	if (r < 0)
		return r;
	if (node_is_directory(node)) {
		/* It moves: its own ".." and the count of who is above. */
		r = add_entry(directory->kept, entry, node);
		if (r == 0)
			r = ext2_set_entry(
				&node->kept->inode, "..", 2, directory->kept->number, S_IFDIR);
		return r < 0 ? r : change_links(directory->kept, 1);
	}
	if (node->kept->inode.links >= EXT2_LINKS_MOST)
		return -EMLINK;
	r = change_links(node->kept, 1);
	if (r == 0)
		r = add_entry(directory->kept, entry, node);
	if (r < 0)
		(void)change_links(node->kept, -1);
	return r;
}

static int hide(struct node *directory, const struct entry *entry)
{
	uint32_t there = 0;
	int r = keep_directory(directory);
	if (r == 0)
		r = take_hiding();
	if (r == 0)
		r = add_hiding();
	if (r < 0)
		return r;
	r = ext2_add_entry(directory->kept->number, &directory->kept->inode, entry->name,
		entry->length, kept_all.hiding, S_IFCHR, &there);
	if (r == -EEXIST)
		r = ext2_set_entry(&directory->kept->inode, entry->name, entry->length,
			kept_all.hiding, S_IFCHR);
	if (r < 0)
		(void)let_go(kept_all.hiding);
	return r;
}

/* A name is about to be taken from a node. `is_moving`: a directory that has another one already. */
static int on_unlink(struct node *directory, struct entry *entry, bool is_moving)
{
	struct node *node = entry->node;
	if (!has_begun || is_left_out(directory))
		return 0;
	int r = 0;
	if (entry->is_over_image)
		r = hide(directory, entry);
	else if (entry->is_kept)
		r = ext2_remove_entry(&directory->kept->inode, entry->name, entry->length);
	/* A name of the image alone is none of the inode's. */
	if (r < 0 || !entry->is_kept || !node->kept)
		return r;
	if (!node_is_directory(node))
		return change_links(node->kept, -1);
	r = change_links(directory->kept, -1);
	if (r == 0 && !is_moving) {
		node->kept->inode.links = 0;
		r = kept_write_inode(node->kept);
	}
	return r;
}

/* Before a change: it is on the volume, with its first `bytes`. 1: it stays in memory. */
static int on_change(struct node *node, uint64_t bytes)
{
	if (node->kept)
		return 0;
	if (!has_begun)
		return 1;
	if (node_is_directory(node)) {
		if (is_left_out(node) || node == kept_all.top)
			return 1;
		return keep_directory(node);
	}
	if (!node->home || is_left_out(node->home) || node->generate || node->open)
		return 1;
	return keep(node->home, node->named, node, bytes);
}

static void on_changed(struct node *node)
{
	kept_set_head(&node->kept->inode, node);
	node->kept->is_dirty = true;
}

static int64_t on_read(const struct node *node, void *to, uint64_t size, uint64_t offset)
{
	return ext2_read(&node->kept->inode, to, size, offset);
}

static int64_t on_write(struct node *node, const void *from, uint64_t size, uint64_t offset)
{
	struct kept *kept = node->kept;
	struct ext2_inode before = kept->inode;
	int64_t put = ext2_write(kept->number, &kept->inode, from, size, offset);
	node->size = ext2_size(&kept->inode);
	node->mtime_ns = node->ctime_ns = node_now();
	kept_set_head(&kept->inode, node);
	kept->is_dirty = true;
	/* Times can wait; what says where bytes are cannot. */
	bool has_moved = before.size != kept->inode.size || before.sectors != kept->inode.sectors;
	if (has_moved && kept_write_inode(kept) < 0)
		return -EIO;
	return put;
}

static int on_truncate(struct node *node, uint64_t size)
{
	node->mtime_ns = node->ctime_ns = node_now();
	kept_set_head(&node->kept->inode, node);
	int r = ext2_truncate(node->kept->number, &node->kept->inode, size);
	node->size = ext2_size(&node->kept->inode);
	node->kept->is_dirty = false;
	return r;
}

/* Holes become zeros. Where there cannot be enough room nothing is begun. */
static int on_reserve(struct node *node, uint64_t from, uint64_t end)
{
	static const uint8_t zeros[EXT2_BLOCK];
	struct ext2_inode *inode = &node->kept->inode;
	uint64_t size = node->size, has = inode->sectors / (EXT2_BLOCK / 512);
	uint64_t wants = (end - from + EXT2_BLOCK - 1) / EXT2_BLOCK;
	int r = wants > has + ext2_blocks_free() ? -ENOSPC : 0;
	for (uint64_t at = from / EXT2_BLOCK * EXT2_BLOCK; r == 0 && at < end; at += EXT2_BLOCK) {
		uint64_t count = end - at < EXT2_BLOCK ? end - at : EXT2_BLOCK;
		bool is_fresh;
		int64_t block = ext2_map(0, inode, at / EXT2_BLOCK, 1, false, &is_fresh);
		int64_t put = block ?: on_write(node, zeros, count, at);
		r = put > 0 ? 0 : (int)put ?: -ENOSPC;
	}
	if (r == 0 && end > node->size)
		r = on_truncate(node, end);
	if (r < 0 && node->size > size)
		(void)on_truncate(node, size);
	return r;
}

/* The last reference is gone. */
static void on_drop(struct node *node)
{
	struct kept *kept = node->kept;
	if (kept->inode.links == 0) {
		kept->inode.dtime = kept_seconds(node_now());
		give_up(kept, node_is_directory(node));
		return;
	}
	if (kept->is_dirty)
		(void)kept_write_inode(kept);
	kept_detach(kept);
}

static uint64_t on_sectors(const struct node *node)
{
	return node->kept->inode.sectors;
}

static const struct node_keeper keeper = {
	.link = on_link,
	.unlink = on_unlink,
	.change = on_change,
	.changed = on_changed,
	.read = on_read,
	.write = on_write,
	.truncate = on_truncate,
	.reserve = on_reserve,
	.drop = on_drop,
	.sectors = on_sectors,
};

int kept_init(const struct boot *boot, struct node *root)
{
	struct ext2_inode inode;
	if (!boot->volume_bytes || ext2_open(boot->volume_bytes) < 0)
		return 0;
	if (ext2_read_inode(EXT2_ROOT, &inode) < 0 || !S_ISDIR(inode.mode))
		return -EIO;
	struct kept *kept = kept_attach(root, EXT2_ROOT, &inode);
	if (!kept)
		return -ENOMEM;
	kept_all.top = root;
	kept->fill_below = root->fill;
	root->fill = kept_fill;
	node_keeper = &keeper;
	is_there = true;
	return 0;
}

void kept_begin(void)
{
	has_begun = is_there;
}

void kept_leave_out(struct node *directory)
{
	directory->in_memory = true;
	if (directory->fill)
		directory->fill(directory);
	for (struct entry *entry = directory->directory.first; entry; entry = entry->next)
		if (node_is_directory(entry->node) && !entry->node->in_memory)
			kept_leave_out(entry->node);
}

bool kept_is_there(void)
{
	return is_there;
}

bool kept_room(const struct node *node, struct kept_room *ret)
{
	if (!is_there || node->in_memory || (node->home && node->home->in_memory))
		return false;
	*ret = (struct kept_room){ EXT2_BLOCK, ext2_blocks(), ext2_blocks_free(), ext2_inodes(),
		ext2_inodes_free() };
	return true;
}

static int write_dirty(void)
{
	int r = 0;
	for (uint32_t i = 0; i < KEPT_CHAINS; i++)
		for (struct kept *kept = kept_all.chains[i]; kept; kept = kept->next)
			if (kept->is_dirty && kept_write_inode(kept) < 0)
				r = -EIO;
	return r;
}

int kept_sync(void)
{
	if (!is_there)
		return 0;
	int r = write_dirty(), e = ext2_sync();
	return r < 0 ? r : e;
}

void kept_close(void)
{
	if (!is_there)
		return;
	is_there = false;
	(void)write_dirty();
	/* What was open without a name goes now. */
	for (uint32_t i = 0; i < KEPT_CHAINS; i++)
		for (struct kept *kept = kept_all.chains[i], *next; kept; kept = next) {
			next = kept->next;
			if (kept->inode.links == 0) {
				kept->inode.dtime = kept_seconds(node_now());
				give_up(kept, node_is_directory(kept->node));
			}
		}
	ext2_close();
}
