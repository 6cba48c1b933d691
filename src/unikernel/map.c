/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map.c - bytes of files in memory.
 */
#include "unikernel/map.h"

#include <sys/mman.h>

uint64_t map_image_bytes(const struct node *node, uint64_t offset, uint64_t *ret_from)
{
	const struct image_bytes *image = &node->regular.image;
	if (!S_ISREG(node->mode) || node->generate || node->regular.page_count ||
		offset % KERNEL_PAGE || address_of(image->first) % KERNEL_PAGE)
		return 0;
	uint64_t whole = image->first_bytes & ~(uint64_t)(KERNEL_PAGE - 1);
	*ret_from = address_of(image->first) + offset;
	return offset < whole ? whole - offset : 0;
}

static int64_t map_copy(uint64_t address, uint64_t size, uint64_t rights, uint64_t flags,
	struct node *node, uint64_t offset)
{
	if ((rights & PROT_EXEC) && offset < node->size)
		return -EACCES;
	int64_t start = memory_map(address, size, PROT_READ | PROT_WRITE, flags);
	if (start < 0)
		return start;
	int64_t got = node_read(node, at((uint64_t)start), size, offset);
	if (got >= 0 && !((rights & PROT_READ) && (rights & PROT_WRITE)))
		got = memory_protect((uint64_t)start, size, rights & (PROT_READ | PROT_WRITE));
	return got < 0 ? got : start;
}

int64_t map_file(uint64_t address, uint64_t size, uint64_t rights, uint64_t flags,
	struct node *node, uint64_t offset)
{
	uint64_t from, shown = map_image_bytes(node, offset, &from);
	if (size == 0 || size > UINT64_MAX - KERNEL_PAGE)
		return -EINVAL;
	if (shown >= size) {
		int64_t r = memory_map_image(address, size, rights, flags, from);
		if (r != -ENOTSUP)
			return r;
		shown = 0;
	}
	if (shown == 0)
		return map_copy(address, size, rights, flags, node, offset);
	/* The head shows the image, the tail is a copy. */
	int64_t start = memory_map(address, size, PROT_READ | PROT_WRITE, flags);
	if (start < 0)
		return start;
	int64_t r = memory_map_image((uint64_t)start, shown, rights, MAP_PRIVATE | MAP_FIXED, from);
	if (r == -ENOTSUP)
		shown = 0;
	if (r >= 0 || r == -ENOTSUP)
		r = map_copy((uint64_t)start + shown, size - shown, rights, MAP_PRIVATE | MAP_FIXED,
			node, offset + shown);
	if (r < 0)
		(void)memory_unmap((uint64_t)start, size);
	return r < 0 ? r : start;
}
