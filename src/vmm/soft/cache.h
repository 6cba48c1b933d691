/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache.h - decoded code of one CPU, found by physical address.
 */
#pragma once

#include "vmm/soft/cpu.h"

struct code_cache *cache_new(void);
void cache_free(struct code_cache *cache);

/* The op at cpu->rip, with R_CODE set; decodes if needed. May fault. Fills in cpu->link. */
const struct op *cache_find(struct cpu *cpu);

/* Likewise if it was found before by the same address, else NULL. */
const struct op *cache_known(struct cpu *cpu);

/* As cache_find(), but no more than this instruction is decoded; cpu->link stays NULL. */
const struct op *cache_find_one(struct cpu *cpu);

/* Whether the op is the entry of a block that has been run cpu->cold_runs times. */
bool cache_is_due(const struct op *op);

/* The instruction at such an entry, or the op itself. */
const struct op *cache_behind_entry(const struct op *op);

/* Says that instructions are decoded from these bytes, before they are read. */
void cache_watch(struct cpu *cpu, guest_addr physical);

/* Forgets what was decoded from the physical page. Safe while an op of it runs. */
void cache_drop(struct cpu *cpu, guest_addr page);

/* Forgets all; no op runs. */
void cache_flush(struct cpu *cpu);
