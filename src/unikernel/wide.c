/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wide.c - addresses that a program reserves far beyond its memory, and the memory it takes there.
 *
 * Theory of operation. Reservations lie in a tebibyte of addresses of their own; those of several processes never overlap,
 * but for a child that was forked. A chunk is there from when some of it becomes usable until nothing of it is reserved;
 * the platform maps it as it maps a program that is linked to an address, and the memory it takes is counted as the
 * region's. Each chunk knows the rights of its pages. A process that does not run leaves its chunks where they are; only
 * while parent and child have the same addresses one of them is put aside.
 */
#include "unikernel/wide.h"

#include <sys/mman.h>

#include "unikernel/heap.h"

#define WIDE_START  (UINT64_C(512) << 30)
#define WIDE_END    (UINT64_C(1536) << 30)
#define CHUNK       (UINT64_C(1) << 20)
#define CHUNK_PAGES (CHUNK / KERNEL_PAGE)
#define LEAF        UINT64_C(512) /* chunks */
#define LEAVES      ((WIDE_END - WIDE_START) / CHUNK / LEAF)
#define RIGHTS      7u
#define WAS_WRITTEN 8u

struct area {
	struct area *next; /* by address */
	uint64_t start, end;
};

struct chunk {
	uint8_t *aside;
	uint8_t rights[CHUNK_PAGES];
};

struct family {
	uint32_t members;
};

struct wide {
	struct wide *next; /* of all processes */
	struct family *family;
	struct area *areas;
	bool is_aside;
	struct chunk **leaves[LEAVES];
};

static struct wide *current, *all;
static uint64_t cursor = WIDE_START;

static uint64_t page_up(uint64_t bytes)
{
	return (bytes + KERNEL_PAGE - 1) & ~(uint64_t)(KERNEL_PAGE - 1);
}

bool wide_is(uint64_t address)
{
	return address >= WIDE_START && address < WIDE_END;
}

bool wide_is_used(void)
{
	return current != NULL;
}

static struct chunk **place_of(struct wide *wide, uint64_t address)
{
	uint64_t number = (address - WIDE_START) / CHUNK;
	struct chunk ***leaf = &wide->leaves[number / LEAF];
	if (!*leaf)
		*leaf = heap_alloc(LEAF * sizeof(**leaf));
	return *leaf ? &(*leaf)[number % LEAF] : NULL;
}

static struct chunk *chunk_at(const struct wide *wide, uint64_t address)
{
	uint64_t number = (address - WIDE_START) / CHUNK;
	struct chunk *const *leaf = wide->leaves[number / LEAF];
	return leaf ? leaf[number % LEAF] : NULL;
}

/* The chunk from `address` on and where it ends or, where a whole leaf has none, where that does. */
static struct chunk *next_chunk(const struct wide *wide, uint64_t *address)
{
	for (uint64_t number = (*address - WIDE_START) / CHUNK; number < LEAVES * LEAF; number++) {
		if (!wide->leaves[number / LEAF]) {
			number |= LEAF - 1;
			continue;
		}
		struct chunk *chunk = wide->leaves[number / LEAF][number % LEAF];
		*address = WIDE_START + number * CHUNK;
		if (chunk)
			return chunk;
	}
	return NULL;
}

#define each_chunk(wide, chunk, at_) \
	for (uint64_t at_ = WIDE_START; (chunk = next_chunk(wide, &(at_))); (at_) += CHUNK)

/* What the platform took of the region is counted there already. */
static int map_chunk(uint64_t start)
{
	uint64_t before = memory_left();
	if (before < CHUNK)
		return -ENOMEM;
	int r = platform_map(start, CHUNK);
	if (r == 0)
		memory_charge((int64_t)CHUNK - (int64_t)(before - memory_left()));
	return r;
}

static void unmap_chunk(uint64_t start)
{
	uint64_t before = memory_left();
	platform_unmap(start, CHUNK);
	memory_charge((int64_t)(memory_left() - before) - (int64_t)CHUNK);
}

static int make_chunk(uint64_t start)
{
	struct chunk **place = place_of(current, start);
	struct chunk *chunk = place ? heap_alloc(sizeof(*chunk)) : NULL;
	if (!chunk)
		return -ENOMEM;
	int r = map_chunk(start);
	if (r == 0)
		r = platform_protect(start, CHUNK, 0);
	if (r < 0) {
		heap_free(chunk);
		return -ENOMEM;
	}
	*place = chunk;
	return 0;
}

