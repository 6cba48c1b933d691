/* SPDX-License-Identifier: Apache-2.0 */
/*
 * two.c - rows of two threads, each on a processor of its own.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "suite.h"

#define PAGE        4096u
#define SHOOT_PAGES 16u

struct half {
	uint64_t count;
	uint32_t number; /* of the thread and its processor */
	void (*work)(const struct half *half);
};

static _Atomic uint64_t shared;

/* Without a processor of that number threads run where they may. */
static void *run(void *data)
{
	const struct half *half = data;
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(half->number, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
	half->work(half);
	return NULL;
}

static uint64_t two(void (*work)(const struct half *half), uint64_t count)
{
	pthread_t other;
	struct half halves[2] = { { .count = count, .work = work },
		{ .count = count, .work = work, .number = 1 } };
	if (pthread_create(&other, NULL, run, &halves[1]) != 0)
		abort();
	run(&halves[0]);
	pthread_join(other, NULL);
	return shared;
}

static void add(const struct half *half)
{
	for (uint64_t i = half->count; i > 0; i--)
		atomic_fetch_add(&shared, i);
}

uint64_t row_xadd_two(uint64_t count)
{
	return two(add, count);
}

static void spin(const struct half *half)
{
	atomic_fetch_add(&shared, row_int(half->count));
}

/* Two busy loops that share nothing. */
uint64_t row_spin_two(uint64_t count)
{
	return two(spin, count);
}

static void take_turns(const struct half *half)
{
	for (uint64_t i = 0; i < half->count; i++) {
		while (atomic_load(&shared) != 2 * i + half->number)
			__builtin_ia32_pause();
		atomic_fetch_add(&shared, 1);
	}
}

/* A word goes back and forth between who waits for it in a loop. */
uint64_t row_turns_two(uint64_t count)
{
	return two(take_turns, count);
}

static _Atomic uint32_t lock;
static uint64_t guarded[8];

static void take_lock(const struct half *half)
{
	for (uint64_t i = 0; i < half->count; i++) {
		while (atomic_exchange(&lock, 1))
			while (atomic_load(&lock))
				__builtin_ia32_pause();
		for (uint32_t j = 0; j < 8; j++)
			guarded[j] += i + j;
		atomic_store_explicit(&lock, 0, memory_order_release);
		atomic_fetch_add(&shared, i);
	}
}

/* A spin lock that both want all the time. */
uint64_t row_lock_two(uint64_t count)
{
	uint64_t sum = two(take_lock, count);
	return sum + guarded[7];
}

static _Atomic uint32_t turn;

static void futex_turns(const struct half *half)
{
	uint32_t mine = half->number, now;
	for (uint64_t i = 0; i < half->count; i++) {
		while ((now = atomic_load(&turn)) != mine)
			syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
		atomic_store(&turn, 1 - mine);
		syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
		atomic_fetch_add(&shared, i);
	}
}

/* Each wakes the other and sleeps: an interrupt to an idle processor each time. */
uint64_t row_futex_two(uint64_t count)
{
	return two(futex_turns, count);
}

static volatile uint8_t *pages;
static _Atomic uint32_t ended;

static void shoot(const struct half *half)
{
	uint64_t sum = 0;
	if (half->number == 1) {
		while (!atomic_load(&ended))
			for (uint32_t i = 0; i < SHOOT_PAGES; i++)
				sum += pages[i * PAGE];
		OPAQUE(sum);
		return;
	}
	for (uint64_t i = 0; i < half->count; i++) {
		volatile uint8_t *page = pages + i % SHOOT_PAGES * PAGE;
		void *at = (void *)(uintptr_t)page;
		*page = (uint8_t)i;
		if (mprotect(at, PAGE, PROT_READ) != 0 ||
			mprotect(at, PAGE, PROT_READ | PROT_WRITE) != 0)
			abort();
		atomic_fetch_add(&shared, *page);
	}
	atomic_store(&ended, 1);
}

/* One takes rights of pages away that the other reads: each time that one's processor is interrupted. */
uint64_t row_shoot_two(uint64_t count)
{
	pages = mmap(NULL, SHOOT_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		-1, 0);
	if (pages == MAP_FAILED)
		abort();
	return two(shoot, count);
}
