/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c - pages for brk, mmap and the library OS.
 *
 * Theory of operation. One region is all there is, of the size that was asked for; its first pages hold one byte a page:
 * whether it is in use, and how. brk grows from below, mmap looks for a run of free pages from where it last found one,
 * downwards from the top. A page that becomes free is given back to the platform, so that it reads as zero and costs the
 * host nothing. A page can show what the root's image has (programs, libraries), shared with other instances until it is
 * written to; where it comes from stands in a list of runs. Only such pages are ever executable, and never writable at
 * once. Mappings outside the region do not exist, but for a program that is linked to a fixed address.
 */
#include <sys/mman.h>

#include "unikernel/memory_region.h"

struct memory_region memory_region;
struct memory_images memory_images;
#define region memory_region

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

static uint8_t used_by(uint64_t rights)
{
	return (uint8_t)(USED | (rights & 7) << 4 | (rights & PROT_WRITE ? WRITTEN : 0));
}

/* Forgets which pages of [page, page + count) show the image; false if there is no room for what remains. */
static bool cut_runs(uint64_t page, uint64_t count)
{
	uint64_t end = page + count;
	if (memory_images.count == IMAGE_RUNS_MOST)
		return false;
	for (uint64_t i = 0; i < memory_images.count;) {
		struct image_run *run = &memory_images.runs[i];
		uint64_t run_end = run->page + run->count;
		if (run_end <= page || run->page >= end) {
			i++;
			continue;
		}
		memory_images.changes++;
		if (run_end > end && run->page < page) /* at most one run is cut in two */
			memory_images.runs[memory_images.count++] = (struct image_run){ end,
				run_end - end, run->from + (end - run->page) * KERNEL_PAGE };
		if (run->page < page) {
			run->count = page - run->page;
			i++;
		} else if (run_end > end) {
			*run = (struct image_run){ end, run_end - end,
				run->from + (end - run->page) * KERNEL_PAGE };
			i++;
		} else {
			*run = memory_images.runs[--memory_images.count];
		}
	}
	return true;
}

/* Makes pages free memory again that the platform has: zero, readable and writable. */
void memory_renew(uint64_t page, uint64_t count)
{
	uint64_t address = region.start + page * KERNEL_PAGE;
	bool shows_image = false, is_plain = true;
	for (uint64_t i = 0; i < count; i++) {
		uint8_t used = region.used[page + i];
		shows_image |= (used & IMAGE) != 0;
		is_plain &= (used & KIND) != USED ||
			(used & (READABLE | WRITABLE)) == (READABLE | WRITABLE);
	}
	if (shows_image) {
		(void)cut_runs(page, count);
		if (platform_renew(address, count * KERNEL_PAGE) == 0)
			return;
	}
	if (!is_plain)
		platform_protect(address, count * KERNEL_PAGE, PLATFORM_READ | PLATFORM_WRITE);
	platform_release(address, count * KERNEL_PAGE);
}

/* What their state becomes when pages are not used any more. */
static void set_free(uint64_t page, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint8_t *used = &region.used[page + i], kind = *used & KIND;
		bool is_held = kind != KERNEL && region.others[page + i] > 0;
		region.left += kind != FREE && kind != HELD && !is_held;
		*used = is_held ? HELD : FREE;
	}
}

/* Others have the same memory there, which stays theirs. */
static bool is_others(uint64_t page)
{
	return (region.used[page] & KIND) == HELD ||
		((region.used[page] & SHARED) && region.others[page] > 0);
}

bool memory_is_shared(uint64_t address)
{
	return is_inside(address & ~(uint64_t)(KERNEL_PAGE - 1), KERNEL_PAGE) &&
		(region.used[page_of(address)] & SHARED);
}

void memory_give_back(uint64_t page, uint64_t count)
{
	for (uint64_t done = 0, same; done < count; done += same) {
		const uint8_t *used = region.used + page + done;
		bool stays = is_others(page + done);
		for (same = 1; done + same < count && is_others(page + done + same) == stays;)
			same++;
		if (!stays && (*used & KIND) != HELD)
			memory_renew(page + done, same);
	}
	set_free(page, count);
}

void memory_init(uint64_t address, uint64_t size)
{
	region.start = address;
	region.pages = size / KERNEL_PAGE;
	region.used = (uint8_t *)(uintptr_t)address;
	uint64_t tables = 2 * pages_up(region.pages);
	region.others = region.used + pages_up(region.pages) * KERNEL_PAGE;
	set_used(0, tables, KERNEL);
	region.left = region.pages - tables;
	region.break_start = region.break_now = address + tables * KERNEL_PAGE;
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
	if (count == 0 || count > memory_left() / KERNEL_PAGE)
		return 0;
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
	uint64_t page = take_run(pages_up(bytes), PLAIN);
	return page ? region.start + page * KERNEL_PAGE : 0;
}

