/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_runs.c - the memory as a snapshot wants it: run by run.
 */
#include "unikernel/memory_runs.h"

#include "unikernel/memory_region.h"

#define region memory_region

/* How a page goes into a snapshot; free ones do not. */
static bool kind_of(uint8_t used, struct snapshot_run *ret)
{
	uint8_t kind = used & KIND;
	if (kind != USED && kind != KERNEL)
		return false;
	ret->rights = kind == KERNEL ? PLATFORM_READ | PLATFORM_WRITE : memory_rights_of(used);
	ret->kind = kind == KERNEL || (used & WRITTEN) ? SNAPSHOT_BYTES
		: used & IMAGE                         ? SNAPSHOT_IMAGE
						       : SNAPSHOT_NONE;
	return true;
}

/* Pages of the image, from the list of runs: their table says only that they show it. */
static int image_runs(memory_each_run *each, void *data)
{
	int r = 0;
	for (uint64_t i = 0; i < memory_images.count; i++) {
		const struct image_run *run = &memory_images.runs[i];
		for (uint64_t done = 0, count; r == 0 && done < run->count; done += count) {
			uint8_t used = region.used[run->page + done];
			struct snapshot_run one = {};
			count = 1;
			while (done + count < run->count &&
				region.used[run->page + done + count] == used)
				count++;
			if (!kind_of(used, &one) || one.kind != SNAPSHOT_IMAGE)
				continue;
			one.address = region.start + (run->page + done) * KERNEL_PAGE;
			one.bytes = count * KERNEL_PAGE;
			one.from = run->from + done * KERNEL_PAGE;
			r = each(data, &one);
		}
	}
	return r;
}

int memory_runs(memory_each_run *each, void *data)
{
	int r = 0;
	if (region.copies)
		return -EBUSY;
	for (uint64_t page = 0, count; r == 0 && page < region.pages; page += count) {
		struct snapshot_run one = {}, next = {};
		count = 1;
		if (!kind_of(region.used[page], &one) || one.kind == SNAPSHOT_IMAGE)
			continue;
		while (page + count < region.pages && kind_of(region.used[page + count], &next) &&
			next.kind == one.kind && next.rights == one.rights)
			count++;
		one.address = region.start + page * KERNEL_PAGE;
		one.bytes = count * KERNEL_PAGE;
		r = each(data, &one);
	}
	return r < 0 ? r : image_runs(each, data);
}
