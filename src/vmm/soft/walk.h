/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk.h - from linear to physical addresses by the guest's page tables.
 */
#pragma once

#include "vmm/soft/memory.h"

/* Entries of page tables. */
#define PTE_P       UINT64_C(0x1)
#define PTE_W       UINT64_C(0x2)
#define PTE_U       UINT64_C(0x4)
#define PTE_A       UINT64_C(0x20)
#define PTE_D       UINT64_C(0x40)
#define PTE_PS      UINT64_C(0x80)
#define PTE_G       UINT64_C(0x100)
#define PTE_NX      (UINT64_C(1) << 63)
#define PTE_ADDRESS UINT64_C(0x000ffffffffff000)

struct walk {
	uint64_t physical;           /* of the 4 KiB page */
	bool is_global, is_writable; /* writable now, and dirty */
	uint32_t size_flag;          /* TLB_LARGE, TLB_HUGE or 0 */
};

struct wanted {
	uint32_t access;
	bool is_user, keeps_off_user; /* SMAP counts */
};

/* False, and the error code in *code, where that would be a page fault. */
bool walk(struct cpu *cpu, uint64_t linear, const struct wanted *want, struct walk *ret,
	uint32_t *code);

/*
 * What a walk to code would find that needs no look at more than a table of pages that was found already, and no change
 * of it: the page was accessed before.
 */
bool walk_accessed(struct cpu *cpu, uint64_t linear, const struct wanted *want, struct walk *ret);

/* Forgets which tables of pages were found: with every flush of the TLB, of one page too. */
void walk_forget(struct cpu *cpu);
