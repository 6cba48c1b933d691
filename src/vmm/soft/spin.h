/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spin.h - PAUSE: a CPU that waits for another in a loop.
 */
#pragma once

#include "vmm/soft/cpu.h"

#define SPIN_LOOK       32u  /* one PAUSE in so many does anything, from the */
#define SPIN_YIELD_FROM 128u /* in a row, about 20 us, on */
#define SPIN_SLEEP_FROM 256u
#define SPIN_LONG_FROM  16384u /* milliseconds: what is waited for comes from outside, perhaps */

/* What those do that this CPU may wait for: all but halted ones. */
enum spin_others {
	SPIN_UNKNOWN, /* nobody has looked just before */
	SPIN_NOBODY,
	SPIN_ASLEEP, /* in a PAUSE, some; nobody else */
	SPIN_RUN,
	SPIN_STOPPED /* at least one: the host runs others in its place */
};

enum spin_does { SPIN_GOES_ON, SPIN_WAKES, SPIN_YIELDS, SPIN_SLEEPS };

/* The CPU's own thread is the one that calls. */
void spin_thread(struct cpu *cpu);

/* Since the last look. */
enum spin_others spin_look(struct cpu *cpu);

/* WAKES: goes on, and so do those that sleep in a PAUSE. */
enum spin_does spin_decide(uint32_t pauses, enum spin_others others, bool is_alone);

/*
 * One PAUSE. Returns at once, or later: then the host's processor was others' meanwhile, and who calls looks for attention
 * before the next instruction.
 */
void spin_pause(struct cpu *cpu);