int64_t memory_brk(uint64_t address)
{
	if (address < region.break_start || address - region.start > region.pages * KERNEL_PAGE)
		return (int64_t)region.break_now;
	uint64_t old_end = pages_up(region.break_now - region.start);
	uint64_t new_end = pages_up(address - region.start);
	if (new_end > old_end) {
		if (new_end - old_end > memory_left() / KERNEL_PAGE ||
			!is_free(old_end, new_end - old_end))
			return (int64_t)region.break_now;
		set_used(old_end, new_end - old_end, PLAIN);
		region.left -= new_end - old_end;
	} else if (new_end < old_end) {
		memory_give_back(new_end, old_end - new_end);
	}
	region.break_now = address;
	return (int64_t)address;
}

/* Takes pages for a mapping, free ones or those at `address`, whatever they had: their first, or a negative errno. */
static int64_t take_pages(uint64_t address, uint64_t size, uint64_t flags, bool is_renewed)
{
	uint64_t count = pages_up(size), page;
	if (size == 0)
		return -EINVAL;
	if (count > region.pages)
		return -ENOMEM;
	if (!(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))) {
		page = take_run(count, PLAIN);
		return page ? (int64_t)page : -ENOMEM;
	}
	if (!is_inside(address, count * KERNEL_PAGE))
		return address % KERNEL_PAGE ? -EINVAL : -ENOMEM;
	page = page_of(address);
	for (uint64_t i = 0; i < count; i++)
		if ((region.used[page + i] & KIND) == KERNEL)
			return -ENOMEM;
	if (!is_free(page, count)) {
		if (flags & MAP_FIXED_NOREPLACE)
			return -EEXIST;
		if (is_renewed)
			memory_renew(page, count);
		else if (!cut_runs(page, count))
			return -ENOMEM;
		set_free(page, count);
	}
	set_used(page, count, PLAIN);
	region.left -= count;
	return (int64_t)page;
}

int64_t memory_map(uint64_t address, uint64_t size, uint64_t rights, uint64_t flags)
{
	if (rights & PROT_EXEC)
		return -EACCES;
	int64_t page = take_pages(address, size, flags, true);
	if (page < 0)
		return page;
	address = region.start + (uint64_t)page * KERNEL_PAGE;
	uint8_t shared = (flags & MAP_TYPE) == MAP_PRIVATE ? 0 : SHARED;
	set_used((uint64_t)page, pages_up(size), PLAIN | shared);
	if ((rights & (PROT_READ | PROT_WRITE)) != (PROT_READ | PROT_WRITE)) {
		int r = platform_protect(address, pages_up(size) * KERNEL_PAGE,
			(int)(rights & (PROT_READ | PROT_WRITE)));
		if (r < 0)
			return r;
		set_used((uint64_t)page, pages_up(size), used_by(rights) | shared);
	}
	return (int64_t)address;
}

int64_t memory_map_image(
	uint64_t address, uint64_t size, uint64_t rights, uint64_t flags, uint64_t from)
{
	if ((rights & PROT_EXEC) && (rights & PROT_WRITE))
		return -EACCES;
	rights |= rights & PROT_EXEC ? PROT_READ : 0; /* as on every x86 */
	if (memory_images.count == IMAGE_RUNS_MOST)
		return -ENOMEM;
	int64_t page = take_pages(address, size, flags, false);
	if (page < 0)
		return page;
	uint64_t count = pages_up(size);
	address = region.start + (uint64_t)page * KERNEL_PAGE;
	int r = platform_map_image(address, count * KERNEL_PAGE, from, (int)(rights & 7));
	if (r < 0) {
		(void)platform_renew(address, count * KERNEL_PAGE);
		set_free((uint64_t)page, count);
		return r;
	}
	set_used((uint64_t)page, count, used_by(rights) | IMAGE);
	memory_images.runs[memory_images.count++] =
		(struct image_run){ (uint64_t)page, count, from };
	memory_images.changes++;
	return (int64_t)address;
}

int64_t memory_unmap(uint64_t address, uint64_t size)
{
	uint64_t count = pages_up(size);
	if (address % KERNEL_PAGE || size == 0)
		return -EINVAL;
	if (!is_inside(address, count * KERNEL_PAGE))
		return 0;
	uint64_t page = page_of(address);
	for (uint64_t i = 0; i < count; i++)
		if ((region.used[page + i] & KIND) == KERNEL)
			return -EINVAL;
	memory_give_back(page, count);
	return 0;
}

