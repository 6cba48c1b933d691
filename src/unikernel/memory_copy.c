/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_copy.c - the memory of processes that do not run.
 *
 * Theory of operation. One process has its memory in place; of each other a table says which pages it uses. A page that
 * only one process uses stays where it is while that one does not run: in the tables of all others it is HELD, so that
 * nobody gets it. What two of them use at one address (a fork's parent and child, the stack of programs that were executed) is
 * copied aside, page by page, and exchanged when the other one runs. What only shows the image, or nothing, is known by the
 * table and the list of runs, and mapped again. SHARED pages are the same memory for all who have them. For each page is counted
 * how many of those that do not run use it.
 */
#include "unikernel/memory_copy.h"

#include "unikernel/memory_region.h"
#include "unikernel/memory_segments.h"

#define region memory_region

/* In a copy's table HELD is what stays in place, with its rights; FREE, too, is what others hold. */
struct memory_copy {
	uint64_t break_now;
	uint64_t skip_start, skip_end;
	uint64_t count; /* of pages that are aside */
	uint8_t *used;
	uint8_t **aside;
	uint8_t *segments_bytes;
	struct image_run *runs;
	uint64_t run_count, bytes;
	struct segments segments;
};

static bool is_aside(const struct memory_copy *copy, uint64_t page)
{
	uint64_t address = region.start + page * KERNEL_PAGE;
	uint8_t used = copy->used[page];
	return (used & KIND) == USED && (used & WRITTEN) &&
		!(address >= copy->skip_start && address < copy->skip_end);
}

static bool is_in(const struct memory_span *span, uint64_t page)
{
	uint64_t address = region.start + page * KERNEL_PAGE;
	return address >= span->start && address < span->end;
}

/* What the current process uses, counted as that of one that does not run. `stays`: a child goes on in the same pages. */
static struct memory_copy *new_copy(const struct memory_stack *stack, bool stays)
{
	uint64_t runs_bytes = memory_images.count * sizeof(struct image_run);
	uint64_t head = sizeof(struct memory_copy) + runs_bytes + region.pages;
	struct memory_copy *copy = at(memory_alloc(head));
	if (!copy)
		return NULL;
	copy->bytes = head;
	copy->runs = (struct image_run *)(copy + 1);
	copy->used = (uint8_t *)(copy->runs + memory_images.count);
	memcpy(copy->runs, memory_images.runs, runs_bytes);
	copy->run_count = memory_images.count;
	copy->skip_start = stack->unused.start;
	copy->skip_end = stack->unused.end;
	copy->break_now = region.break_now;
	for (uint64_t page = 0; page < region.pages; page++) {
		uint8_t used = region.used[page];
		if ((used & KIND) != USED)
			continue;
		bool is_only = !stays && region.others[page] == 0 && !is_in(&stack->all, page);
		bool keeps_place = (used & SHARED) || is_only;
		copy->used[page] = keeps_place ? (uint8_t)((used & ~KIND) | HELD) : used;
		copy->count += is_aside(copy, page);
	}
	copy->aside = at(memory_alloc(copy->count * sizeof(*copy->aside) + 1));
	if (!copy->aside || !segments_keep(&copy->segments, &copy->segments_bytes)) {
		if (copy->aside)
			memory_free(
				address_of(copy->aside), copy->count * sizeof(*copy->aside) + 1);
		memory_free(address_of(copy), head);
		return NULL;
	}
	for (uint64_t page = 0; page < region.pages; page++)
		if ((copy->used[page] & KIND) != FREE)
			region.others[page]++;
	region.copies++;
	return copy;
}

static void free_copy(struct memory_copy *copy)
{
	for (uint64_t page = 0; page < region.pages; page++)
		if ((copy->used[page] & KIND) != FREE)
			region.others[page]--;
	region.copies--;
	if (copy->segments_bytes)
		memory_free(address_of(copy->segments_bytes), segments_bytes(&copy->segments));
	memory_free(address_of(copy->aside), copy->count * sizeof(*copy->aside) + 1);
	memory_free(address_of(copy), copy->bytes);
}

/* Makes a page of the current process one that can be read and written here. */
static void open_page(uint64_t page)
{
	const int both = PLATFORM_READ | PLATFORM_WRITE;
	uint8_t used = region.used[page];
	if ((used & KIND) == USED && (memory_rights_of(used) & both) != both)
		platform_protect(region.start + page * KERNEL_PAGE, KERNEL_PAGE, both);
}

static void close_page(uint64_t page, uint8_t used)
{
	int rights = memory_rights_of(used);
	if (rights != (PLATFORM_READ | PLATFORM_WRITE))
		platform_protect(
			region.start + page * KERNEL_PAGE, KERNEL_PAGE, rights & ~PLATFORM_EXECUTE);
}

struct memory_copy *memory_fork(const struct memory_stack *stack)
{
	struct memory_copy *copy = new_copy(stack, true);
	uint64_t next = 0;
	if (!copy)
		return NULL;
	for (uint64_t page = 0; page < region.pages; page++) {
		if (!is_aside(copy, page))
			continue;
		uint8_t *aside = at(memory_alloc(KERNEL_PAGE));
		if (!aside) {
			while (next > 0)
				memory_free(address_of(copy->aside[--next]), KERNEL_PAGE);
			free_copy(copy);
			return NULL;
		}
		copy->aside[next++] = aside;
		open_page(page);
		memcpy(aside, at(region.start + page * KERNEL_PAGE), KERNEL_PAGE);
		close_page(page, region.used[page]);
	}
	return copy;
}

struct memory_copy *memory_leave(const struct memory_stack *stack)
{
	return new_copy(stack, false);
}

/* Aside with the page that leaves, into a page that comes back if there is one. */
static void put_aside(struct memory_copy *from, uint64_t *next, uint64_t page, uint8_t *place)
{
	uint64_t *here = at(region.start + page * KERNEL_PAGE);
	open_page(page);
	if (!place) {
		place = at(memory_alloc(KERNEL_PAGE));
		if (!place)
			memory_is_out();
		memcpy(place, here, KERNEL_PAGE);
	} else {
		uint64_t *there = (uint64_t *)(void *)place;
		for (uint64_t i = 0; i < KERNEL_PAGE / sizeof(*here); i++) {
			uint64_t word = here[i];
			here[i] = there[i];
			there[i] = word;
		}
	}
	from->aside[(*next)++] = place;
}

/* Nothing of the one who had it is left. */
static void empty_page(uint64_t page)
{
	uint8_t *now = &region.used[page];
	bool is_held = region.others[page] > 0;
	if ((*now & KIND) == USED && !((*now & SHARED) && is_held))
		memory_renew(page, 1);
	*now = is_held ? HELD : FREE;
}

/* Whose page it was and whose it becomes; `place` has its bytes if those are aside. True if the image has to be shown there. */
static bool give_page(uint64_t page, uint8_t then, uint8_t *place, bool was_aside)
{
	uint8_t *now = &region.used[page];
	if ((then & KIND) == HELD) {
		*now = (uint8_t)((then & ~KIND) | USED);
		return false;
	}
	if ((then & KIND) == FREE) {
		empty_page(page);
		return false;
	}
	if (then & WRITTEN) {
		if (place && !was_aside) {
			open_page(page);
			memcpy(at(region.start + page * KERNEL_PAGE), place, KERNEL_PAGE);
		} else if (!place) {
			open_page(page); /* the stack below its pointer */
		}
		close_page(page, then);
		*now = then | (*now & KIND ? *now & IMAGE : 0);
		return false;
	}
	if (*now == then && !was_aside)
		return (then & IMAGE) != 0;
	empty_page(page);
	close_page(page, then);
	*now = then;
	return (then & IMAGE) != 0;
}

/* Where nobody has written, and only where the page was not kept in place. */
static void show_images(const struct memory_copy *to)
{
	const struct image_run *runs = to->runs;
	memcpy(memory_images.runs, runs, to->run_count * sizeof(struct image_run));
	memory_images.count = to->run_count;
	memory_images.changes++;
	for (uint64_t i = 0; i < to->run_count; i++)
		for (uint64_t done = 0, count; done < runs[i].count; done += count) {
			uint64_t page = runs[i].page + done;
			uint8_t then = to->used[page];
			count = 1;
			while (done + count < runs[i].count && to->used[page + count] == then)
				count++;
			if ((then & KIND) == USED && !(then & WRITTEN))
				platform_map_image(region.start + page * KERNEL_PAGE,
					count * KERNEL_PAGE, runs[i].from + done * KERNEL_PAGE,
					memory_rights_of(then));
		}
}

static bool has_same_runs(const struct memory_copy *to)
{
	return to->run_count == memory_images.count &&
		memcmp(to->runs, memory_images.runs, to->run_count * sizeof(struct image_run)) == 0;
}

void memory_enter(struct memory_copy *from, struct memory_copy *to)
{
	uint64_t next_from = 0, next_to = 0, left = 0;
	bool shows = !has_same_runs(to);
	for (uint64_t page = 0; page < region.pages; page++)
		if (from && (from->used[page] & KIND) == HELD)
			region.used[page] = HELD;
	for (uint64_t page = 0; page < region.pages; page++) {
		uint8_t *now = &region.used[page], then = to->used[page], before = *now;
		if ((*now == FREE && then == FREE) || (*now & KIND) == KERNEL)
			continue;
		bool leaves = from && is_aside(from, page);
		uint8_t *place = is_aside(to, page) ? to->aside[next_to++] : NULL;
		if (leaves)
			put_aside(from, &next_from, page, place);
		if ((then & KIND) != FREE)
			region.others[page]--;
		bool shows_page = give_page(page, then, place, leaves);
		shows |= shows_page && before != then;
		if ((then & KIND) != FREE) /* until the copy is gone */
			region.others[page]++;
		if (place && !leaves)
			memory_free(address_of(place), KERNEL_PAGE);
	}
	if (shows)
		show_images(to);
	region.break_now = to->break_now;
	segments_put_back(&to->segments, to->segments_bytes);
	free_copy(to);
	for (uint64_t page = 0; page < region.pages; page++)
		left += region.used[page] == FREE;
	region.left = left;
}

/* A program is executed while another process goes on: it begins with nothing but the stack. */
void memory_begin(struct memory_copy *from, const struct memory_stack *stack)
{
	uint64_t next = 0;
	for (uint64_t page = 0; page < region.pages; page++) {
		uint8_t *now = &region.used[page];
		if ((*now & KIND) != USED)
			continue;
		if ((from->used[page] & KIND) == HELD) {
			*now = HELD;
			continue;
		}
		if (is_aside(from, page))
			put_aside(from, &next, page, NULL);
		if (is_in(&stack->all, page))
			continue;
		empty_page(page);
	}
	memory_images.count = 0;
	memory_images.changes++;
}

void memory_drop(struct memory_copy *copy)
{
	uint64_t next = 0;
	for (uint64_t page = 0; page < region.pages; page++)
		if (is_aside(copy, page))
			memory_free(address_of(copy->aside[next++]), KERNEL_PAGE);
	free_copy(copy);
}