static bool is_free(uint64_t start, uint64_t end, uint64_t *ret_after)
{
	for (const struct wide *wide = all; wide; wide = wide->next)
		for (const struct area *area = wide->areas; area; area = area->next)
			/* No chunk is of two processes. */
			if (start < ((area->end + CHUNK - 1) & ~(CHUNK - 1)) &&
				(area->start & ~(CHUNK - 1)) < end) {
				*ret_after = (area->end + CHUNK - 1) & ~(CHUNK - 1);
				return false;
			}
	return true;
}

static uint64_t find_free(uint64_t from, uint64_t size)
{
	uint64_t start = from;
	while (size <= WIDE_END - WIDE_START && start <= WIDE_END - size)
		if (is_free(start, start + size, &start))
			return start;
	return 0;
}

static struct wide *new_wide(void)
{
	struct wide *wide = heap_alloc(sizeof(*wide));
	struct family *family = heap_alloc(sizeof(*family));
	if (!wide || !family) {
		heap_free(wide);
		heap_free(family);
		return NULL;
	}
	family->members = 1;
	wide->family = family;
	wide->next = all;
	all = wide;
	return wide;
}

static int add_area(struct wide *wide, uint64_t start, uint64_t end)
{
	struct area **link = &wide->areas, *area;
	while (*link && (*link)->end < start)
		link = &(*link)->next;
	if (*link && (*link)->end == start) {
		(*link)->end = end;
		return 0;
	}
	area = heap_alloc(sizeof(*area));
	if (!area)
		return -ENOMEM;
	*area = (struct area){ *link, start, end };
	*link = area;
	return 0;
}

int64_t wide_reserve(uint64_t hint, uint64_t size)
{
	uint64_t start = 0;
	size = page_up(size);
	if (!current)
		current = new_wide();
	if (!current)
		return -ENOMEM;
	if (wide_is(hint) && hint % CHUNK == 0)
		start = find_free(hint, size) == hint ? hint : 0;
	if (!start) {
		start = find_free(cursor, size);
		if (!start)
			start = find_free(WIDE_START, size);
		if (!start)
			return -ENOMEM;
		/* Not beside each other: their chunks come and go together. */
		cursor = (start + size + 2 * CHUNK - 1) & ~(CHUNK - 1);
	}
	int r = add_area(current, start, start + size);
	return r < 0 ? r : (int64_t)start;
}

static bool is_reserved(uint64_t start, uint64_t end)
{
	for (const struct area *area = current ? current->areas : NULL; area; area = area->next)
		if (start >= area->start && start < area->end) {
			if (end <= area->end)
				return true;
			start = area->end;
		}
	return false;
}

static bool is_any_reserved(uint64_t start, uint64_t end)
{
	for (const struct area *area = current->areas; area; area = area->next)
		if (start < area->end && area->start < end)
			return true;
	return false;
}

/* The rights of pages of one chunk, on the host and in its table. */
static int set_rights(struct chunk *chunk, uint64_t start, uint64_t end, uint64_t rights)
{
	int r = platform_protect(start, end - start, (int)rights);
	for (uint64_t page = start; r == 0 && page < end; page += KERNEL_PAGE) {
		uint8_t *now = &chunk->rights[page % CHUNK / KERNEL_PAGE];
		*now = (uint8_t)(rights | (*now & WAS_WRITTEN) |
			(rights & PROT_WRITE ? WAS_WRITTEN : 0));
	}
	return r;
}

static bool has_rights(const struct chunk *chunk, uint64_t start, uint64_t end, uint64_t rights)
{
	for (uint64_t page = start; page < end; page += KERNEL_PAGE)
		if ((chunk->rights[page % CHUNK / KERNEL_PAGE] & RIGHTS) != rights)
			return false;
	return true;
}

static uint64_t piece_end(uint64_t start, uint64_t end)
{
	uint64_t next = (start & ~(CHUNK - 1)) + CHUNK;
	return next < end ? next : end;
}

int wide_protect(uint64_t address, uint64_t size, uint64_t rights)
{
	uint64_t end = address + page_up(size);
	int r = 0;
	if (address % KERNEL_PAGE || (rights & ~(uint64_t)RIGHTS))
		return -EINVAL;
	if (!is_reserved(address, end))
		return -ENOMEM;
	if (rights & PROT_EXEC)
		return -EACCES;
	for (uint64_t start = address, next; r == 0 && start < end; start = next) {
		struct chunk *chunk = chunk_at(current, start);
		next = piece_end(start, end);
		if (!chunk && rights)
			r = make_chunk(start & ~(CHUNK - 1));
		if (!chunk)
			chunk = chunk_at(current, start);
		if (r == 0 && chunk && !has_rights(chunk, start, next, rights))
			r = set_rights(chunk, start, next, rights);
	}
	return r;
}

