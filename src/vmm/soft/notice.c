/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notice.c - pages whose code was written, or is about to be decoded.
 */
#include "vmm/soft/notice.h"

#include <string.h>

#include "vmm/soft/cache.h"
#include "vmm/soft/direct.h"
#include "vmm/soft/memory.h"
#include "vmm/soft/native.h"

#define NOTICE_WROTE   0
#define NOTICE_PROTECT 1

/* Holding soft->lock. */
static void notice(struct cpu *cpu, guest_addr page, uint32_t kind)
{
	for (uint32_t i = 0; i < cpu->notice_count; i++)
		if (cpu->notices[i] == (page | kind))
			return;
	bool is_lost = cpu->notice_count == NOTICE_MAX;
	if (is_lost)
		cpu->notice_overflow = true;
	else
		cpu->notices[cpu->notice_count++] = page | kind;
	cpu_call(cpu, ATTENTION_CODE);
	/* One that sleeps sees it before it writes anything. */
	if (is_lost && !atomic_load(&cpu->is_idle))
		cpu->notice_is_late = true;
	if (cpu->direct_hooks)
		cpu->direct_hooks->call(cpu);
}

static void notice_others(struct soft *soft, const struct cpu *cpu, guest_addr page, uint32_t kind)
{
	pthread_mutex_lock(&soft->lock);
	for (uint32_t i = 0; i < soft->cpus.count; i++)
		if (soft->cpu[i] != cpu)
			notice(soft->cpu[i], page, kind);
	pthread_mutex_unlock(&soft->lock);
}

static void forget_others(struct soft *soft, const struct cpu *cpu)
{
	pthread_mutex_lock(&soft->lock);
	for (uint32_t i = 0; i < soft->cpus.count; i++)
		if (soft->cpu[i] != cpu) {
			soft->cpu[i]->notice_forgets = true;
			cpu_call(soft->cpu[i], ATTENTION_CODE);
		}
	pthread_mutex_unlock(&soft->lock);
}

static void forget_code(struct cpu *cpu)
{
	cache_flush(cpu);
	native_flush(cpu);
}

static void drop(struct cpu *cpu, guest_addr page)
{
	cache_drop(cpu, page);
	native_drop(cpu, page);
}

void notice_wrote(struct soft *soft, struct cpu *cpu, guest_addr at)
{
	const struct guest_region *region = guest_region(soft->cpus.guest, at);
	if (region)
		atomic_store(&region->watched[(at - region->at) / GUEST_PAGE], 0);
	if (cpu)
		drop(cpu, at);
	if (!cpu || soft->cpus.count > 1)
		notice_others(soft, cpu, at, NOTICE_WROTE);
}

void notice_protect(struct soft *soft, struct cpu *cpu, guest_addr at)
{
	notice_others(soft, cpu, at, NOTICE_PROTECT);
}

void notice_watched(void *data, guest_addr at, uint64_t bytes)
{
	(void)bytes;
	notice_wrote(data, NULL, at);
}

static bool protect(struct cpu *cpu, guest_addr page)
{
	bool was_fast = tlb_protect(cpu, page);
	return (cpu->direct_hooks && cpu->direct_hooks->protect(cpu, page)) || was_fast;
}

void notice_handle(struct cpu *cpu)
{
	guest_addr notices[NOTICE_MAX];
	pthread_mutex_lock(&cpu->soft->lock);
	uint32_t count = cpu->notice_count;
	bool all = cpu->notice_overflow, forgets = cpu->notice_forgets,
	     is_late = cpu->notice_is_late;
	memcpy(notices, cpu->notices, count * sizeof(notices[0]));
	cpu->notice_count = 0;
	cpu->notice_overflow = cpu->notice_forgets = cpu->notice_is_late = false;
	pthread_mutex_unlock(&cpu->soft->lock);
	if (all || forgets)
		forget_code(cpu);
	if (all) {
		tlb_flush(cpu, true);
		if (cpu->direct)
			direct_forget(cpu);
	}
	/* Among what is lost may be pages that another has read, and this one has written since. */
	if (is_late)
		forget_others(cpu->soft, cpu);
	for (uint32_t i = 0; i < count; i++) {
		guest_addr page = notices[i] & PAGE_MASK;
		if ((notices[i] & 1) == NOTICE_WROTE)
			drop(cpu, page);
		else if (protect(cpu, page) || cpu->has_lost_writers)
			/* It may have been written unnoticed since the other one has read it. */
			notice_others(cpu->soft, cpu, page, NOTICE_WROTE);
	}
	/* Of what was asked since then it counts, too. */
	if (!(atomic_load(&cpu->attention) & ATTENTION_CODE))
		cpu->has_lost_writers = false;
}
