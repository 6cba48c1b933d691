/* SPDX-License-Identifier: Apache-2.0 */
/*
 * erofs.c - the read-only image below the tree.
 *
 * Theory of operation. The super block stands at 1024; an inode at (meta block, 32 * number). Its data is one
 * run of blocks, or (inline) a run whose last part stands right behind the inode. A block of a directory begins
 * with its entries, whose count follows from the first name's offset; names go to the next one's start. Every
 * offset is held against the image's size: a wrong one makes a file or directory that ends early.
 */
#include "unikernel/erofs.h"

#include "unikernel/heap.h"

#define SUPER_OFFSET  1024u
#define SUPER_MAGIC   0xe0f5e1e2u
#define INCOMPAT_FINE 0u
#define LAYOUT_PLAIN  0u
#define LAYOUT_INLINE 2u

struct super {
	uint32_t magic, checksum, feature_compat;
	uint8_t block_bits, extra_slots;
	uint16_t root_number;
	uint64_t inode_count, build_time;
	uint32_t build_time_ns, blocks, meta_block, xattr_block;
	uint8_t uuid[16], volume[16];
	uint32_t feature_incompat;
};

struct inode_compact {
	uint16_t format, xattr_count, mode, links;
	uint32_t size, reserved, u, number;
	uint16_t uid, gid;
	uint32_t reserved2;
};
static_assert(sizeof(struct inode_compact) == 32, "on disk");

struct inode_extended {
	uint16_t format, xattr_count, mode, reserved;
	uint64_t size;
	uint32_t u, number, uid, gid;
	uint64_t mtime;
	uint32_t mtime_ns, links;
	uint8_t reserved2[16];
};
static_assert(sizeof(struct inode_extended) == 64, "on disk");

struct directory_entry {
	uint64_t number;
	uint16_t name_offset;
	uint8_t type, reserved;
} __attribute__((__packed__));
static_assert(sizeof(struct directory_entry) == 12, "on disk");

static struct {
	const uint8_t *data;
	uint64_t size, block, meta, build_time_ns;
} image;

/* Nodes of files with several names, by their number. */
struct known {
	struct known *next;
	uint64_t number;
	struct node *node;
};
static struct known *known_files;

static void fill_directory(struct node *node);

static bool is_inside(uint64_t offset, uint64_t size)
{
	return offset <= image.size && size <= image.size - offset;
}

static void set_bytes(struct node *node, uint64_t inline_offset, uint32_t layout, uint64_t block)
{
	uint64_t first = node->size, start = block * image.block;
	struct image_bytes bytes = {};
	if (layout == LAYOUT_INLINE)
		first = node->size / image.block * image.block;
	if (first == 0)
		start = 0; /* the block is then no block */
	if (!is_inside(start, first) || !is_inside(inline_offset, node->size - first)) {
		node->size = 0;
		return;
	}
	bytes.first = image.data + start;
	bytes.first_bytes = first;
	bytes.second = image.data + inline_offset;
	bytes.second_bytes = node->size - first;
	node->regular.image = bytes;
}

struct raw_inode {
	uint32_t layout, block, header;
	uint64_t offset;
};

static bool read_inode(uint64_t number, struct node *node, struct raw_inode *ret)
{
	struct inode_extended extended;
	struct inode_compact compact;
	uint64_t offset = image.meta + number * 32;
	if (number > image.size / 32 || !is_inside(offset, sizeof(compact)))
		return false;
	memcpy(&compact, image.data + offset, sizeof(compact));
	uint32_t header = sizeof(compact);
	node->mode = compact.mode;
	node->number = number;
	if (compact.format & 1) {
		if (!is_inside(offset, sizeof(extended)))
			return false;
		memcpy(&extended, image.data + offset, sizeof(extended));
		header = sizeof(extended);
		node->size = extended.size;
		node->uid = extended.uid;
		node->gid = extended.gid;
		node->mtime_ns = extended.mtime * 1000000000 + extended.mtime_ns;
		ret->block = extended.u;
	} else {
		node->size = compact.size;
		node->uid = compact.uid;
		node->gid = compact.gid;
		node->mtime_ns = image.build_time_ns;
		ret->block = compact.u;
	}
	node->atime_ns = node->ctime_ns = node->mtime_ns;
	ret->layout = (compact.format >> 1) & 7;
	ret->offset = offset;
	ret->header =
		header + (compact.xattr_count ? 12u + ((uint32_t)compact.xattr_count - 1) * 4u : 0);
	return ret->layout == LAYOUT_PLAIN || ret->layout == LAYOUT_INLINE;
}

