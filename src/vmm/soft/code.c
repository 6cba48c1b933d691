/* SPDX-License-Identifier: Apache-2.0 */
/*
 * code.c - finding, linking and dropping blocks.
 */
#include "vmm/soft/code.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/large.h"
#include "vmm/soft/code_map.h"
#include "vmm/soft/kept.h"
#include "vmm/soft/memory.h"

#define BUCKETS      (64u << 10) /* 16 bits of a product */
#define PAGE_BUCKETS 4096u
#define STALE_BYTES  5u /* of the jump at the entry of a block that was dropped */

/* Of what is not full yet: as much as a kernel's start has translated soon, and a small guest never. */
#define LARGE_FROM (512 * KIB)

/* Once it is used that far, the piece that ends at `used` goes into a large page, where it is written and where it runs. */
static void use_large(struct native *native, uint32_t used)
{
	uint32_t number = used / LARGE_BYTES, at = number * (uint32_t)LARGE_BYTES;
	if (used - at < LARGE_FROM || (native->large >> number & 1) ||
		at + LARGE_BYTES > native->mapped)
		return;
	native->large |= UINT64_C(1) << number;
	if (large_collapse(native->writable + at))
		(void)large_collapse((void *)(uintptr_t)(native->executable + at));
}

int code_new(uint32_t cpus, struct native **ret, struct error *e)
{
	uint64_t bytes = cpus <= CODE_ALL / CODE_BYTES ? CODE_BYTES : CODE_ALL / cpus & PAGE_MASK;
	cleanup(close) int fd = memfd_create("code", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
		return error_errno(e, "memory for translated code");
	void *writable = large_map(bytes, 0, PROT_READ | PROT_WRITE, fd);
	void *executable = large_map(bytes, 0, PROT_READ | PROT_EXEC, fd);
	if (writable == MAP_FAILED || executable == MAP_FAILED) {
		int code = error_errno(e, "memory for translated code");
		if (writable != MAP_FAILED)
			munmap(writable, bytes);
		return code;
	}
	struct native *native = alloc(struct native);
	native->map_fd = -1;
	native->writable = writable;
	native->executable = executable;
	native->mapped = (uint32_t)bytes;
	native->fars_max = native->mapped / CODE_A_FAR;
	native->bytes = native->mapped - native->fars_max * (uint32_t)sizeof(struct far);
	native->fars = (struct far *)(void *)(native->writable + native->bytes);
	native->blocks_max = native->bytes / CODE_A_BLOCK;
	native->sites_max = native->bytes / CODE_A_SITE;
	native->blocks = alloc_array(native->blocks_max, struct block);
	native->sites = alloc_array(native->sites_max, struct site);
	native->buckets = alloc_array(BUCKETS, uint32_t);
	native->pages = alloc_array(PAGE_BUCKETS, uint32_t);
	native->heat = alloc_array(PAGE_BUCKETS, uint8_t);
	native->seen = alloc_array(CODE_SEEN, uint8_t);
	native->block_count = native->site_count = native->far_count = 1;
	struct emitter to = { .at = native->writable,
		.end = native->writable + BLOCK_BYTES - EMIT_MOST };
	pieces_write(&native->pieces, &to, native->writable, native->executable);
	native->used = native->fixed = (uint32_t)(to.at - native->writable);
	native->cold = native->cold_used =
		(uint32_t)((uint64_t)native->bytes * CODE_HOT & PAGE_MASK);
	*ret = native;
	return 0;
}

void code_free(struct native *native)
{
	if (!native)
		return;
	munmap(native->writable, native->mapped);
	munmap((void *)(uintptr_t)native->executable, native->mapped);
	if (native->map_fd >= 0)
		close(native->map_fd);
	free(native->blocks);
	free(native->sites);
	free(native->buckets);
	free(native->pages);
	free(native->heat);
	free(native->seen);
	free(native->lockstep);
	free(native->writing);
	free(native);
}

void code_flush(struct cpu *cpu)
{
	struct native *native = cpu->native;
	memset(native->buckets, 0, BUCKETS * sizeof(uint32_t));
	memset(native->pages, 0, PAGE_BUCKETS * sizeof(uint32_t));
	native->used = native->fixed;
	native->cold_used = native->cold;
	native->block_count = native->site_count = native->far_count = 1;
	native->flushes++;
	kept_forget(cpu);
	tlb_forget_code(cpu);
}

static uint32_t bucket_of(guest_addr physical, uint32_t mode)
{
	return (uint32_t)(physical + mode) * 0x9e3779b1u >> 16;
}

static uint32_t page_bucket(guest_addr page)
{
	return (uint32_t)(page / GUEST_PAGE % PAGE_BUCKETS);
}

uint32_t code_find(const struct native *native, guest_addr physical, uint32_t mode)
{
	const struct block *blocks = native->blocks;
	uint32_t i = native->buckets[bucket_of(physical, mode)];
	while (i && (blocks[i].physical != physical || blocks[i].mode != mode))
		i = blocks[i].next;
	return i;
}

static uint32_t aligned(uint32_t offset)
{
	return (offset + 15) & ~15u;
}

/* Failures end the map. */
static void note_in_map(struct native *native, const struct block *block)
{
	uint32_t first = block->entry_host < block->entry ? block->entry_host : block->entry;
	uint64_t base = (uintptr_t)native->executable;
	const struct code_map_line line = {
		.hot = base + (block->entry_told < first ? block->entry_told : first),
		.hot_end = base + block->end,
		.cold = base + block->cold,
		.cold_end = base + native->cold_used,
		.physical = block->physical,
		.mode = block->mode,
		.count = block->count,
	};
	if (code_map_add(native->map_fd, &line) == 0)
		return;
	close(native->map_fd);
	native->map_fd = -1;
}

uint32_t code_add(struct native *native, const struct block *block, const uint8_t *cold_end)
{
	uint32_t number = native->block_count++;
	uint32_t *bucket = &native->buckets[bucket_of(block->physical, block->mode)];
	uint32_t *page = &native->pages[page_bucket(block->physical)];
	native->blocks[number] = *block;
	native->blocks[number].next = *bucket;
	native->blocks[number].next_in_page = *page;
	*bucket = *page = number;
	if (block->second) {
		uint32_t stand_in = native->block_count++;
		page = &native->pages[page_bucket(block->second)];
		native->blocks[stand_in] = (struct block){
			.physical = block->second, .whole = number, .next_in_page = *page
		};
		*page = stand_in;
	}
	native->used = aligned(block->end);
	native->cold_used = (uint32_t)(cold_end - native->writable);
	native->translated++;
	use_large(native, native->used);
	use_large(native, native->cold_used);
	if (native->map_fd >= 0)
		note_in_map(native, block);
	return number;
}

static void unhash(struct native *native, uint32_t number)
{
	struct block *block = &native->blocks[number];
	uint32_t *next = &native->buckets[bucket_of(block->physical, block->mode)];
	while (*next && *next != number)
		next = &native->blocks[*next].next;
	if (*next)
		*next = block->next;
}

static void set_jump(struct native *native, uint32_t at, uint32_t target)
{
	emit_set_target(native->writable + at, native->writable + target);
}

/* A link between pages holds for this generation, and where the target is in this physical page. */
static void set_far(
	struct native *native, const struct site *site, uint32_t generation, guest_addr page)
{
	if (site->is_kept) {
		native->fars[site->generation].generation = generation;
		native->fars[site->generation].page = page;
	} else if (site->is_far) {
		memcpy(native->writable + site->generation, &generation, sizeof(generation));
	}
}

/* The first bytes of a block that was dropped are a jump: a jump that stood there is no more. */
static bool is_overwritten(const struct native *native, uint32_t at, uint32_t number)
{
	const struct block *block = &native->blocks[number];
	return block->is_dropped && at < block->entry + STALE_BYTES;
}

/* Who jumps to the block asks again; who comes by another way finds it stale. */
static void bury(struct native *native, struct block *block)
{
	for (uint32_t i = block->links; i; i = native->sites[i].next) {
		struct site *site = &native->sites[i];
		site->to = 0;
		if (site->is_kept || !is_overwritten(native, site->generation, site->block))
			set_far(native, site, 0, KEPT_NOWHERE);
		if (!is_overwritten(native, site->jump, site->block))
			set_jump(native, site->jump, site->stub);
	}
	block->links = 0;
	block->is_dropped = true;
	native->writable[block->entry] = 0xe9;
	set_jump(native, block->entry + 1, block->stale);
}

void code_drop_block(struct native *native, uint32_t number)
{
	unhash(native, number);
	bury(native, &native->blocks[number]);
}

bool code_drop(struct native *native, guest_addr page)
{
	bool found = false;
	uint32_t *next = &native->pages[page_bucket(page)];
	while (*next) {
		struct block *block = &native->blocks[*next];
		if ((block->physical & PAGE_MASK) != page) {
			next = &block->next_in_page;
			continue;
		}
		found = true;
		code_drop_block(native, block->whole ? block->whole : *next);
		*next = block->next_in_page;
	}
	return found;
}

void code_link(struct native *native, uint32_t number, uint32_t block, uint32_t generation)
{
	struct site *site = &native->sites[number];
	struct block *to = &native->blocks[block];
	if (site->to && site->to != block) {
		/* The page is another one now. */
		uint32_t *next = &native->blocks[site->to].links;
		while (*next && *next != number)
			next = &native->sites[*next].next;
		if (*next)
			*next = site->next;
		site->to = 0;
	}
	if (!site->to) {
		site->to = block;
		site->next = to->links;
		to->links = number;
		uint32_t target = site->is_host ? to->entry_host : to->entry;
		if (site->maker && to->wants_flags) {
			set_jump(native, site->made, target);
			target = site->maker;
		}
		set_jump(native, site->jump, target);
	}
	set_far(native, site, generation, to->second ? KEPT_NOWHERE : to->physical & PAGE_MASK);
}
