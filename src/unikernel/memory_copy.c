/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_copy.c - a program's memory put aside for a child that uses it, and put back.
 *
 * Theory of operation. What the program may have written is copied page by page; what only shows the image, or nothing,
 * is known by the table and the list of runs, and mapped again if the child let go of it. Pages that the child unmaps are
 * HELD until then, so that nobody else gets them.
 */
#include "unikernel/memory_region.h"

#define region        memory_region
#define SEGMENTS_MOST 64u

struct segment {
	uint64_t start, end;
	bool is_writable;
};

struct memory_copy {
	struct memory_copy *before; /* of the parent's parent */
	uint64_t break_now;
	uint64_t skip_start, skip_end;
	uint64_t count; /* of pages that were copied */
	uint8_t *used;  /* the table of that time */
	uint8_t *pages;
	uint8_t *segments;
	struct image_run *runs;
	uint64_t run_count, run_changes, bytes;
	struct segment list[SEGMENTS_MOST];
	uint32_t segment_count;
};

static struct memory_copy *last_copy;
static struct segment segments[SEGMENTS_MOST];
static uint32_t segment_count;
static bool hides_segments; /* some page of them cannot be read */

static void set_last(struct memory_copy *copy)
{
	last_copy = copy;
	region.kept = copy ? copy->used : NULL;
}

static bool is_copied(const struct memory_copy *copy, uint64_t page)
{
	uint64_t address = region.start + page * KERNEL_PAGE;
	uint8_t used = copy->used[page];
	return (used & KIND) == USED && (used & WRITTEN) &&
		!(address >= copy->skip_start && address < copy->skip_end);
}

bool memory_add_segment(uint64_t start, uint64_t end, bool is_writable)
{
	if (segment_count == SEGMENTS_MOST)
		return false;
	segments[segment_count++] = (struct segment){ start, end, is_writable };
	return true;
}

void memory_forget_segments(void)
{
	segment_count = 0;
	hides_segments = false;
}

static bool is_in_segments(uint64_t start, uint64_t end)
{
	uint64_t mask = KERNEL_PAGE - 1;
	if (end < start)
		return false;
	for (uint32_t i = 0; i < segment_count && start < end;) {
		uint64_t segment_end = (segments[i].end + mask) & ~mask;
		if (start >= (segments[i].start & ~mask) && start < segment_end) {
			start = segment_end;
			i = 0;
		} else {
			i++;
		}
	}
	return start >= end;
}

/* Nothing else lies outside the region but what is ours. */
int memory_protect_segments(uint64_t address, uint64_t size, uint64_t rights)
{
	if (!is_in_segments(address, address + size))
		return -ENOMEM;
	hides_segments |= !(rights & (PLATFORM_READ | PLATFORM_WRITE));
	return platform_protect(address, size, (int)rights);
}

/* To be copied; who had made some of it unreadable gets it back writable. */
static void reveal_segments(void)
{
	uint64_t mask = KERNEL_PAGE - 1;
	for (uint32_t i = 0; hides_segments && i < segment_count; i++) {
		uint64_t start = segments[i].start & ~mask, end = (segments[i].end + mask) & ~mask;
		if (segments[i].is_writable)
			platform_protect(start, end - start, PLATFORM_READ | PLATFORM_WRITE);
	}
	hides_segments = false;
}

static uint64_t segments_bytes(const struct segment *list, uint32_t count)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < count; i++)
		bytes += list[i].is_writable ? list[i].end - list[i].start : 0;
	return bytes;
}

static void copy_page(uint8_t *to, uint64_t page)
{
	uint64_t address = region.start + page * KERNEL_PAGE;
	int rights = memory_rights_of(region.used[page]);
	if (!(rights & PLATFORM_READ))
		platform_protect(address, KERNEL_PAGE, PLATFORM_READ);
	memcpy(to, at(address), KERNEL_PAGE);
	if (!(rights & PLATFORM_READ))
		platform_protect(address, KERNEL_PAGE, rights);
}

struct memory_copy *memory_copy(uint64_t skip_start, uint64_t skip_end)
{
	uint64_t runs_bytes = memory_images.count * sizeof(struct image_run);
	uint64_t head = sizeof(struct memory_copy) + runs_bytes + region.pages;
	struct memory_copy *copy = at(memory_alloc(head));
	if (!copy)
		return NULL;
	reveal_segments();
	copy->bytes = head;
	copy->runs = (struct image_run *)(copy + 1);
	copy->used = (uint8_t *)(copy->runs + memory_images.count);
	memcpy(copy->used, region.used, region.pages);
	memcpy(copy->runs, memory_images.runs, runs_bytes);
	memcpy(copy->list, segments, sizeof(segments));
	copy->segment_count = segment_count;
	copy->run_count = memory_images.count;
	copy->run_changes = memory_images.changes;
	copy->skip_start = skip_start;
	copy->skip_end = skip_end;
	copy->break_now = region.break_now;
	for (uint64_t page = 0; page < region.pages; page++)
		copy->count += is_copied(copy, page);
	copy->pages = at(memory_alloc(
		copy->count * KERNEL_PAGE + segments_bytes(segments, segment_count) + 1));
	if (!copy->pages) {
		memory_free(address_of(copy), head);
		return NULL;
	}
	uint8_t *to = copy->pages;
	for (uint64_t page = 0; page < region.pages; page++)
		if (is_copied(copy, page)) {
			copy_page(to, page);
			to += KERNEL_PAGE;
		}
	copy->segments = to;
	for (uint32_t i = 0; i < segment_count; i++) {
		if (!segments[i].is_writable)
			continue;
		memcpy(to, at(segments[i].start), segments[i].end - segments[i].start);
		to += segments[i].end - segments[i].start;
	}
	copy->before = last_copy;
	set_last(copy);
	return copy;
}

