/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shared.c - mappings that a program writes a file through.
 */
#include "unikernel/shared.h"

#include "unikernel/heap.h"

struct mapping {
	struct mapping *next;
	uint64_t address, size;
	struct node *node;
	uint64_t offset;
};

static struct mapping *mappings;

int shared_add(uint64_t address, uint64_t size, struct node *node, uint64_t offset)
{
	struct mapping *mapping = heap_alloc(sizeof(*mapping));
	if (!mapping)
		return -ENOMEM;
	*mapping = (struct mapping){ mappings, address, size, node, offset };
	node_hold(node);
	mappings = mapping;
	return 0;
}

/* A mapping never makes its file longer. */
static void write_back(const struct mapping *mapping, uint64_t start, uint64_t end)
{
	uint64_t offset = mapping->offset + (start - mapping->address), bytes = end - start;
	if (offset >= mapping->node->size)
		return;
	if (bytes > mapping->node->size - offset)
		bytes = mapping->node->size - offset;
	(void)node_write(mapping->node, at(start), bytes, offset);
}

static bool overlap(const struct mapping *mapping, uint64_t address, uint64_t size,
	uint64_t *ret_start, uint64_t *ret_end)
{
	uint64_t end = address + size, last = mapping->address + mapping->size;
	*ret_start = address > mapping->address ? address : mapping->address;
	*ret_end = end < last ? end : last;
	return *ret_start < *ret_end;
}

void shared_sync(uint64_t address, uint64_t size)
{
	uint64_t start, end;
	for (const struct mapping *mapping = mappings; mapping; mapping = mapping->next)
		if (overlap(mapping, address, size, &start, &end))
			write_back(mapping, start, end);
}

void shared_end(uint64_t address, uint64_t size)
{
	size = (size + KERNEL_PAGE - 1) & ~(uint64_t)(KERNEL_PAGE - 1);
	for (struct mapping **link = &mappings, *mapping; (mapping = *link);) {
		uint64_t start, end, last = mapping->address + mapping->size;
		if (!overlap(mapping, address, size, &start, &end)) {
			link = &mapping->next;
			continue;
		}
		write_back(mapping, start, end);
		if (end < last)
			(void)shared_add(end, last - end, mapping->node,
				mapping->offset + (end - mapping->address));
		if (start > mapping->address) {
			mapping->size = start - mapping->address;
			link = &mapping->next;
			continue;
		}
		if (*link != mapping) /* what is left of it went before it */
			link = &(*link)->next;
		*link = mapping->next;
		node_drop(mapping->node);
		heap_free(mapping);
	}
}
