/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap.c - objects by size class from pages; what is larger than half a page has pages of its own.
 */
#include "unikernel/heap.h"

#define HEADER   16u
#define SMALLEST 32u
#define CLASSES  7 /* 32 to 2048 */
#define BATCH    16

struct free_object {
	struct free_object *next;
};

struct header {
	uint64_t bytes; /* with the header */
	uint64_t reserved;
};

static struct free_object *free_objects[CLASSES];
static struct free_object *free_pages;

static int class_of(uint64_t bytes)
{
	int class = 0;
	for (uint64_t size = SMALLEST; size < bytes; size *= 2)
		class ++;
	return class;
}

void *heap_page(void)
{
	if (!free_pages) {
		uint64_t pages = memory_alloc((uint64_t)BATCH * KERNEL_PAGE);
		uint32_t count = BATCH;
		if (!pages) {
			pages = memory_alloc(KERNEL_PAGE);
			count = 1;
		}
		if (!pages)
			return NULL;
		for (uint32_t i = count; i > 0; i--) {
			struct free_object *page = at(pages + (i - 1) * (uint64_t)KERNEL_PAGE);
			page->next = free_pages;
			free_pages = page;
		}
	}
	struct free_object *page = free_pages;
	free_pages = page->next;
	memset(page, 0, KERNEL_PAGE);
	return page;
}

void heap_page_free(void *page)
{
	struct free_object *object = page;
	if (!object)
		return;
	object->next = free_pages;
	free_pages = object;
}

static bool fill_class(int class)
{
	uint64_t size = (uint64_t)SMALLEST << class;
	uint8_t *page = heap_page();
	if (!page)
		return false;
	for (uint64_t offset = 0; offset + size <= KERNEL_PAGE; offset += size) {
		struct free_object *object = (void *)(page + offset);
		object->next = free_objects[class];
		free_objects[class] = object;
	}
	return true;
}

void *heap_alloc(uint64_t bytes)
{
	struct header *header;
	if (bytes > UINT32_MAX)
		return NULL;
	bytes += HEADER;
	if (bytes > (uint64_t)SMALLEST << (CLASSES - 1)) {
		header = at(memory_alloc(bytes));
		if (!header)
			return NULL;
	} else {
		int class = class_of(bytes);
		if (!free_objects[class] && !fill_class(class))
			return NULL;
		header = (void *)free_objects[class];
		free_objects[class] = free_objects[class]->next;
		memset(header, 0, (uint64_t)SMALLEST << class);
	}
	header->bytes = bytes;
	return header + 1;
}

void heap_free(void *pointer)
{
	if (!pointer)
		return;
	struct header *header = (struct header *)pointer - 1;
	if (header->bytes > (uint64_t)SMALLEST << (CLASSES - 1)) {
		memory_free(address_of(header), header->bytes);
		return;
	}
	int class = class_of(header->bytes);
	struct free_object *object = (void *)header;
	object->next = free_objects[class];
	free_objects[class] = object;
}

char *heap_text(const char *text, size_t length)
{
	char *copy = heap_alloc(length + 1);
	if (copy)
		memcpy(copy, text, length);
	return copy;
}
