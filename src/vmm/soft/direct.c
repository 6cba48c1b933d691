/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct.c - when a program is run directly, and what follows from how that ends.
 *
 * A CPU has a few processes, each with the address space of one CR3. The program's registers are in the process only
 * while it runs: whenever it stops they are taken out, so all else in the engine finds them where they always are.
 *
 * It pays off for programs that seldom enter their kernel: each stop costs tens of microseconds. So the CPU's timer
 * interrupts look how often ring 0 was entered since the last one, and the stays in the process are timed.
 */
#include "vmm/soft/direct.h"

#include <string.h>
#include <time.h>
#include <x86intrin.h>

#include "vmm/soft/direct_scan.h"
#include "vmm/soft/direct_space.h"
#include "vmm/soft/event.h"
#include "vmm/soft/fallback.h"
#include "vmm/soft/fpu.h"
#include "vmm/soft/segment.h"
#include "vmm/soft/shared.h"

/* For each CPU, and for all as long as each has one. */
#define SPACES     4
#define SPACES_ALL 16
/* Of an XSAVE image. */
#define IMAGE_PARTS 512u
#define IMAGE_UPPER 576u
#define IMAGE_AVX   832u
#define IMAGE_BYTES 2688u
#define PART_AVX    UINT64_C(4)

#define US(n)        ((n)*khz / 1000)
#define LOOK_US      1000 /* between two looks, at least */
#define LATER_NS     4000000
#define ENTRY_US     120  /* from one entry of ring 0 to the next, at least */
#define STAYS        32   /* of which that is the average */
#define FIRST_FAULTS 256  /* while pages are still being mapped */
#define REST_US      2000 /* after it did not pay off; doubles up to: */
#define REST_MAX_US  1000000

/* What the host's processes can be given. */
#define SELECTOR_CODE 0x33
#define SELECTOR_DATA 0x2b
#define DIRECT_FLAGS  (FLAGS_ARITHMETIC | FLAG_TF | FLAG_DF | FLAG_NT | FLAG_AC | FLAG_ID)

struct place {
	struct direct_space *space;
	bool is_good, has_vectors;
	uint64_t used; /* when, of struct direct */
	uint64_t stay_us, rest_until, rest;
	uint32_t stays, faults;
	uint64_t missed;            /* what the interpreter has gone for */
	bool host_id;               /* the process's EFLAGS.ID */
	uint8_t image[IMAGE_BYTES]; /* the vectors that it has */
};

struct direct {
	struct place places[SPACES];
	uint32_t place_count;
	bool is_useless; /* a process has died */
	uint64_t uses;
	uint64_t looked;         /* when */
	uint64_t looked_used_ns; /* CPU time of the thread then */
	uint32_t generation;
	_Atomic(struct direct_process *) runs;
	struct direct_counts counts;
};

int direct_prepare(struct cpu *cpu, struct error *e)
{
	struct direct *direct = cpu->direct;
	uint32_t count = SPACES_ALL / cpu->soft_count;
	count = count > SPACES ? SPACES : count == 0 ? 1 : count;
	while (direct->place_count < count) {
		struct direct_process *process;
		int r = direct_process_new(cpu->guest->memfd, cpu->guest->image_fd, &process, e);
		if (r < 0)
			return r;
		if (!direct_process_traps_cpuid(process))
			cpu->direct_tells = DIRECT_TELLS_CPUID;
		direct->places[direct->place_count++].space = direct_space_new(process);
	}
	return 0;
}

void direct_done(struct cpu *cpu)
{
	struct direct *direct = cpu->direct;
	if (!direct)
		return;
	for (uint32_t i = 0; i < direct->place_count; i++)
		direct_space_free(direct->places[i].space);
	cpu->direct = NULL;
	cpu->direct_hooks = NULL;
	cpu->direct_waits = 0;
	free(direct);
}

void direct_add_counts(const struct cpu *cpu, struct direct_counts *to)
{
	const struct direct_counts *counts = &cpu->direct->counts;
	for (uint32_t i = 0; i < ARRAY_SIZE(to->stops); i++)
		to->stops[i] += counts->stops[i];
	to->entries += counts->entries;
	to->rests += counts->rests;
	to->spaces += counts->spaces;
	to->pages += counts->pages;
	to->refused += counts->refused;
	to->used_us += counts->used_us;
}