/* Pages as if nobody had touched them; what platforms release must be writable. */
static void empty(struct chunk *chunk, uint64_t start, uint64_t end)
{
	for (uint64_t page = start; page < end; page += KERNEL_PAGE) {
		uint8_t *now = &chunk->rights[page % CHUNK / KERNEL_PAGE];
		if (!(*now & WAS_WRITTEN))
			continue;
		uint64_t first = page;
		uint8_t same = *now;
		while (page + KERNEL_PAGE < end &&
			chunk->rights[(page + KERNEL_PAGE) % CHUNK / KERNEL_PAGE] == same)
			page += KERNEL_PAGE;
		platform_release(first, page + KERNEL_PAGE - first);
		/* On some platforms what is made anew can be written to. */
		if ((same & RIGHTS) != (PROT_READ | PROT_WRITE))
			platform_protect(first, page + KERNEL_PAGE - first, same & RIGHTS);
	}
}

int wide_empty(uint64_t address, uint64_t size)
{
	uint64_t end = address + page_up(size);
	if (!is_reserved(address, end))
		return -ENOMEM;
	for (uint64_t start = address, next; start < end; start = next) {
		struct chunk *chunk = chunk_at(current, start);
		next = piece_end(start, end);
		if (chunk)
			empty(chunk, start, next);
	}
	return 0;
}

static void free_chunk(struct wide *wide, uint64_t start, struct chunk *chunk)
{
	if (wide->is_aside)
		memory_free(address_of(chunk->aside), CHUNK);
	else
		unmap_chunk(start);
	uint64_t number = (start - WIDE_START) / CHUNK;
	wide->leaves[number / LEAF][number % LEAF] = NULL;
	heap_free(chunk);
}

int wide_renew(uint64_t address, uint64_t size, uint64_t rights)
{
	if (rights & PROT_EXEC)
		return -EACCES;
	int r = wide_empty(address, size);
	if (r == 0 && rights == 0)
		/* A whole chunk that nobody may touch is given back. */
		for (uint64_t start = (address + CHUNK - 1) & ~(CHUNK - 1);
			start + CHUNK <= address + size; start += CHUNK)
			if (chunk_at(current, start))
				free_chunk(current, start, chunk_at(current, start));
	return r < 0 ? r : wide_protect(address, size, rights);
}

/* Takes [start, end) out of the list of areas. */
static int cut_areas(uint64_t start, uint64_t end)
{
	for (struct area **link = &current->areas, *area; (area = *link);) {
		if (start >= area->end || area->start >= end) {
			link = &area->next;
			continue;
		}
		if (start > area->start && end < area->end) {
			struct area *tail = heap_alloc(sizeof(*tail));
			if (!tail)
				return -ENOMEM;
			*tail = (struct area){ area->next, end, area->end };
			area->next = tail;
			area->end = start;
			return 0;
		}
		if (start > area->start) {
			area->end = start;
		} else if (end < area->end) {
			area->start = end;
		} else {
			*link = area->next;
			heap_free(area);
			continue;
		}
		link = &area->next;
	}
	return 0;
}

int wide_unmap(uint64_t address, uint64_t size)
{
	uint64_t end = address + page_up(size);
	if (!current || end > WIDE_END || end < address)
		return 0;
	int r = cut_areas(address, end);
	for (uint64_t start = address, next; r == 0 && start < end; start = next) {
		uint64_t first = start & ~(CHUNK - 1);
		struct chunk *chunk = chunk_at(current, start);
		next = piece_end(start, end);
		if (!chunk)
			continue;
		if (!is_any_reserved(first, first + CHUNK)) {
			free_chunk(current, first, chunk);
			continue;
		}
		empty(chunk, start, next);
		r = set_rights(chunk, start, next, 0);
	}
	return r;
}

