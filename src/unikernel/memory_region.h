/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_region.h - the table of pages as memory.c keeps it and memory_copy.c puts it back.
 */
#pragma once

#include "unikernel/kernel.h"

/*
 * HELD: another process has it, which does not run (memory_copy.c). SHARED: so may several, the same. IMAGE: freed, it must be made
 * afresh, for it would show the image again. WRITTEN: it may have what neither zero nor the image is.
 */
enum {
	FREE,
	USED,
	KERNEL,
	HELD,
	KIND = 3,
	IMAGE = 4,
	WRITTEN = 8,
	READABLE = 16,
	WRITABLE = 32,
	EXECUTABLE = 64,
	SHARED = 128,
	PLAIN = USED | WRITTEN | READABLE | WRITABLE,
};
static_assert(READABLE == PLATFORM_READ << 4 && WRITABLE == PLATFORM_WRITE << 4 &&
		EXECUTABLE == PLATFORM_EXECUTE << 4,
	"a page's rights are the platform's");

#define IMAGE_RUNS_MOST 1024u

struct memory_region {
	uint64_t start;
	uint64_t left;    /* pages */
	uint64_t charged; /* bytes that were taken elsewhere */
	uint64_t pages;
	uint8_t *used;                   /* one a page */
	uint8_t *others;                 /* for each, how many processes that do not run have it */
	uint32_t copies;                 /* so many there are */
	uint64_t break_start, break_now; /* addresses */
	uint64_t cursor;                 /* the page below which the next search starts */
};
extern struct memory_region memory_region;

/* Which pages show the root's image. */
struct image_run {
	uint64_t page, count, from; /* `from` is an address of the image */
};
struct memory_images {
	struct image_run runs[IMAGE_RUNS_MOST];
	uint64_t count, changes;
};
extern struct memory_images memory_images;

static inline int memory_rights_of(uint8_t used)
{
	return used >> 4 & 7;
}

/* Makes pages memory again that the platform has just made: zero, readable and writable. */
void memory_renew(uint64_t page, uint64_t count);

/* The same, and they are free. */
void memory_give_back(uint64_t page, uint64_t count);
