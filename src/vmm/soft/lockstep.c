/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstep.c - translated code against the interpreter, block by block.
 *
 * Before a block all pages are slow to write, so that the first write to each tells of it and the page is
 * copied. When the block has left, what it wrote is taken back, the registers are put back, and the
 * interpreter does as many instructions. Then registers, flags that may be read, vectors and the written
 * pages must be the same. What the block leaves to the interpreter is not compared. A block
 * that was right CHECKS times is believed from then on.
 */
#include "vmm/soft/lockstep.h"

#include <stdio.h>
#include <string.h>

#include "vmm/soft/cache.h"
#include "vmm/soft/control.h"
#include "vmm/soft/effects.h"
#include "vmm/soft/fallback.h"
#include "vmm/soft/memory.h"
#include "vmm/soft/tlb.h"
#include "vmm/soft/translate.h"

#define PAGES_MAX 160
#define RETRIES   64 /* of instructions with two operands in memory */
#define CHECKS    40 /* of a block */

struct page {
	uint8_t *host;
	uint8_t before[GUEST_PAGE], after[GUEST_PAGE];
};

struct state {
	uint64_t r[20], rip;
	uint16_t flags;
	uint32_t rflags_rest, mxcsr;
	struct tlb *tlb;
	struct cpu_segment segments[8];
	uint64_t kernel_gs_base;
	uint8_t cpl;
	uint8_t vector[VECTORS][VECTOR_BYTES];
	uint64_t opmask[8];
	bool has_high, has_upper;
	uint8_t fx[512];
};

struct lockstep {
	struct page pages[PAGES_MAX];
	uint32_t count;
};

static void take(const struct cpu *cpu, struct state *to)
{
	memcpy(to->r, cpu->r, sizeof(to->r));
	memcpy(to->vector, cpu->vector, sizeof(to->vector));
	memcpy(to->opmask, cpu->opmask, sizeof(to->opmask));
	to->has_high = cpu->has_high;
	to->has_upper = cpu->has_upper;
	memcpy(to->fx, cpu->fx, sizeof(to->fx));
	to->rip = cpu->rip;
	to->flags = cpu->flags;
	to->rflags_rest = cpu->rflags_rest;
	to->mxcsr = cpu->mxcsr;
	to->tlb = cpu->tlb;
	memcpy(to->segments, cpu->segments, sizeof(to->segments));
	to->cpl = cpu->cpl;
	to->kernel_gs_base = cpu->kernel_gs_base;
}

static void put(struct cpu *cpu, const struct state *from)
{
	memcpy(cpu->r, from->r, sizeof(from->r));
	memcpy(cpu->vector, from->vector, sizeof(from->vector));
	memcpy(cpu->opmask, from->opmask, sizeof(from->opmask));
	cpu->has_high = from->has_high;
	cpu->has_upper = from->has_upper;
	memcpy(cpu->fx, from->fx, sizeof(from->fx));
	cpu->rip = from->rip;
	cpu->flags = from->flags;
	cpu->rflags_rest = from->rflags_rest;
	cpu->mxcsr = from->mxcsr;
	cpu->tlb = from->tlb;
	memcpy(cpu->segments, from->segments, sizeof(cpu->segments));
	cpu->base[CPU_FS] = cpu->segments[CPU_FS].base;
	cpu->base[CPU_GS] = cpu->segments[CPU_GS].base;
	cpu->cpl = from->cpl;
	cpu->generation++;
	cpu->kernel_gs_base = from->kernel_gs_base;
}

static uint16_t host_flags(uint32_t rflags)
{
	return (uint16_t)((rflags & 0xd5) << 8 | (rflags >> 11 & 1));
}

static void print_state(const char *name, const struct cpu *cpu, const struct state *state)
{
	static const char *const names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi",
		"rdi", "r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15" };
	fprintf(stderr, "%s: rip %016jx flags %04x rest %08x mxcsr %04x cpl %u\n", name,
		(uintmax_t)state->rip, state->flags, state->rflags_rest, state->mxcsr, cpu->cpl);
	for (int i = 0; i < 16; i++)
		fprintf(stderr, "  %s %016jx%s", names[i], (uintmax_t)state->r[i],
			i % 4 == 3 ? "\n" : "");
}

