/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paging.c - page walks, the software TLB, and accesses that it cannot serve at once.
 */
#include "vmm/soft/memory.h"

#include <string.h>

#include "vmm/soft/io.h"
#include "vmm/soft/shared.h"

#define PTE_P  UINT64_C(0x1)
#define PTE_W  UINT64_C(0x2)
#define PTE_U  UINT64_C(0x4)
#define PTE_A  UINT64_C(0x20)
#define PTE_D  UINT64_C(0x40)
#define PTE_PS UINT64_C(0x80)
#define PTE_G  UINT64_C(0x100)
#define PTE_NX (UINT64_C(1) << 63)

#define PTE_ADDRESS   UINT64_C(0x000ffffffffff000)
#define PHYSICAL_MASK ((UINT64_C(1) << PHYSICAL_BITS) - 1)
#define PTE_RESERVED  (PTE_ADDRESS & ~PHYSICAL_MASK)

/* Error code bits of a page fault. */
#define PF_P    1u
#define PF_W    2u
#define PF_U    4u
#define PF_RSVD 8u
#define PF_I    16u

#define RMW_BUFFERED 1 /* the operand is a copy in cpu->scratch */
#define RMW_SPLIT    2 /* likewise, and split_lock is held */
#define RMW_CODE     3 /* in place, on a page with decoded code */

/* What no page has in fetch_entry.linear. */
#define FETCH_NONE UINT64_MAX

struct walk {
	uint64_t physical;           /* of the 4 KiB page */
	bool is_global, is_writable; /* writable now, and dirty */
	uint32_t size_flag;          /* TLB_LARGE, TLB_HUGE or 0 */
};

struct wanted {
	uint32_t access;
	bool is_user, keeps_off_user; /* SMAP counts */
};

static void *ram(const struct cpu *cpu, guest_addr at, const struct guest_region **ret)
{
	const struct guest_region *region = guest_region(cpu->guest, at);
	if (ret)
		*ret = region;
	return region ? region->host + (at - region->at) : NULL;
}

uint64_t memory_physical(struct cpu *cpu, guest_addr at, uint32_t bytes)
{
	uint64_t value = UINT64_MAX;
	const void *host = guest_slice_const(cpu->guest, at, bytes);
	if (host)
		memcpy(&value, host, bytes);
	return value & mask_of(bytes);
}

