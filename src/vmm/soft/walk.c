/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk.c - page walks in all three formats; accessed and dirty bits.
 *
 * In long mode a walk begins at the table of pages that was found for the same 2 MiB before, as the
 * silicon's caches of paging structures allow.
 */
#include "vmm/soft/walk.h"

#define PHYSICAL_MASK ((UINT64_C(1) << PHYSICAL_BITS) - 1)
#define PTE_RESERVED  (PTE_ADDRESS & ~PHYSICAL_MASK)

/* Error code bits of a page fault. */
#define PF_P    1u
#define PF_W    2u
#define PF_U    4u
#define PF_RSVD 8u
#define PF_I    16u

uint64_t memory_physical(struct cpu *cpu, guest_addr at, uint32_t bytes)
{
	const void *host = guest_slice_const(cpu->guest, at, bytes);
	if (!host)
		return mask_of(bytes);
	return bytes == 8 ? ((const volatile any64 *)host)->v : ((const volatile any32 *)host)->v;
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

/* What level 1 holds is looked up from here; only in long mode. */
static struct walk_table *table_of(struct cpu *cpu, uint64_t linear)
{
	return &cpu->walk_tables[linear >> 21 & (WALK_TABLES - 1)];
}

void walk_forget(struct cpu *cpu)
{
	for (int i = 0; i < WALK_TABLES; i++)
		cpu->walk_tables[i].linear = WALK_NONE;
}

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
		if (is_leaf && level == 2 && format.levels == 4)
			*table_of(cpu, linear) = (struct walk_table){ .linear = linear >> 21,
				.at = table,
				.rights = rights,
				.is_large = true,
				.entries = guest_slice(cpu->guest, table, GUEST_PAGE) };
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
		if (level == 2 && format.levels == 4)
			*table_of(cpu, linear) = (struct walk_table){ .linear = linear >> 21,
				.at = table,
				.rights = rights,
				.entries = guest_slice(cpu->guest, table, GUEST_PAGE) };
	}
}

/* Only the last level, in a table that is known; all faults but that of an absent page are left to the whole walk. */
static enum walked walk_last(struct cpu *cpu, uint64_t linear, const struct wanted *want,
	struct walk *ret, uint32_t *code)
{
	const struct walk_table *table = table_of(cpu, linear);
	if (table->linear != linear >> 21 || !table->entries)
		return WALK_AGAIN;
	uint32_t level = table->is_large ? 2 : 1;
	uint64_t index = linear >> (table->is_large ? 21 : 12) & 511;
	uint64_t entry = __atomic_load_n(&table->entries[index], __ATOMIC_RELAXED);
	if (!(entry & PTE_P) && !table->is_large) {
		*code = fault_code(cpu, want, 0);
		return WALK_FAULT;
	}
	if (!(entry & PTE_P) || (entry & reserved_bits(cpu, level, 8, true)) ||
		(table->is_large && !(entry & PTE_PS)))
		return WALK_AGAIN;
	uint64_t rights = (table->rights & (entry | PTE_NX)) | (entry & PTE_NX);
	ret->physical = leaf_address(entry, level, 8, linear);
	ret->size_flag = table->is_large ? TLB_LARGE : 0;
	enum walked walked =
		finish_walk(cpu, want, rights, table->at + 8 * index, 8, entry, ret, code);
	return walked == WALK_DONE ? WALK_DONE : WALK_AGAIN;
}

bool walk_accessed(struct cpu *cpu, uint64_t linear, const struct wanted *want, struct walk *ret)
{
	const struct walk_table *table = table_of(cpu, linear);
	if (table->linear != linear >> 21 || !table->entries || table->is_large)
		return false;
	uint64_t entry = __atomic_load_n(&table->entries[linear >> 12 & 511], __ATOMIC_RELAXED);
	*ret = (struct walk){};
	uint32_t code;
	return (entry & PTE_P) && (entry & PTE_A) &&
		walk_last(cpu, linear, want, ret, &code) == WALK_DONE;
}

bool walk(struct cpu *cpu, uint64_t linear, const struct wanted *want, struct walk *ret,
	uint32_t *code)
{
	*ret = (struct walk){};
	if (!(cpu->cr0 & CR0_PG)) {
		ret->physical = linear & 0xfffff000;
		ret->is_writable = true;
		return true;
	}
	enum walked walked = walk_last(cpu, linear, want, ret, code);
	while (walked == WALK_AGAIN)
		walked = walk_once(cpu, linear, want, ret, code);
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
