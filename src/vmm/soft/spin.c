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

#define CLOSE_US   4u   /* between two PAUSEs; who does something else in between takes longer */
#define LOOK       32u  /* one in so many does anything, from the */
#define YIELD_FROM 128u /* in a row, about 20 us, on */
#define SLEEP_FROM 256u
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
	uint64_t now = __rdtsc(), close = cpu->soft->tsc_khz * CLOSE_US / 1000;
	_mm_pause();
	spin->pauses = !spin->looked || now - spin->looked < close ? spin->pauses + 1 : 0;
	spin->looked = now;
	if (spin->pauses % LOOK != 0 || spin->pauses < YIELD_FROM)
		return;
	/* One that is alone waits for no other: it counts, perhaps. */
	if (spin->pauses >= SLEEP_FROM && cpu->soft_count > 1)
		sleep_a_little(cpu);
	else
		sched_yield();
	spin->looked = 0; /* whoever ran meanwhile has filled the caches: the next one comes late */
}