static void call(struct cpu *cpu)
{
	struct direct *direct = cpu->direct;
	struct direct_process *process = direct ? atomic_load(&direct->runs) : NULL;
	if (process)
		direct_process_kick(process);
}

static struct place *place_of(struct direct *direct, uint64_t cr3)
{
	for (uint32_t i = 0; i < direct->place_count; i++)
		if (direct_space_cr3(direct->places[i].space) == cr3)
			return &direct->places[i];
	return NULL;
}

static void switched(struct cpu *cpu)
{
	const struct place *place = place_of(cpu->direct, cpu->cr3);
	cpu->direct_waits = place && place->is_good;
}

/* What it was idle or had to wait for a processor of the host does not count. */
static uint64_t thread_used_ns(void)
{
	struct timespec used;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * NS_PER_SEC + (uint64_t)used.tv_nsec;
}

void direct_consider(struct cpu *cpu)
{
	struct direct *direct = cpu->direct;
	uint64_t khz = cpu->soft->tsc_khz, now = __rdtsc();
	if (now - direct->looked < US(LOOK_US))
		return;
	uint64_t used_ns = thread_used_ns(), since_ns = used_ns - direct->looked_used_ns;
	if (since_ns < LOOK_US * UINT64_C(1000))
		return;
	/* It changes at each entry, at each way back, and more often. */
	uint64_t entries = (cpu->generation - direct->generation) / 2;
	direct->looked = now;
	direct->looked_used_ns = used_ns;
	direct->generation = cpu->generation;
	if (direct->is_useless || cpu->cpl != 3 || cpu->code_bytes != 8 || cpu->direct_waits)
		return;
	if (entries * ENTRY_US * UINT64_C(1000) > since_ns)
		return;
	const struct place *place = place_of(direct, cpu->cr3);
	if (!place || now >= place->rest_until)
		cpu->direct_waits = 1;
}

void direct_look_later(struct cpu *cpu)
{
	struct soft *soft = cpu->soft;
	uint64_t at = cpu_now() + LATER_NS;
	cpu->direct->looked = __rdtsc();
	cpu->direct->looked_used_ns = thread_used_ns();
	cpu->direct->generation = cpu->generation;
	pthread_mutex_lock(&soft->lock);
	atomic_store(&cpu->direct_look_ns, at);
	if (at < soft->timer_next_ns)
		pthread_cond_signal(&soft->timer_wait);
	pthread_mutex_unlock(&soft->lock);
}

uint64_t direct_timers(struct soft *soft, uint64_t now)
{
	uint64_t next = UINT64_MAX;
	for (uint32_t i = 0; soft->has_direct && i < soft->cpus.count; i++) {
		struct cpu *cpu = soft->cpu[i];
		uint64_t at = atomic_load(&cpu->direct_look_ns);
		if (at != 0 && at <= now) {
			atomic_store(&cpu->direct_look_ns, 0);
			if (!atomic_load(&cpu->is_idle))
				cpu_wake(cpu, ATTENTION_IRQ);
		} else if (at != 0 && at < next) {
			next = at;
		}
	}
	return next;
}

static bool protect(struct cpu *cpu, guest_addr page)
{
	struct direct *direct = cpu->direct;
	bool was_writable = false;
	for (uint32_t i = 0; i < direct->place_count; i++)
		was_writable |= direct_space_protect(direct->places[i].space, page);
	return was_writable;
}

void direct_init(struct cpu *cpu)
{
	static const struct direct_hooks hooks = {
		.call = call,
		.switched = switched,
		.protect = protect,
	};
	cpu->direct = alloc(struct direct);
	cpu->direct_hooks = &hooks;
}

void direct_forget(struct cpu *cpu)
{
	struct direct *direct = cpu->direct;
	for (uint32_t i = 0; i < direct->place_count; i++)
		direct_space_drop(direct->places[i].space);
}

static bool is_flat(const struct cpu *cpu, uint32_t segment)
{
	const struct cpu_segment *s = &cpu->segments[segment];
	return (s->selector & ~3u) == 0 || s->selector == SELECTOR_DATA;
}

