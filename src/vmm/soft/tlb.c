/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tlb.c - the software TLB: what is in it, what fills it, what is forgotten when. Likewise for code.
 */
#include "vmm/soft/tlb.h"

#include <string.h>

#include "vmm/soft/walk.h"

#define FETCH_NEAR UINT64_C(8)

/* What no page has in fetch_entry.linear. */
#define FETCH_NONE UINT64_MAX

_Noreturn void tlb_page_fault(struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t code)
{
	cpu->cr2 = linear;
	cpu_fault(cpu, op, FAULT_PF, code);
}

/* Bit 0 marks the tag of nothing; the page number belongs in another slot than TAG_SLOW's. */
static uint64_t tag_none(uint32_t slot)
{
	return (uint64_t)(slot ^ 256) << 12 | 1;
}

static bool tag_is_none(uint64_t tag)
{
	return tag & 1;
}

static bool tag_is_fast(uint64_t tag, uint32_t slot)
{
	return !tag_is_none(tag) && (((tag >> 12) ^ slot) & (TLB_SIZE - 1) & ~TLB_BESIDE) == 0;
}

static void entry_clear(struct tlb_entry *entry, uint32_t slot)
{
	*entry = (struct tlb_entry){ .read = tag_none(slot), .write = tag_none(slot) };
}

/* The linear address of the page; the entry holds one. */
static uint64_t entry_page(const struct tlb_entry *entry, uint32_t slot)
{
	return tag_is_fast(entry->read, slot) ? entry->read : entry->read ^ TAG_SLOW;
}

/* The user's half of the addresses, or the kernel's. */
static uint32_t half_of(uint64_t linear)
{
	return (uint32_t)(linear >> 63);
}

/* In a hash of large pages, by 4 MiB; a page of 1 GiB is everywhere. */
static uint64_t large_bit(uint64_t page, uint64_t size_flag)
{
	return size_flag & TLB_HUGE ? UINT64_MAX : UINT64_C(1) << (page >> 22 & 63);
}

static uint32_t *writer_of(struct cpu *cpu, guest_addr page)
{
	return &cpu->writers[page / GUEST_PAGE % WRITERS];
}

static struct tlb_entry *entry_at(struct cpu *cpu, uint32_t offset)
{
	return (struct tlb_entry *)(void *)((uint8_t *)cpu + offset);
}

/* Whether the entry writes to the page without asking, or to one with the same hash if that is enough. */
static bool is_writer(
	const struct tlb *tlb, const struct tlb_entry *entry, guest_addr page, guest_addr mask)
{
	uint32_t slot = (uint32_t)(entry - tlb->entries);
	return ((entry->physical ^ page) & mask) == 0 && tag_is_fast(entry->write, slot);
}

static const struct tlb *tlb_with(const struct cpu *cpu, const struct tlb_entry *entry)
{
	size_t offset = (size_t)((const uint8_t *)entry - (const uint8_t *)cpu->tlbs);
	return &cpu->tlbs[offset / sizeof(struct tlb)];
}

#define SAME_HASH ((uint64_t)(WRITERS - 1) * GUEST_PAGE)

/*
 * Before entries that can write go. Who decodes a page asks whether it was written here, then reads it: if somebody has asked by
 * now, what these entries have written may have come too late, and nobody will know of them when that is answered.
 */
static void forget_writers(struct cpu *cpu)
{
	if (cpu->soft_count == 1)
		return;
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&cpu->attention, memory_order_relaxed) & ATTENTION_CODE)
		cpu->has_lost_writers = true;
}

/* From now on tlb_protect() finds the entry. */
static void note_writer(struct cpu *cpu, const struct tlb_entry *entry)
{
	uint32_t own = (uint32_t)((const uint8_t *)entry - (const uint8_t *)cpu);
	uint32_t *writer = writer_of(cpu, entry->physical);
	if (*writer == own || *writer == WRITERS_MANY)
		return;
	const struct tlb_entry *other = *writer ? entry_at(cpu, *writer) : NULL;
	bool has_other =
		other && is_writer(tlb_with(cpu, other), other, entry->physical, SAME_HASH);
	*writer = has_other ? WRITERS_MANY : own;
}

