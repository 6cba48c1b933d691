/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct.h - the guest's programs run as they are, in processes of the host, while they do nothing but compute.
 *
 * All of it is the CPU's own thread's.
 */
#pragma once

#include "vmm/soft/cpu.h"
#include "vmm/soft/direct_process.h"

struct direct;

/* How often what has happened. */
struct direct_counts {
	uint64_t entries, rests; /* a program went over; it came back, as it did not pay off */
	uint64_t spaces;         /* that a process was given */
	uint64_t pages, refused; /* that were missing; whose code must not run there */
	uint64_t stops[DIRECT_LOST + 1]; /* of each enum direct_exit */
	uint64_t used_us;                /* CPU time there */
};

void direct_init(struct cpu *cpu);

/* Before the thread locks itself in. A sentence if it cannot be done here: programs are translated, then. */
int direct_prepare(struct cpu *cpu, struct error *e) must_use;

/* The thread has ended, or this is it. */
void direct_done(struct cpu *cpu);

/* Once in a while, when the CPU looks around: whether the program may be better off there. */
void direct_consider(struct cpu *cpu);

/* Adds the CPU's; it does not run. */
void direct_add_counts(const struct cpu *cpu, struct direct_counts *to);

/* Runs the program until there is something else to do. */
void direct_run(struct cpu *cpu);

/* Whether direct_run() would. */
static inline bool direct_wants(const struct cpu *cpu)
{
	return cpu->direct_waits && cpu->cpl == 3 && cpu->code_bytes == 8;
}

/* All that is mapped is forgotten. */
void direct_forget(struct cpu *cpu);
