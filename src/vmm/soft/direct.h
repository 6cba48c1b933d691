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

/* In the process, on average, at least. */
#define DIRECT_STAY_US 45

/* Of a stay that somebody else has ended one counts. */
#define DIRECT_KICK_PARTS 5

/*
 * What a stay counts for. Another CPU that interrupts, to have a page forgotten mostly, waits for the answer, which comes
 * some ten microseconds later than from translated code; and it would interrupt sooner again if it did not.
 */
static inline uint64_t direct_worth_us(enum direct_exit why, uint64_t stay_us)
{
	return why == DIRECT_KICKED ? stay_us / DIRECT_KICK_PARTS : stay_us;
}

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

/*
 * A program with interrupts off has no timer's, at which it would be considered: from now on the timers' thread calls the
 * CPU for that after a while, unless it sleeps by then.
 */
void direct_look_later(struct cpu *cpu);

static inline void direct_watch(struct cpu *cpu)
{
	cpu->has_masked |= cpu->cpl == 3 && !(cpu->rflags_rest & FLAG_IF);
	if (cpu->has_masked && cpu->direct && !cpu->direct_waits &&
		atomic_load_explicit(&cpu->direct_look_ns, memory_order_relaxed) == 0)
		direct_look_later(cpu);
}

/* Holding soft->lock: calls whose time has come; when the next is due (UINT64_MAX: never). */
uint64_t direct_timers(struct soft *soft, uint64_t now);

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