static void print_vectors(const struct state *a, const struct state *b)
{
	for (int i = 0; i < VECTORS; i++) {
		if (memcmp(a->vector[i], b->vector[i], VECTOR_BYTES) == 0)
			continue;
		fprintf(stderr, "  zmm%d\n", i);
		for (int k = 0; k < 2; k++) {
			fprintf(stderr, "    %s ", k ? "interpreted" : "translated ");
			for (int j = VECTOR_BYTES - 1; j >= 0; j--)
				fprintf(stderr, "%02x", (k ? b : a)->vector[i][j]);
			fprintf(stderr, "\n");
		}
	}
}

static void print_bytes(const char *name, const uint8_t *bytes, size_t count)
{
	fprintf(stderr, "%s:", name);
	for (size_t i = 0; i < count; i++)
		fprintf(stderr, " %02x", bytes[i]);
	fprintf(stderr, "\n");
}

/* The guest's instructions, one a line, and the host's bytes. */
static void print_code(struct cpu *cpu, uint32_t number, uint64_t rip)
{
	const struct native *native = cpu->native;
	const struct block *block = &native->blocks[number];
	const uint8_t *page =
		guest_slice_const(cpu->guest, block->physical & PAGE_MASK, GUEST_PAGE);
	uint32_t offset = block->physical & 0xfff;
	for (uint32_t i = 0; page && i < block->count && offset < GUEST_PAGE; i++) {
		struct insn insn;
		char name[32];
		if (decode(page + offset, GUEST_PAGE - offset, 8, &insn) != DECODE_OK)
			break;
		snprintf(name, sizeof(name), "  %016jx", (uintmax_t)rip);
		print_bytes(name, page + offset, insn.length);
		offset += insn.length;
		rip += insn.length;
	}
	print_bytes("host", native->executable + block->entry, block->end - block->entry);
	print_bytes("cold", native->executable + block->cold, block->stale - block->cold);
}

static _Noreturn void differ(
	struct cpu *cpu, uint32_t block, const char *what, const struct state states[3])
{
	fprintf(stderr, "lock-step: %s differs in the block at %016jx after %ju blocks\n", what,
		(uintmax_t)states[0].rip, (uintmax_t)cpu->native->checked);
	print_state("before", cpu, &states[0]);
	print_state("translated", cpu, &states[1]);
	print_state("interpreted", cpu, &states[2]);
	print_vectors(&states[1], &states[2]);
	print_code(cpu, block, states[0].rip);
	abort();
}

/* Makes the page writable after it was copied. */
static bool fill(struct cpu *cpu, struct lockstep *all, const struct site *site)
{
	uint64_t linear = cpu->native_linear;
	uint32_t code;
	if (memory_fill(cpu, linear, site->bytes, site->access, &code) != FILL_DONE)
		return false;
	if (!(site->access & ACCESS_WRITE)) {
		tlb_slow_writes(cpu); /* the new entry may be for writes, too */
		return true;
	}
	const struct tlb_entry *entry = tlb_find(cpu, cpu->tlb, linear, ACCESS_WRITE, &code);
	if (!entry)
		return false;
	uint8_t *host = (uint8_t *)entry->host;
	for (uint32_t i = 0; i < all->count; i++)
		if (all->pages[i].host == host)
			return true;
	if (all->count == PAGES_MAX)
		return false;
	struct page *page = &all->pages[all->count++];
	page->host = host;
	memcpy(page->before, host, GUEST_PAGE);
	return true;
}

/* Runs the block until it leaves for good: how many instructions it did. */
static uint32_t run_translated(
	struct cpu *cpu, struct lockstep *all, uint32_t number, uint16_t *dead, bool *goes_on)
{
	struct native *native = cpu->native;
	uint32_t offset = native->blocks[number].entry, live = 0;
	for (uint32_t twice = 0;;) {
		cpu->native_site = UINT32_MAX;
		pieces_enter(&native->pieces, cpu, code_at(native, offset), live);
		const struct site *site = &native->sites[cpu->native_site];
		*dead = cpu->native_site ? site->dead : native->blocks[number].undefined;
		*goes_on = true;
		if (cpu->native_site == 0)
			return native->blocks[number].count;
		if (site->kind == SITE_LINK) {
			cpu->rip = cpu->r[R_CODE] + (uint64_t)(int64_t)site->target;
			return site->count;
		}
		offset = site->retry;
		live = site->kind == SITE_NEED ? site->needs : site->live;
		twice += site->has_two;
		bool is_access = site->kind == SITE_MEMORY || site->kind == SITE_GROUP;
		if (is_access && twice < RETRIES && fill(cpu, all, site))
			continue;
		if (site->kind == SITE_NEED && (site->needs & ~fallback_available(cpu)) == 0)
			continue;
		cpu->rip = cpu->r[R_CODE] + site->offset;
		*goes_on = false;
		return site->count;
	}
}