int64_t memory_protect(uint64_t address, uint64_t size, uint64_t rights)
{
	uint64_t count = pages_up(size), page = page_of(address);
	if (address % KERNEL_PAGE || (rights & ~(uint64_t)(PROT_READ | PROT_WRITE | PROT_EXEC)))
		return -EINVAL;
	if (!is_inside(address, count * KERNEL_PAGE))
		return rights & PROT_EXEC ? -EACCES : -ENOMEM;
	bool is_same = true;
	for (uint64_t i = 0; i < count; i++) {
		uint8_t used = region.used[page + i];
		if ((used & KIND) != USED)
			return -ENOMEM;
		is_same &= memory_rights_of(used) == (int)(rights & 7);
	}
	if (is_same)
		return 0;
	/* Nothing becomes executable but by being mapped from the image. */
	if (rights & PROT_EXEC)
		return -EACCES;
	int r = platform_protect(address, count * KERNEL_PAGE, (int)(rights & 3));
	for (uint64_t i = 0; r == 0 && i < count; i++) {
		uint8_t *used = &region.used[page + i];
		*used = used_by(rights) | (*used & (IMAGE | WRITTEN | SHARED));
	}
	return r;
}

void memory_free(uint64_t address, uint64_t bytes)
{
	memory_give_back(page_of(address), pages_up(bytes));
}

uint64_t memory_total(void)
{
	return region.pages * KERNEL_PAGE;
}

uint64_t memory_left(void)
{
	uint64_t bytes = region.left * KERNEL_PAGE;
	return bytes > region.charged ? bytes - region.charged : 0;
}

void memory_is_out(void)
{
	static const char sentence[] = "unikernel: there is not enough memory for two processes\n";
	platform_console_write(2, sentence, sizeof(sentence) - 1);
	platform_exit(128 + 9);
}

void memory_charge(int64_t bytes)
{
	region.charged += (uint64_t)bytes;
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
			memory_give_back(page + count, old_count - count);
		return (int64_t)address;
	}
	uint64_t more = count - old_count;
	if (more > memory_left() / KERNEL_PAGE)
		return -ENOMEM;
	if (more <= region.pages - page - old_count && is_free(page + old_count, more)) {
		set_used(page + old_count, more, PLAIN);
		region.left -= more;
		return (int64_t)address;
	}
	if (!(flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	uint64_t fresh = take_run(count, PLAIN);
	if (!fresh)
		return -ENOMEM;
	memcpy(at(region.start + fresh * KERNEL_PAGE), at(address), old_count * KERNEL_PAGE);
	memory_give_back(page, old_count);
	return (int64_t)(region.start + fresh * KERNEL_PAGE);
}

/* What shows the image shows it again, whatever was written over it. */
static void show_again(uint64_t page, uint64_t count)
{
	for (uint64_t i = 0; i < memory_images.count; i++) {
		const struct image_run *run = &memory_images.runs[i];
		uint64_t first = run->page > page ? run->page : page,
			 run_end = run->page + run->count;
		uint64_t end = run_end < page + count ? run_end : page + count;
		for (uint64_t same; first < end; first += same) {
			uint8_t used = region.used[first];
			for (same = 1; first + same < end && region.used[first + same] == used;)
				same++;
			(void)platform_map_image(region.start + first * KERNEL_PAGE,
				same * KERNEL_PAGE, run->from + (first - run->page) * KERNEL_PAGE,
				memory_rights_of(used));
		}
	}
}

int64_t memory_advise(uint64_t address, uint64_t size, uint64_t advice)
{
	if (address % KERNEL_PAGE)
		return -EINVAL;
	if (advice == MADV_DONTNEED) {
		if (!is_inside(address, pages_up(size) * KERNEL_PAGE))
			return -ENOMEM;
		platform_release(address, pages_up(size) * KERNEL_PAGE);
		show_again(page_of(address), pages_up(size));
	}
	return 0;
}

void memory_reset(uint64_t stack_start, uint64_t stack_end)
{
	for (uint64_t page = 0, run; page < region.pages; page += run) {
		uint64_t address = region.start + page * KERNEL_PAGE;
		uint8_t used = region.used[page];
		run = 1;
		if ((used & KIND) != USED || (address >= stack_start && address < stack_end))
			continue;
		while (page + run < region.pages && region.used[page + run] == used &&
			address + run * KERNEL_PAGE != stack_start)
			run++;
		memory_give_back(page, run);
	}
	platform_release(stack_start, stack_end - stack_start);
	region.break_now = region.break_start;
}