/* Whether the process can be what the CPU is. */
static bool can(const struct cpu *cpu)
{
	uint64_t need_cr0 = CR0_PE | CR0_PG, need_cr4 = CR4_OSFXSR | CR4_OSXSAVE;
	if ((cpu->cr0 & (need_cr0 | CR0_EM | CR0_TS)) != need_cr0 ||
		(cpu->cr4 & (need_cr4 | CR4_TSD)) != need_cr4 || (cpu->xcr0 & 7) != 7 ||
		!(cpu->efer & EFER_NXE))
		return false;
	/* Whether interrupts are on is the monitor's to know: one that comes while they are off waits, and the kick is a signal. */
	if (cpu->rflags_rest & ~(FLAG_DF | FLAG_IF | 2u))
		return false;
	return cpu->segments[CPU_CS].selector == SELECTOR_CODE &&
		cpu->segments[CPU_SS].selector == SELECTOR_DATA && is_flat(cpu, CPU_DS) &&
		is_flat(cpu, CPU_ES) && is_flat(cpu, CPU_FS) && is_flat(cpu, CPU_GS);
}

/* Nothing else is to be done but to go on in ring 3. */
static bool is_free(struct cpu *cpu)
{
	return atomic_load_explicit(&cpu->attention, memory_order_relaxed) == 0 &&
		direct_wants(cpu) && !cpu->event_is_pending && !cpu->trap_dr6 &&
		cpu->activity == CPU_ACTIVE && !cpu_must_step(cpu);
}

static void put(const struct cpu *cpu, struct user_regs_struct *regs)
{
	*regs = (struct user_regs_struct){
		.rax = cpu->r[CPU_RAX],
		.rcx = cpu->r[CPU_RCX],
		.rdx = cpu->r[CPU_RDX],
		.rbx = cpu->r[CPU_RBX],
		.rsp = cpu->r[CPU_RSP],
		.rbp = cpu->r[CPU_RBP],
		.rsi = cpu->r[CPU_RSI],
		.rdi = cpu->r[CPU_RDI],
		.r8 = cpu->r[8],
		.r9 = cpu->r[9],
		.r10 = cpu->r[10],
		.r11 = cpu->r[11],
		.r12 = cpu->r[12],
		.r13 = cpu->r[13],
		.r14 = cpu->r[14],
		.r15 = cpu->r[15],
		.rip = cpu->rip,
		.eflags = cpu_rflags(cpu) | FLAG_IF,
		.cs = SELECTOR_CODE,
		.ss = SELECTOR_DATA,
		.ds = cpu->segments[CPU_DS].selector,
		.es = cpu->segments[CPU_ES].selector,
		.fs = cpu->segments[CPU_FS].selector,
		.gs = cpu->segments[CPU_GS].selector,
		.fs_base = cpu->base[CPU_FS],
		.gs_base = cpu->base[CPU_GS],
		.orig_rax = UINT64_MAX,
	};
}

static void set_base(struct cpu *cpu, uint32_t segment, uint64_t base)
{
	cpu->base[segment] = cpu->segments[segment].base = base;
}

/* All but selectors. */
static void take(struct cpu *cpu, const struct user_regs_struct *regs)
{
	const uint64_t r[16] = { regs->rax, regs->rcx, regs->rdx, regs->rbx, regs->rsp, regs->rbp,
		regs->rsi, regs->rdi, regs->r8, regs->r9, regs->r10, regs->r11, regs->r12,
		regs->r13, regs->r14, regs->r15 };
	memcpy(cpu->r, r, sizeof(r));
	cpu->rip = regs->rip;
	cpu_set_rflags(cpu, regs->eflags, DIRECT_FLAGS);
	set_base(cpu, CPU_FS, regs->fs_base);
	set_base(cpu, CPU_GS, regs->gs_base);
}

/* What the program has loaded from the host's table it loads from its own. */
static void take_selectors(struct cpu *cpu, const struct user_regs_struct *regs)
{
	const uint64_t now[4] = { regs->ds, regs->es, regs->fs, regs->gs };
	static const uint8_t names[4] = { CPU_DS, CPU_ES, CPU_FS, CPU_GS };
	for (uint32_t i = 0; i < 4; i++)
		if (cpu->segments[names[i]].selector != (uint16_t)now[i])
			segment_load(cpu, NULL, names[i], (uint16_t)now[i]);
	if ((uint16_t)regs->ss != SELECTOR_DATA)
		segment_load(cpu, NULL, CPU_SS, (uint16_t)regs->ss);
	if ((uint16_t)regs->cs == SELECTOR_CODE)
		return;
	struct descriptor d = descriptor_need(cpu, NULL, (uint16_t)regs->cs, FAULT_GP);
	if (!DESC_IS_CODE(d) || DESC_CONFORMS(d) || DESC_DPL(d) != 3 || !DESC_P(d))
		cpu_fault(cpu, NULL, FAULT_GP, regs->cs & 0xfffc);
	struct cpu_segment cs = segment_from(d, (uint16_t)regs->cs);
	segment_set(cpu, CPU_CS, &cs);
}

