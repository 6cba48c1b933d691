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

enum { FREE, USED, PROTECTED };

static struct {
	uint64_t start;
	uint64_t left; /* pages */
	uint64_t pages;
	uint8_t *used;                   /* one a page */
	uint64_t break_start, break_now; /* addresses */
	uint64_t cursor;                 /* the page below which the next search starts */
} region;

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
		if (region.used[page + i])
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
	for (uint64_t i = 0; i < count; i++)
		region.left += region.used[page + i] != FREE;
	set_used(page, count, FREE);
}

void memory_init(uint64_t address, uint64_t size)
{
	region.start = address;
	region.pages = size / KERNEL_PAGE;
	region.used = (uint8_t *)(uintptr_t)address;
	set_used(0, pages_up(region.pages), USED);
	region.left = region.pages - pages_up(region.pages);
	region.break_start = region.break_now = address + pages_up(region.pages) * KERNEL_PAGE;
	region.cursor = region.pages;
}

/* The first page of a free run of `count` pages below `below`, or 0. */
static uint64_t find_run(uint64_t below, uint64_t count)
{
	uint64_t run = 0;
	for (uint64_t page = below; page > 0; page--) {
		run = region.used[page - 1] ? 0 : run + 1;
		if (run == count)
			return page - 1;
	}
	return 0;
}

static uint64_t take_run(uint64_t count)
{
	uint64_t page = find_run(region.cursor, count);
	if (!page)
		page = find_run(region.pages, count);
	if (page) {
		set_used(page, count, USED);
		region.left -= count;
		region.cursor = page;
	}
	return page;
}

uint64_t memory_alloc(uint64_t bytes)
{
	uint64_t page = take_run(pages_up(bytes));
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
		page = take_run(count);
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
	uint64_t fresh = take_run(count);
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