/* The level's entry width is `bytes`; the value read stays in *entry. */
static bool set_bits(struct cpu *cpu, guest_addr at, uint32_t bytes, uint64_t entry, uint64_t bits)
{
	if ((entry & bits) == bits)
		return true;
	void *host = guest_slice(cpu->guest, at, bytes);
	if (!host)
		return true;
	if (bytes == 4) {
		uint32_t old = (uint32_t)entry;
		return __atomic_compare_exchange_n((uint32_t *)host, &old, (uint32_t)(entry | bits),
			false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	return __atomic_compare_exchange_n(
		(uint64_t *)host, &entry, entry | bits, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static bool is_allowed(const struct cpu *cpu, uint64_t rights, const struct wanted *want)
{
	bool user_page = rights & PTE_U;
	if (want->is_user && !user_page)
		return false;
	if (want->access & ACCESS_EXECUTE) {
		if (rights & PTE_NX)
			return false;
		return want->is_user || !user_page || !(cpu->cr4 & CR4_SMEP);
	}
	if (!want->is_user && user_page && want->keeps_off_user)
		return false;
	if ((want->access & ACCESS_WRITE) && !(rights & PTE_W))
		return !want->is_user && !(cpu->cr0 & CR0_WP);
	return true;
}

struct format {
	uint32_t levels, index_bits, bytes;
};

static struct format paging_format(const struct cpu *cpu)
{
	if (is_long(cpu))
		return (struct format){ 4, 9, 8 };
	if (cpu->cr4 & CR4_PAE)
		return (struct format){ 2, 9, 8 };
	return (struct format){ 2, 10, 4 };
}

static uint64_t reserved_bits(const struct cpu *cpu, uint32_t level, uint32_t bytes, bool is_leaf)
{
	if (bytes == 4) {
		/* PSE-36: bits 13 to 20 are address bits 32 to 39 of a 4 MiB page; 21 is reserved. */
		return is_leaf && level == 2 ? UINT64_C(1) << 21 : 0;
	}
	uint64_t reserved = PTE_RESERVED;
	if (!(cpu->efer & EFER_NXE))
		reserved |= PTE_NX;
	if (!is_long(cpu))
		reserved |= UINT64_C(0x7ff) << 52;
	if (is_leaf && level == 2)
		reserved |= UINT64_C(0x1fe000);
	if (is_leaf && level == 3)
		reserved |= UINT64_C(0x3fffe000);
	if (level == 4)
		reserved |= PTE_PS;
	return reserved;
}

static bool is_large(const struct cpu *cpu, uint32_t level, uint32_t bytes, uint64_t entry)
{
	if (!(entry & PTE_PS) || level == 1 || level == 4)
		return false;
	return bytes == 8 || (cpu->cr4 & CR4_PSE);
}

static uint64_t leaf_address(uint64_t entry, uint32_t level, uint32_t bytes, uint64_t linear)
{
	if (bytes == 4 && level == 2)
		return (entry & 0xffc00000) | (entry & 0x1fe000) << 19 | (linear & 0x3ff000);
	uint64_t within = (UINT64_C(1) << (12 + 9 * (level - 1))) - 1;
	return (entry & PTE_ADDRESS & ~within) | (linear & within & PAGE_MASK);
}

static uint32_t fault_code(const struct cpu *cpu, const struct wanted *want, uint32_t code)
{
	if (want->access & ACCESS_WRITE)
		code |= PF_W;
	if (want->is_user)
		code |= PF_U;
	bool has_nx = (cpu->efer & EFER_NXE) && (cpu->cr4 & CR4_PAE);
	if ((want->access & ACCESS_EXECUTE) && (has_nx || (cpu->cr4 & CR4_SMEP)))
		code |= PF_I;
	return code;
}

enum walked { WALK_DONE, WALK_AGAIN, WALK_FAULT };

/* The last step: rights, accessed and dirty. */
static enum walked finish_walk(struct cpu *cpu, const struct wanted *want, uint64_t rights,
	guest_addr at, uint32_t bytes, uint64_t entry, struct walk *ret, uint32_t *code)
{
	if (!is_allowed(cpu, rights, want)) {
		*code = fault_code(cpu, want, PF_P);
		return WALK_FAULT;
	}
	uint64_t bits = PTE_A | (want->access & ACCESS_WRITE ? PTE_D : 0);
	if (!set_bits(cpu, at, bytes, entry, bits))
		return WALK_AGAIN;
	struct wanted write = *want;
	write.access = ACCESS_WRITE;
	ret->is_writable = ((entry | bits) & PTE_D) && is_allowed(cpu, rights, &write);
	ret->is_global = (entry & PTE_G) && (cpu->cr4 & CR4_PGE);
	return WALK_DONE;
}

static enum walked walk_once(struct cpu *cpu, uint64_t linear, const struct wanted *want,
	struct walk *ret, uint32_t *code)
{
	struct format format = paging_format(cpu);
	guest_addr table =
		cpu->cr3 & (format.bytes == 8 ? PTE_ADDRESS & PHYSICAL_MASK : 0xfffff000);
	if (format.bytes == 8 && !is_long(cpu)) {
		uint64_t pdpte = cpu->pdpte[linear >> 30 & 3];
		if (!(pdpte & PTE_P)) {
			*code = fault_code(cpu, want, 0);
			return WALK_FAULT;
		}
		table = pdpte & PTE_ADDRESS & PHYSICAL_MASK;
	}
	uint64_t rights = PTE_W | PTE_U;
	for (uint32_t level = format.levels;; level--) {
		uint32_t shift = 12 + format.index_bits * (level - 1);
		uint64_t index = linear >> shift & ((1u << format.index_bits) - 1);
		guest_addr at = table + index * format.bytes;
		uint64_t entry = memory_physical(cpu, at, format.bytes);
		if (!(entry & PTE_P)) {
			*code = fault_code(cpu, want, 0);
			return WALK_FAULT;
		}
		bool is_leaf = level == 1 || is_large(cpu, level, format.bytes, entry);
		if (entry & reserved_bits(cpu, level, format.bytes, is_leaf)) {
			*code = fault_code(cpu, want, PF_P | PF_RSVD);
			return WALK_FAULT;
		}
		rights &= entry | PTE_NX;
		rights |= entry & PTE_NX;
		if (is_leaf) {
			ret->physical = leaf_address(entry, level, format.bytes, linear);
			ret->size_flag = level == 3 ? TLB_HUGE : level == 2 ? TLB_LARGE : 0;
			return finish_walk(cpu, want, rights, at, format.bytes, entry, ret, code);
		}
		if (!set_bits(cpu, at, format.bytes, entry, PTE_A))
			return WALK_AGAIN;
		table = entry & (format.bytes == 8 ? PTE_ADDRESS & PHYSICAL_MASK : 0xfffff000);
	}
}

static bool walk(struct cpu *cpu, uint64_t linear, const struct wanted *want, struct walk *ret,
	uint32_t *code)
{
	*ret = (struct walk){};
	if (!(cpu->cr0 & CR0_PG)) {
		ret->physical = linear & 0xfffff000;
		ret->is_writable = true;
		return true;
	}
	enum walked walked;
	do {
		walked = walk_once(cpu, linear, want, ret, code);
	} while (walked == WALK_AGAIN);
	return walked == WALK_DONE;
}

bool paging_load_pdptes(struct cpu *cpu, uint64_t cr3, uint64_t pdpte[4])
{
	for (uint32_t i = 0; i < 4; i++) {
		pdpte[i] = memory_physical(cpu, (cr3 & 0xffffffe0) + 8 * i, 8);
		if ((pdpte[i] & PTE_P) &&
			(pdpte[i] & (PTE_RESERVED | UINT64_C(0xfff) << 52 | 0x1e6)))
			return false;
	}
	return true;
}

/* A fault of data access at `linear`: outside of 48 bits, or a page fault. */
static _Noreturn void page_fault(
	struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t code)
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
	return !tag_is_none(tag) && (tag >> 12 & (TLB_SIZE - 1)) == slot;
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

/* The tags of an entry that is right but may have to take the slow path. */
static void entry_set_tags(struct cpu *cpu, struct tlb_entry *entry, uint64_t page)
{
	const struct guest_region *region = guest_region(cpu->guest, entry->physical & PAGE_MASK);
	uint64_t read_slow = 0, write_slow = 0;
	entry->physical &= ~(uint64_t)(TLB_NO_RAM | TLB_CODE);
	if (!region) {
		entry->physical |= TLB_NO_RAM;
		read_slow = write_slow = TAG_SLOW;
	} else if (region->access == GUEST_ROM) {
		write_slow = TAG_SLOW;
	} else {
		uint64_t at = ((entry->physical & PAGE_MASK) - region->at) / GUEST_PAGE;
		if (atomic_load(&region->watched[at]) != 0) {
			entry->physical |= TLB_CODE;
			write_slow = TAG_SLOW;
		}
	}
	if (cpu->has_data_breakpoints)
		for (int i = 0; i < BREAKPOINTS; i++)
			if ((cpu->dr[7] >> (2 * i) & 3) && (cpu->dr[i] & PAGE_MASK) == page)
				read_slow = write_slow = TAG_SLOW;
	entry->read = page ^ read_slow;
	entry->write = entry->physical & TLB_WRITE ? page ^ write_slow
						   : tag_none(page >> 12 & (TLB_SIZE - 1));
	entry->host =
		region ? (uintptr_t)region->host + ((entry->physical & PAGE_MASK) - region->at) : 0;
}

static bool entry_has(const struct tlb_entry *entry, uint64_t page, uint32_t access)
{
	uint64_t tag = access & ACCESS_WRITE ? entry->write : entry->read;
	return tag == page || tag == (page ^ TAG_SLOW);
}

static void tlb_log(struct tlb *tlb, uint32_t slot, const struct tlb_entry *before)
{
	/* An entry that holds something is in the log already. */
	if (!tag_is_none(before->read))
		return;
	if (tlb->count < TLB_LOG)
		tlb->log[tlb->count++] = (uint16_t)slot;
}

/* As translate(), but NULL and *code where that would fault. */
static struct tlb_entry *find_entry(
	struct cpu *cpu, struct tlb *tlb, uint64_t linear, uint32_t access, uint32_t *code)
{
	uint64_t page = linear & PAGE_MASK;
	uint32_t slot = linear >> 12 & (TLB_SIZE - 1);
	struct tlb_entry *entry = &tlb->entries[slot];
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
	tlb_log(tlb, slot, entry);
	entry->physical = found.physical | (found.is_global ? TLB_GLOBAL : 0) | found.size_flag |
		(found.is_writable ? TLB_WRITE : 0);
	tlb->has_large |= found.size_flag != 0;
	entry_set_tags(cpu, entry, page);
	return entry;
}

/* The entry of `tlb` for this access; walks if it is not there. */
static struct tlb_entry *translate(
	struct cpu *cpu, const struct op *op, struct tlb *tlb, uint64_t linear, uint32_t access)
{
	uint32_t code = 0;
	struct tlb_entry *entry = find_entry(cpu, tlb, linear, access, &code);
	if (likely(entry))
		return entry;
	if (!is_canonical(linear))
		cpu_fault(cpu, op, op && op->segment == CPU_SS ? FAULT_SS : FAULT_GP, 0);
	page_fault(cpu, op, linear, code);
}

bool memory_fill(struct cpu *cpu, uint64_t linear, uint32_t bytes, uint32_t access)
{
	uint32_t code = 0;
	if ((linear & 0xfff) + bytes > GUEST_PAGE)
		return false;
	const struct tlb_entry *entry = find_entry(cpu, cpu->tlb, linear, access, &code);
	uint64_t page = linear & PAGE_MASK;
	return entry && (access & ACCESS_WRITE ? entry->write : entry->read) == page;
}

void tlb_slow_writes(struct cpu *cpu)
{
	for (int kind = 0; kind < TLB_KINDS; kind++) {
		struct tlb *tlb = &cpu->tlbs[kind];
		for (uint32_t i = 0; i < tlb->count; i++)
			tlb->entries[tlb->log[i]].write = tag_none(tlb->log[i]);
	}
}

static void forget_jumps(struct cpu *cpu, enum native_mode mode)
{
	struct native_jump *jumps = cpu->native_jumps[mode];
	uint32_t count = cpu->native_log_count[mode];
	/* An address of ~i is no entry's own. */
	for (uint64_t i = 0; i < NATIVE_JUMPS && count > NATIVE_LOG; i++)
		jumps[i] = (struct native_jump){ .rip = ~i };
	for (uint32_t i = 0; i < count && count <= NATIVE_LOG; i++) {
		uint64_t at = cpu->native_log[mode][i];
		jumps[at] = (struct native_jump){ .rip = ~at };
	}
	cpu->native_log_count[mode] = 0;
}

/* Forgets where code was found: of the user, or of all. */
static void forget_fetches(struct cpu *cpu, bool with_global)
{
	for (int i = 0; i < FETCH_SIZE; i++)
		if (with_global || !cpu->fetch[i].is_global)
			cpu->fetch[i].linear = FETCH_NONE;
	cpu->generation++;
	cpu->native_links[1]++;
	forget_jumps(cpu, NATIVE_USER);
	if (!with_global && !cpu->has_local_kernel)
		return;
	cpu->native_links[0]++;
	forget_jumps(cpu, NATIVE_KERNEL);
	forget_jumps(cpu, NATIVE_SMAP);
	forget_jumps(cpu, NATIVE_KERNEL_AC);
	cpu->has_local_kernel = false;
	if (!with_global)
		return;
	memset(cpu->fetched, 0, sizeof(cpu->fetched));
	cpu->fetched_large = 0;
}

void tlb_init(struct cpu *cpu)
{
	for (int kind = 0; kind < TLB_KINDS; kind++) {
		for (uint32_t i = 0; i < TLB_SIZE; i++)
			entry_clear(&cpu->tlbs[kind].entries[i], i);
		cpu->tlbs[kind].count = 0;
	}
	for (int i = 0; i < FETCH_SIZE; i++)
		cpu->fetch[i].linear = FETCH_NONE;
	for (int mode = 0; mode < NATIVE_MODES; mode++)
		cpu->native_log_count[mode] = NATIVE_LOG + 1;
	cpu->tlb = &cpu->tlbs[TLB_KERNEL];
	forget_fetches(cpu, true);
}

static void flush_one(struct tlb *tlb, bool with_global)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < tlb->count; i++) {
		struct tlb_entry *entry = &tlb->entries[tlb->log[i]];
		if (!with_global && (entry->physical & TLB_GLOBAL))
			tlb->log[kept++] = tlb->log[i];
		else
			entry_clear(entry, tlb->log[i]);
	}
	tlb->count = kept;
}

void tlb_flush(struct cpu *cpu, bool with_global)
{
	for (int kind = 0; kind < TLB_KINDS; kind++)
		flush_one(&cpu->tlbs[kind], with_global);
	forget_fetches(cpu, with_global);
}

void tlb_forget_code(struct cpu *cpu)
{
	forget_fetches(cpu, true);
}

static uint32_t page_bit(uint64_t linear)
{
	return (uint32_t)(linear >> 12) & 4095;
}

void tlb_flush_page(struct cpu *cpu, uint64_t linear)
{
	uint64_t page = linear & PAGE_MASK;
	for (int kind = 0; kind < TLB_KINDS; kind++) {
		struct tlb *tlb = &cpu->tlbs[kind];
		uint32_t kept = 0;
		for (uint32_t i = 0; i < tlb->count; i++) {
			struct tlb_entry *entry = &tlb->entries[tlb->log[i]];
			uint64_t size = entry->physical & TLB_HUGE ? GIB
				: entry->physical & TLB_LARGE      ? 4 * MIB
								   : GUEST_PAGE;
			uint64_t at = entry_page(entry, tlb->log[i]);
			if (((at ^ page) & ~(size - 1)) == 0)
				entry_clear(entry, tlb->log[i]);
			else
				tlb->log[kept++] = tlb->log[i];
		}
		tlb->count = kept;
	}
	uint32_t bit = page_bit(page);
	bool has_code = (cpu->fetched[bit / 64] >> (bit % 64) & 1) ||
		(cpu->fetched_large >> (page >> 21 & 63) & 1);
	if (!has_code)
		return;
	forget_fetches(cpu, true);
}

bool tlb_protect(struct cpu *cpu, guest_addr page)
{
	bool was_fast = false;
	for (int kind = 0; kind < TLB_KINDS; kind++) {
		struct tlb *tlb = &cpu->tlbs[kind];
		for (uint32_t i = 0; i < tlb->count; i++) {
			struct tlb_entry *entry = &tlb->entries[tlb->log[i]];
			if ((entry->physical & PAGE_MASK) != page ||
				!tag_is_fast(entry->write, tlb->log[i]))
				continue;
			was_fast = true;
			entry->write ^= TAG_SLOW;
			entry->physical |= TLB_CODE;
		}
	}
	return was_fast;
}

/* Notes data breakpoints that an access meets. */
static void watch_data(struct cpu *cpu, uint64_t linear, uint32_t bytes, uint32_t access)
{
	for (int i = 0; i < BREAKPOINTS; i++) {
		uint32_t kind = cpu->dr[7] >> (16 + 4 * i) & 3;
		static const uint8_t lengths[4] = { 1, 2, 8, 4 };
		uint64_t length = lengths[cpu->dr[7] >> (18 + 4 * i) & 3];
		uint64_t at = cpu->dr[i] & ~(length - 1);
		if (!(cpu->dr[7] >> (2 * i) & 3) || kind == 0 || kind == 2)
			continue;
		if (kind == 1 && !(access & ACCESS_WRITE))
			continue;
		if (linear < at + length && at < linear + bytes) {
			cpu->trap_dr6 |= 1u << i;
			cpu_call(cpu, ATTENTION_STEP);
		}
	}
}

static uint64_t load_part(struct cpu *cpu, const struct op *op, const struct tlb_entry *entry,
	uint64_t linear, uint32_t bytes)
{
	uint64_t physical = (entry->physical & PAGE_MASK) | (linear & 0xfff);
	if (entry->physical & TLB_NO_RAM)
		return io_read(cpu, op, physical, bytes, false);
	const void *host = (const void *)(entry->host + (linear & 0xfff));
	switch (bytes) {
	case 1:
		return ((const volatile any8 *)host)->v;
	case 2:
		return ((const volatile any16 *)host)->v;
	case 4:
		return ((const volatile any32 *)host)->v;
	case 8:
		return ((const volatile any64 *)host)->v;
	default: {
		uint64_t value = 0;
		memcpy(&value, host, bytes);
		return value;
	}
	}
}

/* Tells of the change of bytes that were decoded, and makes the entry fast again if none are left. */
static void code_written(struct cpu *cpu, guest_addr physical, uint32_t bytes)
{
	const struct guest_region *region = guest_region(cpu->guest, physical);
	if (!region)
		return;
	uint64_t lines = atomic_load(&region->watched[(physical - region->at) / GUEST_PAGE]);
	uint32_t first = (physical & 0xfff) / 64, last = ((physical & 0xfff) + bytes - 1) / 64;
	if (last > 63)
		last = 63;
	if (lines & (UINT64_MAX >> (63 - last)) & (UINT64_MAX << first))
		cpu->soft->wrote(cpu->soft, cpu, physical & PAGE_MASK);
}

static void store_part(struct cpu *cpu, const struct op *op, struct tlb_entry *entry,
	uint64_t linear, uint32_t bytes, uint64_t value)
{
	uint64_t physical = (entry->physical & PAGE_MASK) | (linear & 0xfff);
	const struct guest_region *region = guest_region(cpu->guest, physical);
	if (!region || region->access == GUEST_ROM) {
		io_write(cpu, op, physical, bytes, value, false);
		return;
	}
	void *host = (void *)(entry->host + (linear & 0xfff));
	switch (bytes) {
	case 1:
		((volatile any8 *)host)->v = (uint8_t)value;
		break;
	case 2:
		((volatile any16 *)host)->v = (uint16_t)value;
		break;
	case 4:
		((volatile any32 *)host)->v = (uint32_t)value;
		break;
	case 8:
		((volatile any64 *)host)->v = value;
		break;
	default:
		memcpy(host, &value, bytes);
		break;
	}
	if (entry->physical & TLB_CODE) {
		code_written(cpu, physical, bytes);
		entry_set_tags(cpu, entry, linear & PAGE_MASK);
	}
}

static uint32_t bytes_left(uint64_t linear)
{
	return (uint32_t)(GUEST_PAGE - (linear & 0xfff));
}

/* Outside of long mode linear addresses are 32 bits wide. */
static uint64_t wrap(const struct cpu *cpu, uint64_t linear)
{
	return is_long(cpu) ? linear : (uint32_t)linear;
}

static uint64_t load_from(
	struct cpu *cpu, const struct op *op, struct tlb *tlb, uint64_t linear, uint32_t bytes)
{
	linear = wrap(cpu, linear);
	if (unlikely(cpu->has_data_breakpoints))
		watch_data(cpu, linear, bytes, ACCESS_READ);
	uint32_t left = bytes_left(linear);
	if (left >= bytes)
		return load_part(
			cpu, op, translate(cpu, op, tlb, linear, ACCESS_READ), linear, bytes);
	uint64_t second = wrap(cpu, linear + left);
	translate(cpu, op, tlb, linear, ACCESS_READ);
	struct tlb_entry *high = translate(cpu, op, tlb, second, ACCESS_READ);
	struct tlb_entry *low = translate(cpu, op, tlb, linear, ACCESS_READ);
	uint64_t value = load_part(cpu, op, low, linear, left);
	return value | load_part(cpu, op, high, second, bytes - left) << (8 * left);
}

static void store_to(struct cpu *cpu, const struct op *op, struct tlb *tlb, uint64_t linear,
	uint32_t bytes, uint64_t value)
{
	linear = wrap(cpu, linear);
	if (unlikely(cpu->has_data_breakpoints))
		watch_data(cpu, linear, bytes, ACCESS_WRITE);
	uint32_t left = bytes_left(linear);
	if (left >= bytes) {
		store_part(cpu, op, translate(cpu, op, tlb, linear, ACCESS_WRITE), linear, bytes,
			value);
		return;
	}
	uint64_t second = wrap(cpu, linear + left);
	translate(cpu, op, tlb, linear, ACCESS_WRITE);
	struct tlb_entry *high = translate(cpu, op, tlb, second, ACCESS_WRITE);
	struct tlb_entry *low = translate(cpu, op, tlb, linear, ACCESS_WRITE);
	store_part(cpu, op, low, linear, left, value & mask_of(left));
	store_part(cpu, op, high, second, bytes - left, value >> (8 * left));
}

uint64_t memory_load(struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes)
{
	return load_from(cpu, op, cpu->tlb, linear, bytes);
}

void memory_store(
	struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes, uint64_t value)
{
	store_to(cpu, op, cpu->tlb, linear, bytes, value);
}

static struct tlb *system_tlb(struct cpu *cpu)
{
	return &cpu->tlbs[cpu->cr4 & CR4_SMAP ? TLB_SMAP : TLB_KERNEL];
}

uint64_t memory_load_system(struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes)
{
	return load_from(cpu, op, system_tlb(cpu), linear, bytes);
}

void memory_store_system(
	struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes, uint64_t value)
{
	store_to(cpu, op, system_tlb(cpu), linear, bytes, value);
}

void memory_probe(
	struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes, uint32_t access)
{
	if (bytes == 0)
		return;
	linear = wrap(cpu, linear);
	translate(cpu, op, cpu->tlb, linear, access);
	for (uint32_t done = bytes_left(linear); done < bytes; done += GUEST_PAGE)
		translate(cpu, op, cpu->tlb, wrap(cpu, linear + done), access);
}

void memory_read(struct cpu *cpu, const struct op *op, uint64_t linear, void *to, uint32_t bytes)
{
	const void *direct = memory_direct(cpu, linear, bytes, ACCESS_READ);
	if (direct) {
		memcpy(to, direct, bytes);
		return;
	}
	memory_probe(cpu, op, linear, bytes, ACCESS_READ);
	for (uint32_t done = 0; done < bytes;) {
		uint32_t part = bytes - done < 8 ? bytes - done : 8;
		while (part & (part - 1))
			part &= part - 1;
		uint64_t value = memory_load(cpu, op, linear + done, part);
		memcpy((uint8_t *)to + done, &value, part);
		done += part;
	}
}

void memory_write(
	struct cpu *cpu, const struct op *op, uint64_t linear, const void *from, uint32_t bytes)
{
	void *direct = memory_direct(cpu, linear, bytes, ACCESS_WRITE);
	if (direct) {
		memcpy(direct, from, bytes);
		return;
	}
	memory_probe(cpu, op, linear, bytes, ACCESS_WRITE);
	for (uint32_t done = 0; done < bytes;) {
		uint32_t part = bytes - done < 8 ? bytes - done : 8;
		while (part & (part - 1))
			part &= part - 1;
		uint64_t value = 0;
		memcpy(&value, (const uint8_t *)from + done, part);
		memory_store(cpu, op, linear + done, part, value);
		done += part;
	}
}

void *memory_rmw(struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes)
{
	linear = wrap(cpu, linear);
	cpu->rmw_linear = linear;
	cpu->rmw_bytes = bytes;
	cpu->rmw_how = 0;
	if (unlikely(cpu->has_data_breakpoints))
		watch_data(cpu, linear, bytes, ACCESS_READ | ACCESS_WRITE);
	struct tlb_entry *entry = translate(cpu, op, cpu->tlb, linear, ACCESS_WRITE);
	bool is_ram = guest_slice(cpu->guest, entry->physical & PAGE_MASK, GUEST_PAGE) != NULL;
	if (bytes_left(linear) >= bytes && is_ram) {
		if (entry->physical & TLB_CODE)
			cpu->rmw_how = RMW_CODE;
		return (void *)(entry->host + (linear & 0xfff));
	}
	memory_probe(cpu, op, linear, bytes, ACCESS_WRITE);
	bool is_split = is_ram && (op->flags & OP_LOCK) && bytes_left(linear) < bytes;
	if (is_split) {
		pthread_mutex_lock(&cpu->soft->split_lock);
		cpu->rmw_how = RMW_SPLIT;
	}
	if (bytes <= 8) {
		uint64_t value = memory_load(cpu, op, linear, bytes);
		memcpy(cpu->scratch, &value, bytes);
	} else {
		memory_read(cpu, op, linear, cpu->scratch, bytes);
	}
	cpu->rmw_how = is_split ? RMW_SPLIT : RMW_BUFFERED;
	return cpu->scratch;
}

void memory_rmw_finish(struct cpu *cpu, const struct op *op)
{
	uint32_t how = cpu->rmw_how, bytes = cpu->rmw_bytes;
	if (how == RMW_CODE) {
		cpu->rmw_how = 0;
		struct tlb_entry *entry =
			translate(cpu, op, cpu->tlb, cpu->rmw_linear, ACCESS_WRITE);
		code_written(cpu, (entry->physical & PAGE_MASK) | (cpu->rmw_linear & 0xfff), bytes);
		entry_set_tags(cpu, entry, cpu->rmw_linear & PAGE_MASK);
		return;
	}
	if (bytes <= 8) {
		uint64_t value = 0;
		memcpy(&value, cpu->scratch, bytes);
		memory_store(cpu, op, cpu->rmw_linear, bytes, value);
	} else {
		memory_write(cpu, op, cpu->rmw_linear, cpu->scratch, bytes);
	}
	memory_abandon(cpu);
}

void memory_abandon(struct cpu *cpu)
{
	if (cpu->rmw_how == RMW_SPLIT)
		pthread_mutex_unlock(&cpu->soft->split_lock);
	cpu->rmw_how = 0;
}

uint64_t memory_fetch(struct cpu *cpu, uint64_t linear, const uint8_t **host)
{
	linear = wrap(cpu, linear);
	uint64_t page = linear & PAGE_MASK;
	bool is_user = cpu->cpl == 3;
	struct fetch_entry *entry = &cpu->fetch[(linear >> 12 ^ is_user) & (FETCH_SIZE - 1)];
	if (entry->linear != (page | is_user)) {
		if (!is_canonical(linear))
			cpu_fault(cpu, NULL, FAULT_GP, 0);
		uint32_t code = 0;
		struct walk found;
		struct wanted want = { .access = ACCESS_EXECUTE, .is_user = is_user };
		if (!walk(cpu, linear, &want, &found, &code))
			page_fault(cpu, NULL, linear, code);
		entry->linear = page | is_user;
		entry->physical = found.physical;
		entry->host = ram(cpu, found.physical, NULL);
		entry->is_global = found.is_global;
		cpu->has_local_kernel |= !is_user && !found.is_global;
		if (found.size_flag & TLB_HUGE)
			cpu->fetched_large = UINT64_MAX;
		else if (found.size_flag)
			cpu->fetched_large |= UINT64_C(3) << (page >> 21 & 62); /* 4 MiB */
		cpu->fetched[page_bit(page) / 64] |= UINT64_C(1) << (page_bit(page) % 64);
	}
	*host = entry->host;
	return entry->physical | (linear & 0xfff);
}
