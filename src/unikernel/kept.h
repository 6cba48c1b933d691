/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept.h - what the program changes, kept on the volume above the image.
 */
#pragma once

#include "unikernel/node.h"

/*
 * Lays the volume's files over the root, which nobody has looked into yet. Without a volume, or with one that is no file
 * system, everything stays in memory. -EIO if it is broken.
 */
int kept_init(const struct boot *boot, struct node *root);

/* From here on changes go to the volume. */
void kept_begin(void);

/* What stands below this directory is in memory only. */
void kept_leave_out(struct node *directory);

/* True if there is a volume and the node is of it; its blocks and inodes. */
struct kept_room {
	uint64_t block_bytes, blocks, blocks_free, inodes, inodes_free;
};
bool kept_room(const struct node *node, struct kept_room *ret);
bool kept_is_there(void);

/* All that was written is on the volume. */
int kept_sync(void);

/* The same, for the last time: the volume is clean. */
void kept_close(void);