void memory_copy_free(struct memory_copy *copy)
{
	if (last_copy == copy)
		set_last(copy->before);
	memory_free(address_of(copy->pages),
		copy->count * KERNEL_PAGE + segments_bytes(copy->list, copy->segment_count) + 1);
	memory_free(address_of(copy), copy->bytes);
}

/* Pages that never changed are left alone: they may be read-only, as what a linker protects is. */
static void put_segments_back(const struct memory_copy *copy)
{
	const uint8_t *from = copy->segments;
	memcpy(segments, copy->list, sizeof(segments));
	segment_count = copy->segment_count;
	reveal_segments();
	for (uint32_t i = 0; i < segment_count; i++)
		for (uint64_t start = segments[i].start, end = segments[i].end;
			segments[i].is_writable && start < end;) {
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

/* A page as it was, with its bytes or (NULL) with none of its own. */
static void put_page_back(uint64_t page, uint8_t then, const uint8_t *bytes)
{
	uint64_t address = region.start + page * KERNEL_PAGE;
	uint8_t *now = &region.used[page];
	bool is_used = (*now & KIND) == USED;
	int rights = is_used ? memory_rights_of(*now) : PLATFORM_READ | PLATFORM_WRITE;
	if (!bytes && *now == then)
		return;
	if (!bytes && is_used) {
		memory_renew(page, 1);
		rights = PLATFORM_READ | PLATFORM_WRITE;
		*now = FREE;
	}
	if (bytes &&
		(rights & (PLATFORM_READ | PLATFORM_WRITE)) != (PLATFORM_READ | PLATFORM_WRITE)) {
		rights = PLATFORM_READ | PLATFORM_WRITE;
		platform_protect(address, KERNEL_PAGE, rights);
	}
	if (bytes)
		memcpy(at(address), bytes, KERNEL_PAGE);
	if (rights != memory_rights_of(then) && !(then & EXECUTABLE))
		platform_protect(address, KERNEL_PAGE, memory_rights_of(then));
	*now = then | (*now & IMAGE);
}

/* Only of those that the program never wrote to: the others have their bytes back. */
static void put_runs_back(const struct memory_copy *copy)
{
	const struct image_run *runs = memory_images.runs;
	if (copy->run_changes == memory_images.changes)
		return;
	memcpy(memory_images.runs, copy->runs, copy->run_count * sizeof(struct image_run));
	memory_images.count = copy->run_count;
	memory_images.changes++;
	for (uint64_t i = 0; i < memory_images.count; i++)
		for (uint64_t done = 0, count; done < runs[i].count; done += count) {
			uint64_t page = runs[i].page + done;
			uint8_t then = copy->used[page];
			count = 1;
			while (done + count < runs[i].count && copy->used[page + count] == then)
				count++;
			if (!(then & WRITTEN))
				platform_map_image(region.start + page * KERNEL_PAGE,
					count * KERNEL_PAGE, runs[i].from + done * KERNEL_PAGE,
					memory_rights_of(then));
		}
}

void memory_put_back(struct memory_copy *copy)
{
	const uint8_t *from = copy->pages;
	uint64_t left = 0;
	set_last(copy->before);
	for (uint64_t page = 0; page < region.pages; page++) {
		uint8_t *now = &region.used[page], then = copy->used[page];
		if ((*now & KIND) == KERNEL || (then & KIND) == KERNEL) {
			/* The library OS has it now, or gave it back since. */
		} else if (is_copied(copy, page)) {
			put_page_back(page, then, from);
		} else if ((then & KIND) == HELD) {
			if (*now != HELD) {
				memory_renew(page, 1);
				*now = HELD;
			}
		} else if (then != FREE && !(then & WRITTEN)) {
			put_page_back(page, then, NULL);
		} else if (then != FREE) {
			*now = then; /* the stack below its pointer */
		} else if (*now != FREE) {
			memory_give_back(page, 1);
		}
		if (is_copied(copy, page))
			from += KERNEL_PAGE;
		left += region.used[page] == FREE;
	}
	put_runs_back(copy);
	region.left = left;
	region.break_now = copy->break_now;
	put_segments_back(copy);
	memory_copy_free(copy);
}
