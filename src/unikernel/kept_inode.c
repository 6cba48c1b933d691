/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept_inode.c - nodes that have an inode on the volume, found by its number.
 */
#include "unikernel/kept_inode.h"

#include <sys/sysmacros.h>

#include "unikernel/heap.h"

#define NUMBERS_FROM (UINT64_C(1) << 32) /* an inode of the volume, as programs see it */

struct kept_all kept_all;

uint32_t kept_seconds(uint64_t ns)
{
	return (uint32_t)(ns / 1000000000);
}

/* Nanoseconds, and what seconds have above 32 bits. */
static uint32_t extra(uint64_t ns)
{
	return (uint32_t)(ns % 1000000000) << 2 | (uint32_t)(ns / 1000000000 >> 32 & 3);
}

static uint64_t time_of(uint32_t seconds_low, uint32_t extra_bits)
{
	return ((uint64_t)(extra_bits & 3) << 32 | seconds_low) * 1000000000 + (extra_bits >> 2);
}

void kept_set_head(struct ext2_inode *inode, const struct node *node)
{
	inode->mode = (uint16_t)node->mode;
	inode->uid = (uint16_t)node->uid;
	inode->uid_high = (uint16_t)(node->uid >> 16);
	inode->gid = (uint16_t)node->gid;
	inode->gid_high = (uint16_t)(node->gid >> 16);
	inode->extra_size = KEPT_EXTRA_BYTES;
	inode->atime = kept_seconds(node->atime_ns);
	inode->mtime = kept_seconds(node->mtime_ns);
	inode->ctime = kept_seconds(node->ctime_ns);
	inode->atime_extra = extra(node->atime_ns);
	inode->mtime_extra = extra(node->mtime_ns);
	inode->ctime_extra = extra(node->ctime_ns);
}

void kept_get_head(struct node *node, const struct ext2_inode *inode)
{
	bool has_extra = inode->extra_size >= KEPT_EXTRA_BYTES;
	node->mode = inode->mode;
	node->uid = inode->uid | (uint32_t)inode->uid_high << 16;
	node->gid = inode->gid | (uint32_t)inode->gid_high << 16;
	node->atime_ns = time_of(inode->atime, has_extra ? inode->atime_extra : 0);
	node->mtime_ns = time_of(inode->mtime, has_extra ? inode->mtime_extra : 0);
	node->ctime_ns = time_of(inode->ctime, has_extra ? inode->ctime_extra : 0);
	node->size = S_ISREG(inode->mode) || S_ISLNK(inode->mode) ? ext2_size(inode) : 0;
	node->rdev = inode->block[0]
		? makedev(inode->block[0] >> 8 & 0xff, inode->block[0] & 0xff)
		: makedev(inode->block[1] >> 8 & 0xfff,
			  (inode->block[1] & 0xff) | (inode->block[1] >> 12 & 0xfff00));
}

int kept_write_inode(struct kept *kept)
{
	kept->is_dirty = false;
	return ext2_write_inode(kept->number, &kept->inode);
}

struct kept *kept_attach(struct node *node, uint32_t number, const struct ext2_inode *inode)
{
	struct kept *kept = heap_alloc(sizeof(*kept));
	if (!kept)
		return NULL;
	kept->node = node;
	kept->number = number;
	kept->inode = *inode;
	kept->next = kept_all.chains[number % KEPT_CHAINS];
	kept_all.chains[number % KEPT_CHAINS] = kept;
	node->kept = kept;
	node->number = NUMBERS_FROM + number;
	return kept;
}

void kept_detach(struct kept *kept)
{
	struct kept **link = &kept_all.chains[kept->number % KEPT_CHAINS];
	while (*link != kept)
		link = &(*link)->next;
	*link = kept->next;
	kept->node->kept = NULL;
	heap_free(kept);
}

struct node *kept_known_node(uint32_t number)
{
	struct kept *kept = kept_all.chains[number % KEPT_CHAINS];
	while (kept && kept->number != number)
		kept = kept->next;
	return kept ? kept->node : NULL;
}