static uint64_t word(const uint8_t *image, uint32_t at)
{
	uint64_t value;
	memcpy(&value, image + at, sizeof(value));
	return value;
}

/* Upper halves that the host takes for used would have every SSE instruction wait for its target's old value. */
static void save(const struct cpu *cpu, uint8_t image[IMAGE_BYTES])
{
	uint64_t used = 0;
	fpu_save(cpu, image);
	for (uint32_t at = IMAGE_UPPER; at < IMAGE_AVX; at += sizeof(used))
		used |= word(image, at);
	if (!used)
		image[IMAGE_PARTS] &= (uint8_t)~PART_AVX;
}

static bool put_vectors(struct cpu *cpu, struct place *place)
{
	uint8_t image[IMAGE_BYTES];
	save(cpu, image);
	if (place->has_vectors && memcmp(image, place->image, sizeof(image)) == 0)
		return true;
	memcpy(place->image, image, sizeof(image));
	place->has_vectors = true;
	return direct_process_load_vectors(
		       direct_space_process(place->space), image, sizeof(image)) == 0;
}

/* What the guest's kernel does not know of the program has only from the host. */
static bool take_vectors(struct cpu *cpu, struct place *place)
{
	uint8_t image[IMAGE_BYTES] = {};
	if (direct_process_save_vectors(direct_space_process(place->space), image, sizeof(image)) <
		0)
		return false;
	uint64_t parts = word(image, IMAGE_PARTS);
	place->has_vectors = !(parts & ~cpu->xcr0);
	parts &= cpu->xcr0;
	memcpy(image + IMAGE_PARTS, &parts, sizeof(parts));
	fpu_load(cpu, image);
	save(cpu, place->image);
	return true;
}

static void rest(struct cpu *cpu, struct place *place)
{
	uint64_t khz = cpu->soft->tsc_khz;
	place->is_good = false;
	place->rest = place->rest == 0 ? US(REST_US) : 2 * place->rest;
	if (place->rest > US((uint64_t)REST_MAX_US))
		place->rest = US((uint64_t)REST_MAX_US);
	place->rest_until = __rdtsc() + place->rest;
	cpu->direct_waits = 0;
	cpu->direct->counts.rests++;
}

/* Whether it pays off. */
static bool pays(struct cpu *cpu, struct place *place, uint64_t stay_us)
{
	place->stay_us += stay_us;
	if (++place->stays < STAYS)
		return true;
	bool is_good = place->stay_us >= STAYS * DIRECT_STAY_US;
	place->stay_us = 0;
	place->stays = 0;
	if (is_good)
		place->rest = 0;
	else
		rest(cpu, place);
	return is_good;
}

/* A page that could be mapped. There are many in the beginning, but each comes once. */
static bool mapped(struct cpu *cpu, struct place *place, uint64_t stay_us)
{
	cpu->direct->counts.pages++;
	return place->faults++ < FIRST_FAULTS || pays(cpu, place, stay_us);
}

/* The address space that the CPU is in, in a process; NULL: they are all dead. */
static struct place *begin(struct cpu *cpu)
{
	struct direct *direct = cpu->direct;
	struct place *place = place_of(direct, cpu->cr3);
	if (place) {
		place->used = ++direct->uses;
		return place;
	}
	place = &direct->places[0];
	for (uint32_t i = 1; i < direct->place_count; i++)
		if (direct->places[i].used < place->used)
			place = &direct->places[i];
	struct direct_space *space = place->space;
	*place = (struct place){ .space = space, .used = ++direct->uses, .missed = DIRECT_NOWHERE };
	direct->counts.spaces++;
	return direct_space_begin(space, cpu) ? place : NULL;
}

static void give_up(struct cpu *cpu)
{
	for (uint32_t i = 0; i < cpu->direct->place_count; i++)
		cpu->direct->places[i].is_good = false;
	cpu->direct->is_useless = true;
	cpu->direct_waits = 0;
}