void tlb_set_tags(struct cpu *cpu, struct tlb_entry *entry, uint64_t page)
{
	const struct guest_region *region = guest_region(cpu->guest, entry->physical & PAGE_MASK);
	uint64_t read_slow = 0, write_slow = 0;
	entry->physical &= ~(uint64_t)(TLB_NO_RAM | TLB_CODE);
	if (!region) {
		entry->physical |= TLB_NO_RAM;
		read_slow = write_slow = TAG_SLOW;
	} else if (guest_is_rom(cpu->guest, region, entry->physical & PAGE_MASK)) {
		write_slow = TAG_SLOW;
	} else {
		uint64_t at = ((entry->physical & PAGE_MASK) - region->at) / GUEST_PAGE;
		if (atomic_load(&region->watched[at]) != 0) {
			entry->physical |= TLB_CODE;
			write_slow = TAG_SLOW;
		}
	}
	if (cpu->checks_alignment && tlb_with(cpu, entry) == &cpu->tlbs[TLB_USER])
		read_slow = write_slow = TAG_SLOW;
	if (cpu->has_data_breakpoints)
		for (int i = 0; i < BREAKPOINTS; i++)
			if ((cpu->dr[7] >> (2 * i) & 3) && (cpu->dr[i] & PAGE_MASK) == page)
				read_slow = write_slow = TAG_SLOW;
	entry->read = page ^ read_slow;
	entry->write = entry->physical & TLB_WRITE ? page ^ write_slow
						   : tag_none(page >> 12 & (TLB_SIZE - 1));
	entry->host =
		region ? (uintptr_t)region->host + ((entry->physical & PAGE_MASK) - region->at) : 0;
	if (entry->write == page)
		note_writer(cpu, entry);
}

static bool entry_has(const struct tlb_entry *entry, uint64_t page, uint32_t access)
{
	uint64_t tag = access & ACCESS_WRITE ? entry->write : entry->read;
	return tag == page || tag == (page ^ TAG_SLOW);
}

/* Where the page is or will be. The two pages of a pair of slots that were filled last are always there. */
static struct tlb_entry *make_room(struct tlb *tlb, uint64_t page, bool is_global)
{
	uint32_t slot = page >> 12 & (TLB_SIZE - 1);
	uint16_t *newest = &tlb->newest[slot & ~TLB_BESIDE];
	if (entry_has(&tlb->entries[slot ^ TLB_BESIDE], page, ACCESS_READ))
		slot ^= TLB_BESIDE; /* with fewer rights than are wanted now */
	else if (*newest == slot && !entry_has(&tlb->entries[slot], page, ACCESS_READ) &&
		!tag_is_none(tlb->entries[slot].read))
		slot ^= TLB_BESIDE;
	*newest = (uint16_t)slot;
	uint64_t bit = UINT64_C(1) << (slot % 64);
	tlb->used[slot / 64] |= bit;
	tlb->local[slot / 64] =
		is_global ? tlb->local[slot / 64] & ~bit : tlb->local[slot / 64] | bit;
	return &tlb->entries[slot];
}

struct tlb_entry *tlb_find(
	struct cpu *cpu, struct tlb *tlb, uint64_t linear, uint32_t access, uint32_t *code)
{
	uint64_t page = linear & PAGE_MASK;
	uint32_t slot = linear >> 12 & (TLB_SIZE - 1);
	struct tlb_entry *entry = &tlb->entries[slot];
	if (entry_has(entry, page, access))
		return entry;
	entry = &tlb->entries[slot ^ TLB_BESIDE];
	if (entry_has(entry, page, access))
		return entry;
	if (!is_canonical(linear))
		return NULL;
	struct walk found;
	struct wanted want = { .access = access,
		.is_user = tlb == &cpu->tlbs[TLB_USER],
		.keeps_off_user = tlb == &cpu->tlbs[TLB_SMAP] };
	if (!walk(cpu, linear, &want, &found, code))
		return NULL;
	entry = make_room(tlb, page, found.is_global);
	if (tag_is_fast(entry->write, (uint32_t)(entry - tlb->entries)))
		forget_writers(cpu);
	entry->physical = found.physical | (found.is_global ? TLB_GLOBAL : 0) | found.size_flag |
		(found.is_writable ? TLB_WRITE : 0);
	if (found.size_flag)
		tlb->large[half_of(page)] |= large_bit(page, found.size_flag);
	tlb_set_tags(cpu, entry, page);
	guest_used(cpu->guest, found.physical);
	return entry;
}

