/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c - pages for brk, mmap and the library OS.
 *
 * Theory of operation. One region is all there is, of the size that was asked for; its first pages hold one
 * byte a page, which says whether it is in use. brk grows from below, mmap looks for a run of free pages from
 * where it last found one, downwards from the top. A page that becomes free is given back to the platform,
 * so that it reads as zero and costs the host nothing. Mappings outside the region do not exist.
 */
#include <sys/mman.h>

#include "unikernel/kernel.h"

/* HELD: the program has unmapped it, and a copy of memory_copy() will bring it back. */
enum { FREE, USED, PROTECTED, KERNEL, HELD };

struct memory_copy {
	struct memory_copy *before; /* of the parent's parent */
	uint64_t break_now;
	uint64_t skip_start, skip_end;
	uint64_t count; /* of pages that were copied */
	uint8_t *used;  /* the table of that time */
	uint8_t *pages;
	uint8_t *segments;
};

static struct {
	uint64_t start;
	uint64_t left; /* pages */
	uint64_t pages;
	uint8_t *used;                   /* one a page */
	uint64_t break_start, break_now; /* addresses */
	uint64_t cursor;                 /* the page below which the next search starts */
} region;

#define SEGMENTS_MOST 8u

static struct memory_copy *last_copy;
static struct {
	uint64_t start, end;
} segments[SEGMENTS_MOST];
static uint32_t segment_count;

static uint64_t page_of(uint64_t address)
{
	return (address - region.start) / KERNEL_PAGE;
}

static uint64_t pages_up(uint64_t bytes)
{
	return bytes / KERNEL_PAGE + (bytes % KERNEL_PAGE != 0);
}

static bool is_inside(uint64_t address, uint64_t size)
{
	return address % KERNEL_PAGE == 0 && address >= region.start &&
		size <= region.pages * KERNEL_PAGE &&
		address - region.start <= region.pages * KERNEL_PAGE - size;
}

static bool is_free(uint64_t page, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		if (region.used[page + i] != FREE)
			return false;
	return true;
}

static void set_used(uint64_t page, uint64_t count, uint8_t used)
{
	memset(region.used + page, used, count);
}

static void give_back(uint64_t page, uint64_t count)
{
	uint64_t address = region.start + page * KERNEL_PAGE;
	for (uint64_t i = 0; i < count; i++)
		if (region.used[page + i] == PROTECTED) {
			platform_protect(
				address, count * KERNEL_PAGE, PLATFORM_READ | PLATFORM_WRITE);
			break;
		}
	platform_release(address, count * KERNEL_PAGE);
	for (uint64_t i = 0; i < count; i++) {
		uint8_t *used = &region.used[page + i];
		bool is_held = last_copy && *used != KERNEL && last_copy->used[page + i] != FREE;
		region.left += *used != FREE && *used != HELD && !is_held;
		*used = is_held ? HELD : FREE;
	}
}

void memory_init(uint64_t address, uint64_t size)
{
	region.start = address;
	region.pages = size / KERNEL_PAGE;
	region.used = (uint8_t *)(uintptr_t)address;
	set_used(0, pages_up(region.pages), KERNEL);
	region.left = region.pages - pages_up(region.pages);
	region.break_start = region.break_now = address + pages_up(region.pages) * KERNEL_PAGE;
	region.cursor = region.pages;
}

/* The first page of a free run of `count` pages below `below`, or 0. */
static uint64_t find_run(uint64_t below, uint64_t count)
{
	uint64_t run = 0;
	for (uint64_t page = below; page > 0; page--) {
		run = region.used[page - 1] != FREE ? 0 : run + 1;
		if (run == count)
			return page - 1;
	}
	return 0;
}

static uint64_t take_run(uint64_t count, uint8_t used)
{
	uint64_t page = find_run(region.cursor, count);
	if (!page)
		page = find_run(region.pages, count);
	if (page) {
		set_used(page, count, used);
		region.left -= count;
		region.cursor = page;
	}
	return page;
}

uint64_t memory_alloc(uint64_t bytes)
{
	uint64_t page = take_run(pages_up(bytes), KERNEL);
	return page ? region.start + page * KERNEL_PAGE : 0;
}

uint64_t memory_alloc_program(uint64_t bytes)
{
	uint64_t page = take_run(pages_up(bytes), USED);
	return page ? region.start + page * KERNEL_PAGE : 0;
}

int64_t memory_brk(uint64_t address)
{
	if (address < region.break_start || address - region.start > region.pages * KERNEL_PAGE)
		return (int64_t)region.break_now;
	uint64_t old_end = pages_up(region.break_now - region.start);
	uint64_t new_end = pages_up(address - region.start);
	if (new_end > old_end) {
		if (!is_free(old_end, new_end - old_end))
			return (int64_t)region.break_now;
		set_used(old_end, new_end - old_end, USED);
		region.left -= new_end - old_end;
	} else if (new_end < old_end) {
		give_back(new_end, old_end - new_end);
	}
	region.break_now = address;
	return (int64_t)address;
}

