/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct_space.h - one address space of the guest in a process of the host: which pages are mapped there, and whether
 * they are still right.
 *
 * It is a TLB: what is in it was right when the guest's tables were walked, and is looked at again after whatever
 * makes a CPU forget its TLB.
 */
#pragma once

#include "vmm/soft/cpu.h"
#include "vmm/soft/direct_process.h"

#define DIRECT_NOWHERE UINT64_MAX

struct direct_space;

/* What comes of a page that could not be reached. */
enum direct_reach {
	DIRECT_REACHED,     /* it can be, now: it was not mapped */
	DIRECT_TURNED,      /* it can be, now: it was mapped for something else */
	DIRECT_INTERPRETED, /* the instruction is the interpreter's */
	DIRECT_REFUSED,     /* there is code that must not run as it is */
};

struct direct_space *direct_space_new(struct direct_process *process);
void direct_space_free(struct direct_space *space);

struct direct_process *direct_space_process(struct direct_space *space);
uint64_t direct_space_cr3(const struct direct_space *space);

/* From now on it is that of cpu->cr3, and empty. False: the process is gone. */
bool direct_space_begin(struct direct_space *space, struct cpu *cpu);

/* Makes it right again after `epoch` has changed; false: most was wrong, it is another program. */
bool direct_space_look(struct direct_space *space, struct cpu *cpu, uint64_t epoch);

/* The process has met a page it could not reach at `linear`, while it was at cpu->rip. */
enum direct_reach direct_space_reach(
	struct direct_space *space, struct cpu *cpu, uint64_t rip, uint64_t linear);

/* Maps what can be around the page. */
void direct_space_fill(struct direct_space *space, struct cpu *cpu, uint64_t linear);

/* Does what is left to do in the process; false: it is gone. */
bool direct_space_commit(struct direct_space *space);

/* The page at `physical` cannot be written any more without the CPU noticing; true if it could. */
bool direct_space_protect(struct direct_space *space, guest_addr physical);

/* Forgets all. */
void direct_space_drop(struct direct_space *space);
