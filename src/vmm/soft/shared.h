/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shared.h - what the CPUs of one machine share: the chips, doorbells, the lock.
 */
#pragma once

#include <pthread.h>

#include "vmm/soft/cpu.h"

#define DOORBELLS_MAX 256

struct doorbell {
	guest_addr at;
	int event_fd;
};

struct soft {
	struct cpus cpus; /* first */
	struct cpu *cpu[CPUS_MAX];
	uint64_t start_ns, start_tsc; /* the host's when it was opened */
	uint64_t tsc_offset;          /* what the last TSC that was set made of it */
	uint64_t tsc_khz;
	bool has_direct;                /* programs may run directly */
	_Atomic uint32_t spin_sleepers; /* CPUs asleep in spin.c */

	pthread_mutex_t split_lock; /* locked accesses that cross a page */
	pthread_mutex_t lock;       /* guards what follows, and `notices` of every CPU */
	struct doorbell doorbells[DOORBELLS_MAX];
	_Atomic uint32_t doorbell_count;
	struct pic_state pic[2];
	struct ioapic_state ioapic;
	struct pit_channel_state pit[3];
	uint64_t pit_start_ns[3];
	uint32_t speaker;
	uint64_t pit_at_ns; /* when line 0 changes next; 0: never */
	uint64_t timer_next_ns;

	pthread_t timer;
	pthread_cond_t timer_wait; /* with `lock` */
	bool has_timer, timer_ends;
	void (*prepare)(void *data); /* what the timer's thread calls first */
	void *prepare_data;

	/* A CPU has ended a level-triggered interrupt. */
	void (*ended)(struct soft *soft, uint32_t vector);

	/* Makes writes to the page slow on every CPU but `cpu`, which is about to decode it. */
	void (*protect)(struct soft *soft, struct cpu *cpu, guest_addr at);
	/* Drops what was decoded from the page at `at`, on every CPU. `cpu`: the caller, or NULL. */
	void (*wrote)(struct soft *soft, struct cpu *cpu, guest_addr at);
};
