/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept_lay.c - the volume's tree over the image's, a directory when somebody first looks into it.
 */
#include "unikernel/heap.h"
#include "unikernel/kept_inode.h"

static char *read_target(const struct ext2_inode *inode)
{
	uint64_t length = ext2_size(inode);
	char *target = length < 4096 ? heap_alloc(length + 1) : NULL;
	if (target && !inode->sectors && length < KEPT_LINK_SHORT)
		memcpy(target, inode->block, length);
	else if (target)
		(void)ext2_read(inode, target, length, 0);
	return target;
}

static struct node *make_node(uint32_t number, const struct ext2_inode *inode)
{
	struct node *node = kept_known_node(number);
	if (node) {
		node_hold(node);
		return node;
	}
	node = node_new(inode->mode);
	if (!node || !kept_attach(node, number, inode)) {
		if (node)
			node_drop(node);
		return NULL;
	}
	kept_get_head(node, inode);
	if (S_ISDIR(node->mode))
		node->fill = kept_fill;
	if (S_ISLNK(node->mode)) {
		node->target = read_target(inode);
		if (!node->target) {
			node_drop(node);
			return NULL;
		}
	}
	return node;
}

/* One entry of the volume over what the directory has of the image. */
static int lay_over(void *data, const char *name, uint32_t length, uint32_t number)
{
	struct node *directory = data;
	struct ext2_inode inode;
	if ((length == 1 && name[0] == '.') || (length == 2 && name[0] == '.' && name[1] == '.') ||
		(directory == kept_all.top && length == 10 && memcmp(name, "lost+found", 10) == 0))
		return 0;
	if (ext2_read_inode(number, &inode) < 0 || inode.links == 0)
		return 0;
	struct entry *below = node_entry(directory, name, length);
	if (S_ISCHR(inode.mode) && !inode.block[0] && !inode.block[1]) {
		kept_all.hiding = number;
		if (below)
			node_hide(directory, below);
		return 0;
	}
	bool is_over = below != NULL;
	if (below && node_is_directory(below->node) && S_ISDIR(inode.mode) && !below->node->kept &&
		!ext2_is_opaque(number)) {
		struct kept *kept = kept_attach(below->node, number, &inode);
		if (!kept)
			return -ENOMEM;
		kept_get_head(below->node, &inode);
		kept->fill_below = below->node->fill;
		below->node->fill = kept_fill;
		below->is_kept = true;
		return 0;
	}
	if (below)
		node_hide(directory, below);
	struct node *node = make_node(number, &inode);
	struct entry *entry = node ? node_show(directory, name, length, node) : NULL;
	if (node)
		node_drop(node);
	if (!entry)
		return -ENOMEM;
	entry->is_over_image = is_over;
	entry->is_kept = true;
	return 0;
}

void kept_fill(struct node *directory)
{
	struct kept *kept = directory->kept;
	directory->fill = NULL;
	if (kept->fill_below) {
		directory->fill = kept->fill_below;
		kept->fill_below(directory);
		kept->fill_below = NULL;
		directory->fill = NULL;
	}
	(void)ext2_list(&kept->inode, lay_over, directory);
}
