/* SPDX-License-Identifier: Apache-2.0 */
/*
 * futex.c - threads that wait for a word of memory.
 */
#include "unikernel/futex.h"

#include <linux/futex.h>

#define BUCKETS 64u

struct waiter {
	struct waiter *next;
	struct thread *thread;
	uint64_t address;
	uint32_t bits;
	bool is_woken;
};

/* First come, first served: new ones at the end. */
static struct waiter *buckets[BUCKETS];

static struct waiter **bucket_of(uint64_t address)
{
	return &buckets[(address >> 2) % BUCKETS];
}

static void add(struct waiter *waiter)
{
	struct waiter **link = bucket_of(waiter->address);
	while (*link)
		link = &(*link)->next;
	waiter->next = NULL;
	*link = waiter;
}

static void take_out(struct waiter *waiter)
{
	for (struct waiter **link = bucket_of(waiter->address); *link; link = &(*link)->next)
		if (*link == waiter) {
			*link = waiter->next;
			return;
		}
}

/* Another process has other memory at the same address, unless it is shared. */
static bool is_ours(const struct waiter *waiter)
{
	return waiter->thread->group == thread_group() || memory_is_shared(waiter->address);
}

int64_t futex_wait(uint64_t address, uint32_t value, uint32_t bits, uint64_t deadline_ns)
{
	if (address % 4 || bits == 0)
		return -EINVAL;
	if (*(volatile uint32_t *)at(address) != value)
		return -EAGAIN;
	struct waiter waiter = { .thread = current_thread, .address = address, .bits = bits };
	add(&waiter);
	int r = 0;
	while (!waiter.is_woken && r == 0)
		r = thread_wait(deadline_ns);
	if (waiter.is_woken)
		return 0;
	take_out(&waiter);
	return r;
}

int64_t futex_wake(uint64_t address, uint32_t count, uint32_t bits)
{
	int64_t woken = 0;
	if (address % 4 || bits == 0)
		return -EINVAL;
	struct waiter **link = bucket_of(address);
	while (*link && woken < count) {
		struct waiter *waiter = *link;
		if (waiter->address != address || !(waiter->bits & bits) || !is_ours(waiter)) {
			link = &waiter->next;
			continue;
		}
		*link = waiter->next;
		waiter->is_woken = true;
		thread_ready(waiter->thread);
		woken++;
	}
	return woken;
}

int64_t futex_requeue(uint64_t from, uint32_t wake, uint32_t move, uint64_t to)
{
	int64_t done = futex_wake(from, wake, UINT32_MAX);
	if (done < 0 || to % 4)
		return -EINVAL;
	struct waiter **link = bucket_of(from);
	while (*link && move > 0) {
		struct waiter *waiter = *link;
		if (waiter->address != from || !is_ours(waiter)) {
			link = &waiter->next;
			continue;
		}
		*link = waiter->next;
		waiter->address = to;
		add(waiter);
		move--;
		done++;
		if (bucket_of(from) == bucket_of(to) && from == to)
			break;
	}
	return done;
}

void futex_end_robust(uint64_t list, int32_t thread_id)
{
	if (!list)
		return;
	const struct robust_list_head *head = at(list);
	const struct robust_list *entry = head->list.next;
	for (int i = 0; i < 2048 && entry != &head->list; i++) {
		uint64_t address = address_of(entry) + (uint64_t)head->futex_offset;
		uint32_t *word = at(address);
		entry = (void *)(address_of(entry->next) & ~UINT64_C(1));
		if ((*word & FUTEX_TID_MASK) != (uint32_t)thread_id)
			continue;
		*word = (*word & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
		(void)futex_wake(address, 1, UINT32_MAX);
	}
}
