/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spin.c - a CPU that spins for long gives its processor away.
 *
 * Kernels spin for what another CPU does within a microsecond. If it takes longer, then mostly because the host runs
 * somebody else in that CPU's place, and perhaps this one's thread is what keeps it from coming back. So when
 * many PAUSEs follow each other closely the CPU time of the others' threads is looked at: if one of them stands still the
 * host may run others, and after some more this thread sleeps for a moment. Two CPUs that take turns spin closely, too, but
 * both run, and who sleeps is woken by who begins to wait.
 */
#include "vmm/soft/spin.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <x86intrin.h>

#include "vmm/soft/shared.h"

#define CLOSE_US 4u /* between two PAUSEs; who does something else in between takes longer */
#define SLEEP_NS 50000
#define MOST     8u /* of the others that are looked at */

/* An interrupt ends it. Behind it attention comes before all else, as behind HLT: notice.c relies on that. */
static void sleep_a_little(struct cpu *cpu)
{
	const struct timespec time = { .tv_nsec = SLEEP_NS };
	atomic_store(&cpu->spin.sleeps, true);
	atomic_fetch_add(&cpu->soft->spin_sleepers, 1);
	atomic_store(&cpu->is_idle, true);
	if (atomic_load(&cpu->attention) == 0)
		syscall(SYS_futex, &cpu->attention, FUTEX_WAIT_PRIVATE, 0, &time, NULL, 0);
	atomic_store(&cpu->is_idle, false);
	atomic_fetch_sub(&cpu->soft->spin_sleepers, 1);
	atomic_store(&cpu->spin.sleeps, false);
}

/* They wait for this one, perhaps. */
static void wake_sleepers(struct cpu *cpu)
{
	struct soft *soft = cpu->soft;
	if (atomic_load(&soft->spin_sleepers) == 0)
		return;
	for (uint32_t i = 0; i < soft->cpus.count; i++)
		if (atomic_load(&soft->cpu[i]->spin.sleeps))
			syscall(SYS_futex, &soft->cpu[i]->attention, FUTEX_WAKE_PRIVATE, 1, NULL,
				NULL, 0);
}

/* Halted, or asleep in here. One that was called is not. */
static bool is_at_rest(const struct cpu *cpu)
{
	return atomic_load(&cpu->is_idle) && atomic_load(&cpu->attention) == 0;
}

static uint64_t used_ns(const struct cpu *cpu)
{
	struct timespec used;
	clockid_t clock = atomic_load(&cpu->spin.clock);
	if (!clock || clock_gettime(clock, &used) < 0)
		return 0;
	return (uint64_t)used.tv_sec * NS_PER_SEC + (uint64_t)used.tv_nsec;
}

enum spin_others spin_look(struct cpu *cpu)
{
	struct soft *soft = cpu->soft;
	struct spin *spin = &cpu->spin;
	uint64_t now = __rdtsc(), ns = (now - spin->seen_at) * 1000000 / soft->tsc_khz;
	bool had_look = spin->seen_at != 0;
	enum spin_others ret = had_look ? SPIN_NOBODY : SPIN_UNKNOWN;
	uint32_t seen = 0;
	for (uint32_t i = 1; i < soft->cpus.count && seen < MOST; i++) {
		uint32_t number = (cpu->number + i) % soft->cpus.count;
		const struct cpu *other = soft->cpu[number];
		if (is_at_rest(other)) {
			if (ret == SPIN_NOBODY && atomic_load(&other->spin.sleeps))
				ret = SPIN_ASLEEP;
			continue;
		}
		/* With a program that runs directly the thread stands still: the call to it takes its time. */
		uint64_t used = used_ns(other), before = spin->seen[number];
		spin->seen[number] = used;
		seen++;
		if (had_look && ret != SPIN_STOPPED)
			ret = (used - before) * 4 >= ns ? SPIN_RUN : SPIN_STOPPED;
	}
	spin->seen_at = now;
	return ret;
}

enum spin_does spin_decide(uint32_t pauses, enum spin_others others, bool is_alone)
{
	/* One that is alone waits for no other: it counts, perhaps. */
	if (is_alone)
		return pauses >= SPIN_YIELD_FROM ? SPIN_YIELDS : SPIN_GOES_ON;
	if (pauses < SPIN_YIELD_FROM)
		return SPIN_WAKES;
	if (others == SPIN_UNKNOWN)
		return SPIN_GOES_ON;
	if (others == SPIN_RUN || others == SPIN_ASLEEP)
		return pauses >= SPIN_LONG_FROM ? SPIN_YIELDS : SPIN_WAKES;
	return pauses >= SPIN_SLEEP_FROM ? SPIN_SLEEPS : SPIN_YIELDS;
}

void spin_pause(struct cpu *cpu)
{
	struct spin *spin = &cpu->spin;
	uint64_t now = __rdtsc(), close = cpu->soft->tsc_khz * CLOSE_US / 1000;
	_mm_pause();
	spin->pauses = now - spin->looked < close ? spin->pauses + 1 : 0;
	spin->looked = now;
	if (spin->pauses % SPIN_LOOK != 0 || spin->pauses == 0)
		return;
	bool is_alone = cpu->soft_count == 1;
	enum spin_others others = SPIN_UNKNOWN;
	/* What was seen in another wait is too old. */
	if (spin->pauses < SPIN_YIELD_FROM)
		spin->seen_at = 0;
	if (!is_alone && spin->pauses >= SPIN_YIELD_FROM - SPIN_LOOK)
		others = spin_look(cpu);
	switch (spin_decide(spin->pauses, others, is_alone)) {
	case SPIN_WAKES:
		wake_sleepers(cpu);
		break;
	case SPIN_SLEEPS:
		sleep_a_little(cpu);
		spin->seen_at = 0;
		break;
	case SPIN_YIELDS:
		wake_sleepers(cpu);
		sched_yield();
		spin->seen_at = 0;
		break;
	case SPIN_GOES_ON:
		break;
	}
	spin->looked = __rdtsc();
}

void spin_thread(struct cpu *cpu)
{
	clockid_t clock;
	if (pthread_getcpuclockid(pthread_self(), &clock) == 0)
		atomic_store(&cpu->spin.clock, clock);
}
