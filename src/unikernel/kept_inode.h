/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept_inode.h - nodes that have an inode on the volume; for the files kept*.c.
 */
#pragma once

#include "unikernel/ext2.h"
#include "unikernel/node.h"

#define KEPT_CHAINS      256u
#define KEPT_LINK_SHORT  60u
#define KEPT_EXTRA_BYTES 32

struct kept {
	struct kept *next; /* in its chain, by number */
	struct node *node;
	struct ext2_inode inode;
	uint32_t number;
	bool is_dirty; /* its times are not on the volume */
	void (*fill_below)(struct node *node);
};

struct kept_all {
	struct kept *chains[KEPT_CHAINS];
	struct node *top;
	uint32_t hiding; /* the inode that hides names; 0: none yet */
};
extern struct kept_all kept_all;

uint32_t kept_seconds(uint64_t ns);

/* Owner, mode and times, as the node has them, into the inode; and back, with size and device. */
void kept_set_head(struct ext2_inode *inode, const struct node *node);
void kept_get_head(struct node *node, const struct ext2_inode *inode);
int kept_write_inode(struct kept *kept);

/* The node has this inode from now on, until kept_detach(); NULL without memory. */
struct kept *kept_attach(struct node *node, uint32_t number, const struct ext2_inode *inode);
void kept_detach(struct kept *kept);

/* The node that has it already, or NULL. */
struct node *kept_known_node(uint32_t number);

/* A directory's entries: those of the image with the volume's over them; see struct node. */
void kept_fill(struct node *directory);