int64_t memory_map(uint64_t address, uint64_t size, uint64_t rights, uint64_t flags)
{
	uint64_t count = pages_up(size), page;
	if (size == 0)
		return -EINVAL;
	if (rights & PROT_EXEC)
		return -EACCES;
	if (count > region.pages)
		return -ENOMEM;
	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
		if (!is_inside(address, count * KERNEL_PAGE))
			return address % KERNEL_PAGE ? -EINVAL : -ENOMEM;
		page = page_of(address);
		if (!is_free(page, count)) {
			if (flags & MAP_FIXED_NOREPLACE)
				return -EEXIST;
			give_back(page, count);
		}
		set_used(page, count, USED);
		region.left -= count;
	} else {
		page = take_run(count, USED);
		if (!page)
			return -ENOMEM;
	}
	address = region.start + page * KERNEL_PAGE;
	if ((rights & (PROT_READ | PROT_WRITE)) != (PROT_READ | PROT_WRITE)) {
		int r = platform_protect(
			address, count * KERNEL_PAGE, (int)(rights & (PROT_READ | PROT_WRITE)));
		if (r < 0)
			return r;
		set_used(page, count, PROTECTED);
	}
	return (int64_t)address;
}

int64_t memory_unmap(uint64_t address, uint64_t size)
{
	uint64_t count = pages_up(size);
	if (address % KERNEL_PAGE || size == 0)
		return -EINVAL;
	if (!is_inside(address, count * KERNEL_PAGE))
		return 0;
	give_back(page_of(address), count);
	return 0;
}

int64_t memory_protect(uint64_t address, uint64_t size, uint64_t rights)
{
	if (address % KERNEL_PAGE)
		return -EINVAL;
	if (rights & PROT_EXEC)
		return -EACCES;
	if (is_inside(address, pages_up(size) * KERNEL_PAGE)) {
		bool is_plain = (rights & (PROT_READ | PROT_WRITE)) == (PROT_READ | PROT_WRITE);
		uint64_t page = page_of(address);
		for (uint64_t i = 0; i < pages_up(size); i++)
			if (region.used[page + i] == FREE)
				return -ENOMEM;
		set_used(page, pages_up(size), is_plain ? USED : PROTECTED);
	}
	return platform_protect(address, pages_up(size) * KERNEL_PAGE, (int)rights);
}

void memory_free(uint64_t address, uint64_t bytes)
{
	give_back(page_of(address), pages_up(bytes));
}

uint64_t memory_total(void)
{
	return region.pages * KERNEL_PAGE;
}

uint64_t memory_left(void)
{
	return region.left * KERNEL_PAGE;
}

uint64_t memory_start(void)
{
	return region.start;
}

int64_t memory_move(uint64_t address, uint64_t old_size, uint64_t size, uint64_t flags, uint64_t to)
{
	uint64_t old_count = pages_up(old_size), count = pages_up(size);
	if (address % KERNEL_PAGE || count == 0 || old_count == 0 || (flags & MREMAP_FIXED))
		return -EINVAL;
	(void)to;
	if (!is_inside(address, old_count * KERNEL_PAGE))
		return -EFAULT;
	uint64_t page = page_of(address);
	if (count <= old_count) {
		if (count < old_count)
			give_back(page + count, old_count - count);
		return (int64_t)address;
	}
	uint64_t more = count - old_count;
	if (more <= region.pages - page - old_count && is_free(page + old_count, more)) {
		set_used(page + old_count, more, USED);
		region.left -= more;
		return (int64_t)address;
	}
	if (!(flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	uint64_t fresh = take_run(count, USED);
	if (!fresh)
		return -ENOMEM;
	memcpy(at(region.start + fresh * KERNEL_PAGE), at(address), old_count * KERNEL_PAGE);
	give_back(page, old_count);
	return (int64_t)(region.start + fresh * KERNEL_PAGE);
}

int64_t memory_advise(uint64_t address, uint64_t size, uint64_t advice)
{
	if (address % KERNEL_PAGE)
		return -EINVAL;
	if (advice == MADV_DONTNEED) {
		if (!is_inside(address, pages_up(size) * KERNEL_PAGE))
			return -ENOMEM;
		platform_release(address, pages_up(size) * KERNEL_PAGE);
	}
	return 0;
}

static bool is_copied(const struct memory_copy *copy, uint64_t page)
{
	uint64_t address = region.start + page * KERNEL_PAGE;
	return copy->used[page] == USED &&
		!(address >= copy->skip_start && address < copy->skip_end);
}

bool memory_add_segment(uint64_t start, uint64_t end)
{
	if (segment_count == SEGMENTS_MOST)
		return false;
	segments[segment_count].start = start;
	segments[segment_count++].end = end;
	return true;
}

static uint64_t segments_bytes(void)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < segment_count; i++)
		bytes += segments[i].end - segments[i].start;
	return bytes;
}

