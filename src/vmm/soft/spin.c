/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spin.c - a CPU that spins for long gives its processor away.
 *
 * Kernels spin for what another CPU does within a microsecond. If it takes longer, then mostly because the host runs
 * somebody else in that CPU's place, and perhaps this one's thread is what keeps it from coming back. So when
 * many PAUSEs follow each other closely the host may run others, and after some more this thread sleeps for a moment.
 */
#include "vmm/soft/spin.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <x86intrin.h>

#include "vmm/soft/shared.h"

#define LOOK       32u /* PAUSEs between two looks, */
#define CLOSE_US   64u /* which take no longer if nothing else is done */
#define YIELD_FROM 4u  /* looks, about 20 us */
#define SLEEP_FROM 8u
#define SLEEP_NS   50000

/* An interrupt ends it. Behind it attention comes before all else, as behind HLT: notice.c relies on that. */
static void sleep_a_little(struct cpu *cpu)
{
	const struct timespec time = { .tv_nsec = SLEEP_NS };
	atomic_store(&cpu->is_idle, true);
	if (atomic_load(&cpu->attention) == 0)
		syscall(SYS_futex, &cpu->attention, FUTEX_WAIT_PRIVATE, 0, &time, NULL, 0);
	atomic_store(&cpu->is_idle, false);
}

void spin_pause(struct cpu *cpu)
{
	struct spin *spin = &cpu->spin;
	_mm_pause();
	if (++spin->pauses % LOOK != 0)
		return;
	uint64_t close = cpu->soft->tsc_khz * CLOSE_US / 1000;
	spin->looks = __rdtsc() - spin->looked < close ? spin->looks + 1 : 0;
	if (spin->looks >= SLEEP_FROM)
		sleep_a_little(cpu);
	else if (spin->looks >= YIELD_FROM)
		sched_yield();
	spin->looked = __rdtsc();
}