/* A repeated instruction that somebody's call has interrupted goes on. */
static void run_interpreted(struct cpu *cpu, uint32_t count)
{
	while (count > 0) {
		const struct op *op = cache_find(cpu), *next;
		uint64_t rip = cpu->rip;
		bool is_real = op->run != control_next, repeats = op->flags & (OP_REP | OP_REPNE);
		next = op->run(cpu, op);
		cpu->link = NULL;
		if (next)
			cpu->rip = cpu->r[R_CODE] + next->offset;
		count -= is_real && !(repeats && cpu->rip == rip);
	}
}

static bool run_again(struct cpu *cpu, uint32_t count)
{
	jmp_buf loop;
	memcpy(loop, cpu->loop, sizeof(loop));
	if (setjmp(cpu->loop) != 0) {
		memcpy(cpu->loop, loop, sizeof(loop));
		return false;
	}
	run_interpreted(cpu, count);
	memcpy(cpu->loop, loop, sizeof(loop));
	return true;
}

static void take_back(struct lockstep *all)
{
	for (uint32_t i = 0; i < all->count; i++) {
		struct page *page = &all->pages[i];
		memcpy(page->after, page->host, GUEST_PAGE);
		for (uint32_t at = 0; at < GUEST_PAGE; at++)
			if (page->after[at] != page->before[at])
				page->host[at] = page->before[at];
	}
}

static const char *compare(
	const struct lockstep *all, const struct state *a, const struct state *b, uint16_t dead)
{
	uint16_t mask = host_flags((uint32_t)~dead & EFFECT_FLAGS);
	if (a->rip != b->rip)
		return "rip";
	if (memcmp(a->r, b->r, 16 * sizeof(a->r[0])) != 0)
		return "a register";
	if ((a->flags ^ b->flags) & mask)
		return "a flag";
	if (a->rflags_rest != b->rflags_rest || a->tlb != b->tlb)
		return "EFLAGS";
	if (a->cpl != b->cpl || memcmp(a->segments, b->segments, sizeof(a->segments)) != 0)
		return "a segment";
	if (a->kernel_gs_base != b->kernel_gs_base)
		return "GS";
	if (memcmp(a->vector, b->vector, sizeof(a->vector)) != 0 || a->mxcsr != b->mxcsr)
		return "a vector";
	if (memcmp(a->opmask, b->opmask, sizeof(a->opmask)) != 0)
		return "an opmask";
	if (memcmp(a->fx, b->fx, 4) != 0 || memcmp(a->fx + 32, b->fx + 32, 128) != 0)
		return "the x87";
	for (uint32_t i = 0; i < all->count; i++)
		if (memcmp(all->pages[i].after, all->pages[i].host, GUEST_PAGE) != 0)
			return "memory";
	return NULL;
}

bool lockstep_believes(const struct cpu *cpu, uint32_t block)
{
	return cpu->native->blocks[block].checks >= CHECKS;
}

void lockstep_run(struct cpu *cpu, uint32_t block)
{
	if (!cpu->native->lockstep)
		cpu->native->lockstep = alloc(struct lockstep);
	struct lockstep *all = cpu->native->lockstep;
	struct state states[3];
	uint16_t dead;
	bool goes_on;
	struct block *which = &cpu->native->blocks[block];
	which->checks++;
	tlb_slow_writes(cpu);
	all->count = 0;
	take(cpu, &states[0]);
	uint32_t count = run_translated(cpu, all, block, &dead, &goes_on);
	take(cpu, &states[1]);
	take_back(all);
	put(cpu, &states[0]);
	if (count > 0 && !run_again(cpu, count)) {
		take(cpu, &states[2]);
		differ(cpu, block, "a fault", states);
	}
	take(cpu, &states[2]);
	const char *what = compare(all, &states[1], &states[2], dead);
	if (what)
		differ(cpu, block, what, states);
	cpu->native->checked++;
	/* HLT behind STI would sleep through every interrupt: step() ends the shadow first. */
	if (!goes_on && !cpu->shadow)
		fallback_one(cpu);
}