/* Bytes of a chunk go aside or come back; what nobody could write is nothing. */
static void move_chunk(struct chunk *chunk, uint64_t start, bool is_back)
{
	for (uint64_t i = 0; i < CHUNK_PAGES; i++) {
		uint8_t *aside = chunk->aside + i * KERNEL_PAGE;
		uint64_t page = start + i * KERNEL_PAGE;
		if (!(chunk->rights[i] & WAS_WRITTEN))
			continue;
		platform_protect(page, KERNEL_PAGE, PLATFORM_READ | PLATFORM_WRITE);
		memcpy(is_back ? at(page) : aside, is_back ? aside : at(page), KERNEL_PAGE);
	}
	for (uint64_t i = 0, count; i < CHUNK_PAGES; i += count) {
		count = 1;
		while (i + count < CHUNK_PAGES && chunk->rights[i + count] == chunk->rights[i])
			count++;
		platform_protect(
			start + i * KERNEL_PAGE, count * KERNEL_PAGE, chunk->rights[i] & RIGHTS);
	}
}

static void free_wide(struct wide *wide)
{
	struct chunk *chunk;
	each_chunk(wide, chunk, start) free_chunk(wide, start, chunk);
	for (uint64_t i = 0; i < LEAVES; i++)
		heap_free(wide->leaves[i]);
	while (wide->areas) {
		struct area *next = wide->areas->next;
		heap_free(wide->areas);
		wide->areas = next;
	}
	for (struct wide **link = &all; *link; link = &(*link)->next)
		if (*link == wide) {
			*link = wide->next;
			break;
		}
	if (--wide->family->members == 0)
		heap_free(wide->family);
	heap_free(wide);
}

static bool copy_chunk(struct wide *to, struct chunk *chunk, uint64_t start)
{
	struct chunk **place = place_of(to, start);
	struct chunk *copy = place ? heap_alloc(sizeof(*copy)) : NULL;
	uint8_t *aside = copy ? at(memory_alloc(CHUNK)) : NULL;
	if (!aside) {
		heap_free(copy);
		return false;
	}
	memcpy(copy->rights, chunk->rights, sizeof(copy->rights));
	copy->aside = chunk->aside = aside;
	move_chunk(chunk, start, false);
	*place = copy;
	return true;
}

struct wide *wide_fork(void)
{
	struct wide *parent = new_wide();
	struct chunk *chunk;
	if (!parent)
		return NULL;
	parent->is_aside = true;
	heap_free(parent->family);
	parent->family = current->family;
	parent->family->members++;
	bool is_whole = true;
	for (const struct area *area = current->areas; is_whole && area; area = area->next)
		is_whole = add_area(parent, area->start, area->end) == 0;
	if (is_whole)
		each_chunk(current, chunk, start)
		{
			is_whole = copy_chunk(parent, chunk, start);
			if (!is_whole)
				break;
		}
	if (is_whole)
		return parent;
	free_wide(parent);
	return NULL;
}

void wide_free(struct wide *parent)
{
	if (parent)
		free_wide(parent);
}

struct wide *wide_leave(void)
{
	struct wide *wide = current;
	struct chunk *chunk;
	current = NULL;
	if (!wide || wide->family->members == 1)
		return wide;
	wide->is_aside = true;
	each_chunk(wide, chunk, start)
	{
		chunk->aside = at(memory_alloc(CHUNK));
		if (!chunk->aside)
			memory_is_out();
		move_chunk(chunk, start, false);
		unmap_chunk(start);
	}
	return wide;
}

void wide_enter(struct wide *wide)
{
	struct chunk *chunk;
	current = wide;
	if (!wide || !wide->is_aside)
		return;
	wide->is_aside = false;
	each_chunk(wide, chunk, start)
	{
		if (map_chunk(start) < 0)
			memory_is_out();
		move_chunk(chunk, start, true);
		memory_free(address_of(chunk->aside), CHUNK);
	}
}

void wide_end(void)
{
	if (current)
		free_wide(current);
	current = NULL;
}

int wide_runs(memory_each_run *each, void *data)
{
	struct chunk *chunk;
	int r = 0;
	if (!current)
		return 0;
	each_chunk(current, chunk, start) for (uint64_t i = 0, count; r == 0 && i < CHUNK_PAGES;
					       i += count)
	{
		struct snapshot_run run = { .kind = SNAPSHOT_BYTES };
		count = 1;
		while (i + count < CHUNK_PAGES && chunk->rights[i + count] == chunk->rights[i])
			count++;
		run.kind = chunk->rights[i] & WAS_WRITTEN ? SNAPSHOT_BYTES : SNAPSHOT_NONE;
		run.rights = chunk->rights[i] & (int)RIGHTS;
		run.address = start + i * KERNEL_PAGE;
		run.bytes = count * KERNEL_PAGE;
		r = each(data, &run);
	}
	return r;
}