static struct node *node_of(uint64_t number)
{
	for (struct known *known = known_files; known; known = known->next)
		if (known->number == number) {
			node_hold(known->node);
			return known->node;
		}
	struct node *node = node_new(0);
	struct raw_inode raw;
	if (!node)
		return NULL;
	if (!read_inode(number, node, &raw)) {
		node->mode = S_IFREG;
		node->size = 0;
		return node;
	}
	uint64_t behind = raw.offset + raw.header;
	if (S_ISREG(node->mode)) {
		set_bytes(node, behind, raw.layout, raw.block);
	} else if (S_ISLNK(node->mode)) {
		char *target = heap_alloc(node->size + 1);
		struct node *bytes = node_new(S_IFREG);
		if (target && bytes) {
			bytes->size = node->size;
			set_bytes(bytes, behind, raw.layout, raw.block);
			node_read(bytes, target, bytes->size, 0);
			node_drop(bytes);
		}
		node->target = target;
	} else if (S_ISDIR(node->mode)) {
		node->fill = fill_directory;
		node->has_image = true;
		node->private_data = number;
	} else {
		node->rdev = raw.block;
		node->size = 0;
	}
	return node;
}

static void remember(uint64_t number, struct node *node)
{
	struct known *known = S_ISDIR(node->mode) ? NULL : heap_alloc(sizeof(*known));
	if (!known)
		return;
	for (struct known *other = known_files; other; other = other->next)
		if (other->number == number) {
			heap_free(known);
			return;
		}
	*known = (struct known){ known_files, number, node };
	node_hold(node); /* as long as the unikernel lives */
	known_files = known;
}

static uint16_t links_of(uint64_t number)
{
	struct inode_compact compact;
	struct inode_extended extended;
	uint64_t offset = image.meta + number * 32;
	if (number > image.size / 32 || !is_inside(offset, sizeof(extended)))
		return 1;
	memcpy(&compact, image.data + offset, sizeof(compact));
	memcpy(&extended, image.data + offset, sizeof(extended));
	return compact.format & 1 ? (uint16_t)extended.links : compact.links;
}

static void fill_block(struct node *directory, const uint8_t *block, uint64_t size)
{
	struct directory_entry entry;
	if (size < sizeof(entry))
		return;
	memcpy(&entry, block, sizeof(entry));
	uint32_t count = entry.name_offset / (uint32_t)sizeof(entry);
	for (uint32_t i = 0; i < count && (i + 1) * sizeof(entry) <= size; i++) {
		memcpy(&entry, block + i * sizeof(entry), sizeof(entry));
		uint64_t start = entry.name_offset, end = size;
		if (i + 1 < count) {
			struct directory_entry next;
			memcpy(&next, block + (i + 1) * sizeof(entry), sizeof(next));
			end = next.name_offset;
		}
		if (start >= end || end > size)
			return;
		const char *name = (const char *)block + start;
		size_t length = 0;
		while (start + length < end && name[length])
			length++;
		if (length == 0 || length > NAME_LONGEST || (length == 1 && name[0] == '.') ||
			(length == 2 && name[0] == '.' && name[1] == '.'))
			continue;
		struct node *node = node_of(entry.number);
		if (!node)
			return;
		if (links_of(entry.number) > 1)
			remember(entry.number, node);
		struct entry *shown = node_show(directory, name, length, node);
		if (shown)
			shown->is_over_image = true;
		node_drop(node);
	}
}

static void fill_directory(struct node *node)
{
	struct raw_inode raw;
	struct node *bytes = node_new(S_IFREG);
	uint8_t *block = heap_alloc(image.block);
	node->fill = NULL;
	if (bytes && block && read_inode(node->private_data, bytes, &raw)) {
		bytes->mode = S_IFREG;
		set_bytes(bytes, raw.offset + raw.header, raw.layout, raw.block);
		for (uint64_t offset = 0; offset < bytes->size; offset += image.block) {
			int64_t got = node_read(bytes, block, image.block, offset);
			fill_block(node, block, (uint64_t)got);
		}
	}
	heap_free(block);
	if (bytes)
		node_drop(bytes);
}

int erofs_root(const void *data, uint64_t size, struct node **ret)
{
	struct super super;
	if (size < SUPER_OFFSET + sizeof(super))
		return -EINVAL;
	memcpy(&super, (const uint8_t *)data + SUPER_OFFSET, sizeof(super));
	if (super.magic != SUPER_MAGIC || super.block_bits < 9 || super.block_bits > 16 ||
		(super.feature_incompat & ~INCOMPAT_FINE) != 0)
		return -EINVAL;
	image.data = data;
	image.size = size;
	image.block = UINT64_C(1) << super.block_bits;
	image.meta = (uint64_t)super.meta_block << super.block_bits;
	image.build_time_ns = super.build_time * 1000000000 + super.build_time_ns;
	struct node *root = node_of(super.root_number);
	if (!root)
		return -ENOMEM;
	if (!S_ISDIR(root->mode))
		return -EINVAL;
	*ret = root;
	return 0;
}