struct memory_copy *memory_copy(uint64_t skip_start, uint64_t skip_end)
{
	uint64_t head = pages_up(sizeof(struct memory_copy) + region.pages) * KERNEL_PAGE;
	struct memory_copy *copy = at(memory_alloc(head));
	if (!copy)
		return NULL;
	copy->used = (uint8_t *)(copy + 1);
	memcpy(copy->used, region.used, region.pages);
	copy->skip_start = skip_start;
	copy->skip_end = skip_end;
	copy->break_now = region.break_now;
	for (uint64_t page = 0; page < region.pages; page++)
		copy->count += is_copied(copy, page);
	copy->pages = at(memory_alloc(copy->count * KERNEL_PAGE + segments_bytes() + 1));
	if (!copy->pages) {
		memory_free(address_of(copy), head);
		return NULL;
	}
	uint8_t *to = copy->pages;
	for (uint64_t page = 0; page < region.pages; page++)
		if (is_copied(copy, page)) {
			memcpy(to, at(region.start + page * KERNEL_PAGE), KERNEL_PAGE);
			to += KERNEL_PAGE;
		}
	copy->segments = to;
	for (uint32_t i = 0; i < segment_count; i++) {
		memcpy(to, at(segments[i].start), segments[i].end - segments[i].start);
		to += segments[i].end - segments[i].start;
	}
	copy->before = last_copy;
	last_copy = copy;
	return copy;
}

void memory_copy_free(struct memory_copy *copy)
{
	if (last_copy == copy)
		last_copy = copy->before;
	memory_free(address_of(copy->pages), copy->count * KERNEL_PAGE + segments_bytes() + 1);
	memory_free(address_of(copy),
		pages_up(sizeof(struct memory_copy) + region.pages) * KERNEL_PAGE);
}

/* Pages that never changed are left alone: they may be read-only, as what a linker protects is. */
static void put_segments_back(const uint8_t *from)
{
	for (uint32_t i = 0; i < segment_count; i++)
		for (uint64_t start = segments[i].start, end = segments[i].end; start < end;) {
			uint64_t page = start & ~(uint64_t)(KERNEL_PAGE - 1);
			uint64_t next = page + KERNEL_PAGE < end ? page + KERNEL_PAGE : end;
			if (memcmp(at(start), from, next - start) != 0) {
				platform_protect(page, KERNEL_PAGE, PLATFORM_READ | PLATFORM_WRITE);
				memcpy(at(start), from, next - start);
			}
			from += next - start;
			start = next;
		}
}

void memory_put_back(struct memory_copy *copy)
{
	const uint8_t *from = copy->pages;
	uint64_t left = 0;
	last_copy = copy->before;
	for (uint64_t page = 0; page < region.pages; page++) {
		uint64_t address = region.start + page * KERNEL_PAGE;
		uint8_t *now = &region.used[page], then = copy->used[page];
		if (*now == KERNEL || then == KERNEL) {
			/* The library OS has it now, or gave it back since. */
		} else if (is_copied(copy, page)) {
			if (*now != USED)
				platform_protect(
					address, KERNEL_PAGE, PLATFORM_READ | PLATFORM_WRITE);
			memcpy(at(address), from, KERNEL_PAGE);
			*now = USED;
		} else if (then != FREE) {
			*now = then;
		} else if (*now != FREE) {
			give_back(page, 1);
		}
		if (is_copied(copy, page))
			from += KERNEL_PAGE;
		left += region.used[page] == FREE;
	}
	region.left = left;
	region.break_now = copy->break_now;
	put_segments_back(copy->segments);
	memory_copy_free(copy);
}

void memory_reset(uint64_t stack_start, uint64_t stack_end)
{
	for (uint64_t page = 0, run; page < region.pages; page += run) {
		uint64_t address = region.start + page * KERNEL_PAGE;
		uint8_t used = region.used[page];
		run = 1;
		if ((used != USED && used != PROTECTED) ||
			(address >= stack_start && address < stack_end))
			continue;
		while (page + run < region.pages && region.used[page + run] == used &&
			address + run * KERNEL_PAGE != stack_start)
			run++;
		give_back(page, run);
	}
	platform_release(stack_start, stack_end - stack_start);
	region.break_now = region.break_start;
}
