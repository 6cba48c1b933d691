/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap.c - objects by size class from pages; what is larger than half a page has pages of its own.
 *
 * Segments of the network have a class of their own, and their first bytes differ in where they stand in a page: what is at
 * the same place of each page contends for the same few lines of the processor's cache.
 *
 * Runs of a few pages are kept when they become free, by their number of pages: giving them back to the
 * platform and asking for them again costs more than what they are used for. When memory runs out they go back.
 */
#include "unikernel/heap.h"

#define HEADER        16u
#define SMALLEST      32u
#define LARGEST       2048u
#define CLASSES       8 /* 32 to 2048, and one more: */
#define SEGMENT       7
#define SEGMENT_BYTES 1664u /* a frame of Ethernet, with what lwIP and this file write before it */
#define LINE          64u
#define BATCH         16
#define RUNS          33 /* pages of the longest run that is kept, and one */

struct free_object {
	struct free_object *next;
};

struct header {
	uint64_t bytes; /* with the header */
	uint64_t reserved;
};

static struct free_object *free_objects[CLASSES];
static struct free_object *free_pages;
static uint64_t fresh_pages, fresh_end; /* of a batch that nobody has touched */
static struct free_object *free_runs[RUNS];

static int class_of(uint64_t bytes)
{
	if (bytes > LARGEST / 2 && bytes <= SEGMENT_BYTES)
		return SEGMENT;
	return bytes <= SMALLEST ? 0 : 59 - __builtin_clzll(bytes - 1);
}

/* How far behind the start of a page its first object stands: another line each time, where there is room. */
static uint64_t next_start(uint64_t size)
{
	static uint64_t start;
	start += LINE;
	if (start > KERNEL_PAGE % size)
		start = 0;
	return KERNEL_PAGE % size ? start : 0;
}

/* Zero, as the platform made it; pages of a batch cost nothing until they are used. */
static void *fresh_page(void)
{
	if (fresh_pages == fresh_end) {
		uint64_t bytes = (uint64_t)BATCH * KERNEL_PAGE;
		fresh_pages = memory_alloc(bytes);
		if (!fresh_pages) {
			bytes = KERNEL_PAGE;
			fresh_pages = memory_alloc(bytes);
		}
		fresh_end = fresh_pages ? fresh_pages + bytes : 0;
		if (!fresh_pages)
			return NULL;
	}
	void *page = at(fresh_pages);
	fresh_pages += KERNEL_PAGE;
	return page;
}

void *heap_page(void)
{
	struct free_object *page = free_pages;
	if (!page)
		return fresh_page();
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
	uint64_t size = class == SEGMENT ? SEGMENT_BYTES : (uint64_t)SMALLEST << class;
	uint8_t *page = heap_page();
	if (!page)
		return false;
	for (uint64_t offset = next_start(size); offset + size <= KERNEL_PAGE; offset += size) {
		struct free_object *object = (void *)(page + offset);
		object->next = free_objects[class];
		free_objects[class] = object;
	}
	return true;
}

static uint64_t pages_of(uint64_t bytes)
{
	return (bytes + KERNEL_PAGE - 1) / KERNEL_PAGE;
}

static bool give_back_runs(void)
{
	bool had_some = false;
	for (uint64_t pages = 1; pages < RUNS; pages++)
		while (free_runs[pages]) {
			struct free_object *run = free_runs[pages];
			free_runs[pages] = run->next;
			memory_free(address_of(run), pages * KERNEL_PAGE);
			had_some = true;
		}
	return had_some;
}

/* `*ret_is_fresh`: it is zero already. */
static void *take_pages(uint64_t bytes, bool *ret_is_fresh)
{
	uint64_t pages = pages_of(bytes);
	*ret_is_fresh = true;
	if (pages < RUNS && free_runs[pages]) {
		struct free_object *run = free_runs[pages];
		free_runs[pages] = run->next;
		*ret_is_fresh = false;
		return run;
	}
	uint64_t address = memory_alloc(bytes);
	if (!address && give_back_runs())
		address = memory_alloc(bytes);
	return at(address);
}

static void *alloc_object(uint64_t bytes, bool is_zeroed)
{
	struct header *header;
	bool is_fresh = false;
	if (bytes > UINT32_MAX)
		return NULL;
	bytes += HEADER;
	if (bytes > LARGEST) {
		header = take_pages(bytes, &is_fresh);
		if (!header)
			return NULL;
	} else {
		int class = class_of(bytes);
		if (!free_objects[class] && !fill_class(class))
			return NULL;
		header = (void *)free_objects[class];
		free_objects[class] = free_objects[class]->next;
	}
	if (is_zeroed && !is_fresh)
		memset(header, 0, bytes);
	header->bytes = bytes;
	return header + 1;
}

void *heap_alloc(uint64_t bytes)
{
	return alloc_object(bytes, true);
}

void *heap_alloc_raw(uint64_t bytes)
{
	return alloc_object(bytes, false);
}

void heap_free(void *pointer)
{
	if (!pointer)
		return;
	struct header *header = (struct header *)pointer - 1;
	struct free_object *object = (void *)header;
	uint64_t pages = pages_of(header->bytes);
	if (header->bytes <= LARGEST) {
		int class = class_of(header->bytes);
		object->next = free_objects[class];
		free_objects[class] = object;
	} else if (pages < RUNS) {
		object->next = free_runs[pages];
		free_runs[pages] = object;
	} else {
		memory_free(address_of(header), header->bytes);
	}
}

char *heap_text(const char *text, size_t length)
{
	char *copy = heap_alloc(length + 1);
	if (copy)
		memcpy(copy, text, length);
	return copy;
}