/* The program has stopped after `stay_us` of CPU time, its registers are back; whether it may go on at once. */
static bool answer(struct cpu *cpu, struct place *place, enum direct_exit why, uint64_t address,
	uint64_t stay_us)
{
	if (why == DIRECT_FAULT) {
		/* Who decodes a page asks whether it was written here: answered before any is forgotten. */
		if (atomic_load(&cpu->attention) != 0)
			return false;
		enum direct_reach reach = direct_space_reach(place->space, cpu, cpu->rip, address);
		if (reach == DIRECT_REACHED)
			return mapped(cpu, place, stay_us);
		if (reach == DIRECT_TURNED)
			return pays(cpu, place, stay_us);
		if (reach == DIRECT_REFUSED) {
			cpu->direct->counts.refused++;
			cpu->direct_waits = 0; /* until the next switch or look */
			return false;
		}
		place->missed = address;
	}
	bool is_good = pays(cpu, place, direct_worth_us(why, stay_us));
	/* What checks alignment is what comes to it through the loop. */
	if (why == DIRECT_TRAP && cpu_wants_alignment(cpu))
		return false;
	switch (why) {
	case DIRECT_FAULT:
	case DIRECT_SYSCALL:
	case DIRECT_TRAP:
		fallback_one(cpu);
		break;
	case DIRECT_INT3:
		cpu->rip--;
		event_software(cpu, FAULT_BP, 1, true);
		break;
	case DIRECT_STEP:
		cpu->trap_dr6 |= DR6_STEP;
		break;
	case DIRECT_SYSENTER:
		cpu_fault(cpu, NULL, FAULT_GP, 0);
	case DIRECT_KICKED:
	case DIRECT_GONE:
	case DIRECT_LOST:
		break;
	}
	return is_good && is_free(cpu);
}

/* Into the process and out again. */
static bool stay(struct cpu *cpu, struct place *place)
{
	struct direct *direct = cpu->direct;
	struct direct_process *process = direct_space_process(place->space);
	struct user_regs_struct regs;
	uint64_t address = 0;
	put(cpu, &regs);
	if (!put_vectors(cpu, place)) {
		give_up(cpu);
		return false;
	}
	/* Who sets attention looks for this afterwards. */
	atomic_store(&direct->runs, process);
	enum direct_exit why = DIRECT_KICKED;
	uint64_t used_us = direct_process_used_us(process);
	if (atomic_load(&cpu->attention) == 0)
		why = direct_process_run(process, &regs, &address);
	atomic_store(&direct->runs, NULL);
	direct->counts.stops[why]++;
	if (why == DIRECT_GONE) {
		give_up(cpu);
		return false;
	}
	/* Somebody has killed it: what the program had in registers is nowhere. */
	if (why == DIRECT_LOST || !take_vectors(cpu, place))
		longjmp(cpu->loop, LEAVE_BROKEN);
	take(cpu, &regs);
	take_selectors(cpu, &regs);
	used_us = direct_process_used_us(process) - used_us;
	direct->counts.used_us += used_us;
	return answer(cpu, place, why, address, used_us);
}

/* Another program has come to the same CR3. */
static void renew(struct cpu *cpu, struct place *place)
{
	place->is_good = false;
	place->stay_us = place->rest = place->rest_until = 0;
	place->stays = place->faults = 0;
	place->missed = DIRECT_NOWHERE;
	cpu->direct_waits = 0;
}

void direct_run(struct cpu *cpu)
{
	if (!can(cpu) || cpu->direct->place_count == 0 || cpu->direct->is_useless) {
		cpu->direct_waits = 0;
		return;
	}
	struct place *place = begin(cpu);
	if (!place) {
		give_up(cpu);
		return;
	}
	cpu->direct->counts.entries += !place->is_good;
	place->is_good = true;
	do {
		if (!direct_space_look(place->space, cpu, cpu->direct_epoch)) {
			renew(cpu, place);
			return;
		}
		if (place->missed != DIRECT_NOWHERE)
			direct_space_fill(place->space, cpu, place->missed);
		place->missed = DIRECT_NOWHERE;
		if (!direct_space_commit(place->space)) {
			give_up(cpu);
			return;
		}
	} while (stay(cpu, place) && can(cpu));
}
