/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tlb.h - entries of the software TLB, for accesses that take the slow way.
 */
#pragma once

#include "vmm/soft/memory.h"

/* The entry of `tlb` for this access; walks if it is not there. NULL and *code where that would fault. */
struct tlb_entry *tlb_find(
	struct cpu *cpu, struct tlb *tlb, uint64_t linear, uint32_t access, uint32_t *code);

/* The tags of an entry that is right but may have to take the slow path. */
void tlb_set_tags(struct cpu *cpu, struct tlb_entry *entry, uint64_t page);

_Noreturn void tlb_page_fault(struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t code);