enum fill memory_fill(
	struct cpu *cpu, uint64_t linear, uint32_t bytes, uint32_t access, uint32_t *code)
{
	if ((linear & 0xfff) + bytes > GUEST_PAGE || !is_canonical(linear))
		return FILL_SLOW;
	const struct tlb_entry *entry = tlb_find(cpu, cpu->tlb, linear, access, code);
	uint64_t page = linear & PAGE_MASK;
	if (!entry)
		return FILL_FAULTS;
	return (access & ACCESS_WRITE ? entry->write : entry->read) == page ? FILL_DONE : FILL_SLOW;
}

/* The first bit that is set from this slot on, or TLB_SIZE. */
static uint32_t next_of(const uint64_t *bitmap, uint32_t slot)
{
	while (slot < TLB_SIZE) {
		uint64_t bits = bitmap[slot / 64] >> (slot % 64);
		if (bits)
			return slot + (uint32_t)__builtin_ctzll(bits);
		slot = (slot | 63) + 1;
	}
	return TLB_SIZE;
}

static uint32_t next_used(const struct tlb *tlb, uint32_t slot)
{
	return next_of(tlb->used, slot);
}

static void drop_entry(struct tlb *tlb, uint32_t slot)
{
	entry_clear(&tlb->entries[slot], slot);
	tlb->used[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
	tlb->local[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
}

void tlb_slow_writes(struct cpu *cpu)
{
	forget_writers(cpu);
	for (int kind = 0; kind < TLB_KINDS; kind++) {
		struct tlb *tlb = &cpu->tlbs[kind];
		for (uint32_t slot = next_used(tlb, 0); slot < TLB_SIZE;
			slot = next_used(tlb, slot + 1))
			tlb->entries[slot].write = tag_none(slot);
	}
}

static void forget_jumps(struct cpu *cpu, enum native_mode mode)
{
	struct native_jump *jumps = cpu->native_jumps[mode];
	for (uint64_t word = 0; word <= native_jump_mask(mode) / 64; word++) {
		uint64_t bits = cpu->native_used[mode][word];
		cpu->native_used[mode][word] = 0;
		for (; bits; bits &= bits - 1) {
			uint64_t at = word * 64 + (uint64_t)__builtin_ctzll(bits);
			jumps[at] = native_jump_none(at);
		}
	}
}

static void forget_kernel(struct cpu *cpu)
{
	cpu->kernel_links++;
	forget_jumps(cpu, NATIVE_KERNEL);
	forget_jumps(cpu, NATIVE_SMAP);
	forget_jumps(cpu, NATIVE_KERNEL_AC);
	cpu->has_local_kernel = false;
}

/* Forgets where code was found: in the user's half and through entries that are not global, or all. */
static void forget_fetches(struct cpu *cpu, bool with_global)
{
	/* A kernel that only changes its own code loads CR3 twice for each word. */
	bool with_user = with_global || cpu->has_user_code;
	cpu->has_user_code = false;
	for (int i = 0; i < FETCH_USER && with_user; i++)
		cpu->fetch_user[i].linear = FETCH_NONE;
	for (int i = 0; i < FETCH_KERNEL && (with_global || cpu->has_local_kernel); i++)
		if (with_global || !cpu->fetch_kernel[i].is_global)
			cpu->fetch_kernel[i].linear = FETCH_NONE;
	cpu->generation++;
	cpu->user_links++;
	if (with_user)
		forget_jumps(cpu, NATIVE_USER);
	if (with_global || cpu->has_local_kernel)
		forget_kernel(cpu);
	for (int half = 0; half < (with_global ? 2 : with_user); half++) {
		memset(cpu->fetched[half], 0, sizeof(cpu->fetched[half]));
		cpu->fetched_large[half] = 0;
	}
}

void tlb_init(struct cpu *cpu)
{
	for (int kind = 0; kind < TLB_KINDS; kind++) {
		for (uint32_t i = 0; i < TLB_SIZE; i++)
			drop_entry(&cpu->tlbs[kind], i);
	}
	/* Zeroes hold nothing but in the slots where address 0 is looked for. */
	for (int mode = 0; mode < NATIVE_MODES; mode++)
		memset(cpu->native_used[mode], 0xff, NATIVE_JUMPS_OF_0 / 8);
	cpu->tlb = &cpu->tlbs[TLB_KERNEL];
	walk_forget(cpu);
	forget_fetches(cpu, true);
}

static void flush_one(struct tlb *tlb, bool with_global)
{
	const uint64_t *which = with_global ? tlb->used : tlb->local;
	for (uint32_t slot = next_of(which, 0); slot < TLB_SIZE; slot = next_of(which, slot + 1))
		drop_entry(tlb, slot);
	if (with_global)
		tlb->large[0] = tlb->large[1] = 0;
}

void tlb_flush(struct cpu *cpu, bool with_global)
{
	forget_writers(cpu);
	cpu->direct_epoch++;
	walk_forget(cpu);
	for (int kind = 0; kind < TLB_KINDS; kind++)
		flush_one(&cpu->tlbs[kind], with_global);
	if (with_global)
		memset(cpu->writers, 0, sizeof(cpu->writers));
	forget_fetches(cpu, with_global);
}

void tlb_forget_code(struct cpu *cpu)
{
	forget_fetches(cpu, true);
}

static uint32_t page_bit(uint64_t linear)
{
	return (uint32_t)(linear >> 12 ^ linear >> 28) % FETCH_BITS;
}

/* What a large page that holds `page` has left. */
static void flush_large(struct tlb *tlb, uint64_t page)
{
	for (uint32_t slot = next_used(tlb, 0); slot < TLB_SIZE; slot = next_used(tlb, slot + 1)) {
		const struct tlb_entry *entry = &tlb->entries[slot];
		uint64_t size = entry->physical & TLB_HUGE ? GIB
			: entry->physical & TLB_LARGE      ? 4 * MIB
							   : GUEST_PAGE;
		if (((entry_page(entry, slot) ^ page) & ~(size - 1)) == 0)
			drop_entry(tlb, slot);
	}
}

void tlb_flush_page(struct cpu *cpu, uint64_t linear)
{
	uint64_t page = linear & PAGE_MASK;
	uint32_t half = half_of(page), bit = page_bit(page);
	forget_writers(cpu);
	cpu->direct_epoch += half == 0;
	walk_forget(cpu);
	for (int kind = 0; kind < TLB_KINDS; kind++) {
		struct tlb *tlb = &cpu->tlbs[kind];
		uint32_t slot = page >> 12 & (TLB_SIZE - 1);
		if (entry_page(&tlb->entries[slot], slot) == page)
			drop_entry(tlb, slot);
		if (entry_page(&tlb->entries[slot ^ TLB_BESIDE], slot ^ TLB_BESIDE) == page)
			drop_entry(tlb, slot ^ TLB_BESIDE);
		if (tlb->large[half] & large_bit(page, 0))
			flush_large(tlb, page);
	}
	bool has_code = (cpu->fetched[half][bit / 64] >> (bit % 64) & 1) ||
		(cpu->fetched_large[half] & large_bit(page, 0));
	if (has_code)
		forget_fetches(cpu, half == 1);
}

static void slow_down(struct tlb_entry *entry)
{
	entry->write ^= TAG_SLOW;
	entry->physical |= TLB_CODE;
}

/*
 * Looks at all entries. Others with the page's hash are asked at their next write: most of them are not written any
 * more, and would have each change of this page's code look at all again.
 */
static bool protect_all(struct cpu *cpu, guest_addr page)
{
	bool was_fast = false;
	uint32_t *writer = writer_of(cpu, page);
	*writer = 0;
	for (int kind = 0; kind < TLB_KINDS; kind++) {
		struct tlb *tlb = &cpu->tlbs[kind];
		for (uint32_t slot = next_used(tlb, 0); slot < TLB_SIZE;
			slot = next_used(tlb, slot + 1)) {
			struct tlb_entry *entry = &tlb->entries[slot];
			if (is_writer(tlb, entry, page, PAGE_MASK)) {
				was_fast = true;
				slow_down(entry);
			} else if (is_writer(tlb, entry, page, SAME_HASH)) {
				entry->write = tag_none(slot);
				cpu->has_lost_writers = cpu->soft_count > 1;
			}
		}
	}
	return was_fast;
}

bool tlb_protect(struct cpu *cpu, guest_addr page)
{
	uint32_t *writer = writer_of(cpu, page);
	if (*writer == WRITERS_MANY)
		return protect_all(cpu, page);
	struct tlb_entry *entry = *writer ? entry_at(cpu, *writer) : NULL;
	if (!entry || !is_writer(tlb_with(cpu, entry), entry, page, PAGE_MASK))
		return false;
	slow_down(entry);
	*writer = 0;
	return true;
}

static void take_fetch(
	struct cpu *cpu, struct fetch_entry *entry, uint64_t page, const struct walk *found)
{
	bool is_user = cpu->cpl == 3;
	uint32_t half = half_of(page), bit = page_bit(page);
	entry->linear = page | is_user;
	entry->physical = found->physical;
	entry->host = (const uint8_t *)guest_slice_const(cpu->guest, found->physical, GUEST_PAGE);
	entry->is_global = found->is_global;
	cpu->has_user_code |= half == 0 || is_user;
	cpu->has_local_kernel |= half == 0 ? !is_user : !found->is_global;
	if (found->size_flag)
		cpu->fetched_large[half] |= large_bit(page, found->size_flag);
	cpu->fetched[half][bit / 64] |= UINT64_C(1) << (bit % 64);
}

/*
 * The pages near one that a program fetches from are next, and with each CR3 load all are forgotten; what the page
 * tables say of them is in one line of the host's cache.
 */
static void fetch_near(struct cpu *cpu, uint64_t page, const struct wanted *want)
{
	uint64_t first = page & ~(FETCH_NEAR * GUEST_PAGE - 1);
	for (uint64_t near = first; near < first + FETCH_NEAR * GUEST_PAGE; near += GUEST_PAGE) {
		struct fetch_entry *entry = &cpu->fetch_user[near >> 12 & (FETCH_USER - 1)];
		struct walk found;
		if (entry->linear == FETCH_NONE && walk_accessed(cpu, near, want, &found))
			take_fetch(cpu, entry, near, &found);
	}
}

uint64_t memory_fetch(struct cpu *cpu, uint64_t linear, const uint8_t **host)
{
	linear = memory_of_code(cpu, linear);
	uint64_t page = linear & PAGE_MASK;
	bool is_user = cpu->cpl == 3;
	uint32_t half = half_of(page);
	struct fetch_entry *entry = half ? &cpu->fetch_kernel[linear >> 12 & (FETCH_KERNEL - 1)]
					 : &cpu->fetch_user[linear >> 12 & (FETCH_USER - 1)];
	if (entry->linear != (page | is_user)) {
		if (!is_canonical(linear))
			cpu_fault(cpu, NULL, FAULT_GP, 0);
		uint32_t code = 0;
		struct walk found;
		struct wanted want = { .access = ACCESS_EXECUTE, .is_user = is_user };
		if (!walk(cpu, linear, &want, &found, &code))
			tlb_page_fault(cpu, NULL, linear, code);
		take_fetch(cpu, entry, page, &found);
		if (is_user && half == 0 && is_long(cpu))
			fetch_near(cpu, page, &want);
	}
	*host = entry->host;
	return entry->physical | (linear & 0xfff);
}
