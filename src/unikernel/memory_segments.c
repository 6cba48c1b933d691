/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_segments.c - a program that is linked to an address: its segments lie outside the region, at the same place for
 * whoever runs it.
 */
#include "unikernel/memory_segments.h"

static struct segments now;
static bool hides_some; /* some page of them cannot be read */

bool memory_add_segment(uint64_t start, uint64_t end, bool is_writable)
{
	if (now.count == SEGMENTS_MOST)
		return false;
	now.list[now.count++] = (struct segment){ start, end, is_writable };
	return true;
}

void memory_forget_segments(void)
{
	now.count = 0;
	hides_some = false;
}

static bool is_inside(uint64_t start, uint64_t end)
{
	uint64_t mask = KERNEL_PAGE - 1;
	if (end < start)
		return false;
	for (uint32_t i = 0; i < now.count && start < end;) {
		uint64_t segment_end = (now.list[i].end + mask) & ~mask;
		if (start >= (now.list[i].start & ~mask) && start < segment_end) {
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
	if (!is_inside(address, address + size))
		return -ENOMEM;
	hides_some |= !(rights & (PLATFORM_READ | PLATFORM_WRITE));
	return platform_protect(address, size, (int)rights);
}

/* To be copied; who had made some of it unreadable gets it back writable. */
static void reveal(void)
{
	uint64_t mask = KERNEL_PAGE - 1;
	for (uint32_t i = 0; hides_some && i < now.count; i++) {
		uint64_t start = now.list[i].start & ~mask, end = (now.list[i].end + mask) & ~mask;
		if (now.list[i].is_writable)
			platform_protect(start, end - start, PLATFORM_READ | PLATFORM_WRITE);
	}
	hides_some = false;
}

uint64_t segments_bytes(const struct segments *segments)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < segments->count; i++)
		bytes += segments->list[i].is_writable
			? segments->list[i].end - segments->list[i].start
			: 0;
	return bytes;
}

bool segments_keep(struct segments *ret, uint8_t **ret_bytes)
{
	uint64_t bytes = segments_bytes(&now);
	uint8_t *to = bytes ? at(memory_alloc(bytes)) : NULL;
	if (bytes && !to)
		return false;
	*ret = now;
	*ret_bytes = to;
	reveal();
	for (uint32_t i = 0; i < now.count; i++) {
		if (!now.list[i].is_writable)
			continue;
		memcpy(to, at(now.list[i].start), now.list[i].end - now.list[i].start);
		to += now.list[i].end - now.list[i].start;
	}
	return true;
}

/* Pages that never changed are left alone: they may be read-only, as what a linker protects is. */
void segments_put_back(const struct segments *segments, const uint8_t *bytes)
{
	const uint8_t *from = bytes;
	now = *segments;
	reveal();
	for (uint32_t i = 0; i < now.count; i++)
		for (uint64_t start = now.list[i].start, end = now.list[i].end;
			now.list[i].is_writable && start < end;) {
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
