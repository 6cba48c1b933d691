/* SPDX-License-Identifier: Apache-2.0 */
/*
 * soft.c - the loop that runs a CPU, and the contract of engine.h.
 *
 * A CPU is its thread's own. Other threads reach it by bits in `attention`, the LAPIC's IRR and
 * `notices`; it looks at them between blocks. One more thread waits for the timers of all CPUs.
 */
#include "vmm/soft/soft.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <x86intrin.h>

#include "base/log.h"
#include "vmm/large.h"
#include "vmm/soft/apic.h"
#include "vmm/soft/cache.h"
#include "vmm/soft/code.h"
#include "vmm/soft/code_map.h"
#include "vmm/soft/cpuid.h"
#include "vmm/soft/direct.h"
#include "vmm/soft/event.h"
#include "vmm/soft/fpu.h"
#include "vmm/soft/io.h"
#include "vmm/soft/ioapic.h"
#include "vmm/soft/memory.h"
#include "vmm/soft/native.h"
#include "vmm/soft/nmi.h"
#include "vmm/soft/notice.h"
#include "vmm/soft/pic.h"
#include "vmm/soft/pit.h"
#include "vmm/soft/saved.h"
#include "vmm/soft/spin.h"
#include "vmm/soft/vector.h"

/* Below struct cpu, where the host's stack pointer is while translated code runs. */
#define SIGNAL_ROOM (64 * 1024u)

/* Both; struct cpu begins and ends with a large page of the host, see native.c. */
#define CPU_BYTES (SIGNAL_ROOM + (sizeof(struct cpu) + LARGE_BYTES - 1) / LARGE_BYTES * LARGE_BYTES)

enum how { HOW_INTERPRETED, HOW_TRANSLATED, HOW_DIRECT, HOW_LOCKSTEP, HOW_MAPPED };

static struct soft *soft_of(struct cpus *cpus)
{
	return container_of(cpus, struct soft, cpus);
}

static void start_up(struct cpu *cpu)
{
	uint32_t vector = atomic_load(&cpu->sipi_vector);
	if (cpu->activity != CPU_WAITS_FOR_SIPI)
		return;
	cpu->activity = CPU_ACTIVE;
	cpu->segments[CPU_CS].selector = (uint16_t)(vector << 8);
	cpu->segments[CPU_CS].base = vector << 12;
	cpu->rip = 0;
	cpu_update_mode(cpu);
}

/* The vector to deliver now, or -1. `vector` is what the local APIC had. */
static int take_interrupt(struct cpu *cpu, int vector)
{
	if (vector >= 0) {
		lapic_accept(cpu, vector);
		return vector;
	}
	if (!lapic_takes_pic(cpu))
		return -1;
	pthread_mutex_lock(&cpu->soft->lock);
	if (pic_output(cpu->soft))
		vector = pic_accept(cpu->soft);
	pthread_mutex_unlock(&cpu->soft->lock);
	return vector;
}

static void look_for_interrupts(struct cpu *cpu)
{
	/* The last instruction's trap comes first: delivered in the handler it would be the kernel's, and lost. */
	bool has_trap = cpu->trap_dr6 && !cpu->shadow_is_ss;
	if (has_trap || cpu->shadow || cpu->event_is_pending || cpu->activity > CPU_HALTED) {
		cpu->irq_waits = true; /* for all that is known */
		return;
	}
	/* Looked at before the NMI: of somebody who sends first the one and then the other, the NMI comes first. */
	int vector = lapic_pending(cpu);
	if (nmi_take(cpu)) {
		cpu->activity = CPU_ACTIVE;
		event_external(cpu, FAULT_NMI);
		cpu_call(cpu, ATTENTION_IRQ);
		return;
	}
	/* What comes later calls again. */
	bool is_off = !(cpu->rflags_rest & FLAG_IF);
	cpu->irq_waits = is_off && (vector >= 0 || lapic_takes_pic(cpu));
	if (is_off)
		return;
	vector = take_interrupt(cpu, vector);
	if (vector < 0)
		return;
	cpu->activity = CPU_ACTIVE;
	event_external(cpu, (uint32_t)vector);
	cpu_call(cpu, ATTENTION_IRQ); /* another may wait */
}

/* Whether accesses of ring 3 are checked is a matter of all that the TLB holds: few programs ever want it. */
static void look_for_alignment(struct cpu *cpu)
{
	bool wants = cpu_wants_alignment(cpu);
	if (wants == (cpu->checks_alignment != 0))
		return;
	cpu->checks_alignment = wants;
	tlb_flush(cpu, true);
}

/* Does what other threads ask for; true if run() ends. */
static bool attend(struct cpu *cpu)
{
	uint32_t why = atomic_exchange(&cpu->attention, 0);
	cpu->link = NULL;
	if (why & ATTENTION_CODE)
		notice_handle(cpu);
	if (why & ATTENTION_LATER)
		cache_flush(cpu);
	if (why & ATTENTION_INIT)
		saved_init(cpu);
	if (why & ATTENTION_SIPI)
		start_up(cpu);
	if (why & ATTENTION_KICK) {
		cpu_call(cpu, why & (ATTENTION_IRQ | ATTENTION_NMI));
		cpu->exit->why = CPU_KICKED;
		return true;
	}
	if ((why & ATTENTION_IRQ) && cpu->direct)
		direct_consider(cpu);
	if ((why & ATTENTION_STEP) && cpu->cpl == 3)
		look_for_alignment(cpu);
	if (why & (ATTENTION_IRQ | ATTENTION_NMI))
		look_for_interrupts(cpu);
	return false;
}

static void sleep_until_called(struct cpu *cpu)
{
	atomic_store(&cpu->is_idle, true);
	while (atomic_load(&cpu->attention) == 0)
		syscall(SYS_futex, &cpu->attention, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	atomic_store(&cpu->is_idle, false);
	direct_watch(cpu);
}

static void check_code_breakpoints(struct cpu *cpu)
{
	uint64_t linear = cpu->rip + cpu->base[CPU_CS];
	uint32_t hits = 0;
	for (int i = 0; i < BREAKPOINTS; i++)
		if ((cpu->dr[7] >> (2 * i) & 3) && !(cpu->dr[7] >> (16 + 4 * i) & 3) &&
			cpu->dr[i] == linear)
			hits |= 1u << i;
	if (!hits)
		return;
	cpu->dr[6] = (cpu->dr[6] & ~UINT64_C(15)) | hits;
	cpu_fault(cpu, NULL, FAULT_DB, 0);
}

/* One instruction, with everything that counts only between instructions. */
static void step(struct cpu *cpu)
{
	bool traps = cpu->rflags_rest & FLAG_TF, had_shadow = cpu->shadow;
	bool was_ss = cpu->shadow_is_ss;
	cpu->shadow = cpu->shadow_is_ss = false;
	if (cpu->has_code_breakpoints && !(cpu->rflags_rest & FLAG_RF) &&
		!(was_ss && cpu->is_intel) && !cpu->io_count)
		check_code_breakpoints(cpu);
	const struct op *op = cache_behind_entry(cache_find(cpu));
	cpu->rflags_rest &= ~FLAG_RF;
	cpu->trap_is_new = false;
	cpu->io_next = 0;
	/* Before, for it may leave in its midst. */
	if (had_shadow)
		cpu_call(cpu, ATTENTION_IRQ | ATTENTION_NMI);
	const struct op *next = op->run(cpu, op);
	io_commit(cpu);
	cpu->link = NULL;
	if (next)
		cpu->rip = (cpu->r[R_CODE] + next->offset) & rip_mask(cpu);
	if (traps && !cpu->event_is_pending && !cpu->shadow_is_ss && !cpu->trap_is_new)
		cpu->trap_dr6 |= DR6_STEP;
	cpu->trap_is_new = false;
}

/* The debug trap that the last instruction has earned. */
static bool take_trap(struct cpu *cpu)
{
	if (!cpu->trap_dr6 || cpu->shadow_is_ss)
		return false;
	cpu->dr[6] = (cpu->dr[6] & ~UINT64_C(15)) | cpu->trap_dr6;
	cpu->trap_dr6 = 0;
	if (cpu->activity == CPU_HALTED)
		cpu->activity = CPU_ACTIVE;
	event_debug_trap(cpu);
	return true;
}

/* In rings 1 and 2 there is nobody who would translate what has run often. */
static void run_ops(struct cpu *cpu)
{
	const struct op *op = cache_behind_entry(cache_find(cpu));
	while (op)
		op = op->run(cpu, op);
}

static void loop(struct cpu *cpu)
{
	for (;;) {
		if (atomic_load_explicit(&cpu->attention, memory_order_relaxed) && attend(cpu))
			return;
		if (cpu->event_is_pending) {
			cpu->io_next = 0;
			event_deliver(cpu);
			cpu_call(cpu, ATTENTION_IRQ | ATTENTION_NMI);
			io_commit(cpu);
			cpu->link = NULL;
		} else if (take_trap(cpu)) {
			continue;
		} else if (cpu->activity != CPU_ACTIVE) {
			sleep_until_called(cpu);
		} else if (cpu_must_step(cpu)) {
			step(cpu);
		} else if (direct_wants(cpu)) {
			cpu->link = NULL;
			direct_run(cpu);
		} else if (native_can(cpu)) {
			direct_watch(cpu);
			native_run(cpu);
		} else {
			run_ops(cpu);
		}
	}
}

/* The exception that ended an instruction; true on a triple fault. */
static bool take_fault(struct cpu *cpu)
{
	memory_abandon(cpu);
	io_commit(cpu);
	cpu->link = NULL;
	cpu->trap_dr6 = 0;
	cpu->trap_is_new = false;
	if (cpu->fault_vector == FAULT_DB && !cpu->is_delivering)
		cpu->shadow = false;
	if (event_from_fault(cpu))
		return false;
	cpu->activity = CPU_SHUT_DOWN;
	cpu->event_is_pending = cpu->is_delivering = false;
	cpu->exit->why = CPU_SHUTDOWN;
	return true;
}

static void *run_timers(void *data);

/* Nobody asks before there is a state; what was loaded meanwhile took longer than it takes to measure. */
static void measure_tsc(struct soft *soft)
{
	struct cpuid_instant start = { .tsc = soft->start_tsc, .ns = soft->start_ns };
	if (!soft->tsc_khz)
		soft->tsc_khz = cpuid_tsc_khz(&start);
}

static int soft_start(struct cpus *cpus, void (*prepare)(void *data), void *data)
{
	struct soft *soft = soft_of(cpus);
	int code = 0;
	pthread_mutex_lock(&soft->lock);
	measure_tsc(soft);
	if (!soft->has_timer) {
		soft->prepare = prepare;
		soft->prepare_data = data;
		code = pthread_create(&soft->timer, NULL, run_timers, soft);
		__atomic_store_n(&soft->has_timer, code == 0, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&soft->lock);
	return -code;
}

/* Where programs cannot run directly they are translated. */
static void soft_prepare(struct cpus *cpus, uint32_t number)
{
	struct cpu *cpu = soft_of(cpus)->cpu[number];
	struct error e = {};
	if (cpu->direct && direct_prepare(cpu, &e) < 0 && number == 0)
		log_info("programs are only translated: %s", e.text);
}

static int soft_run(struct cpus *cpus, uint32_t number, struct cpu_exit *exit)
{
	struct soft *soft = soft_of(cpus);
	struct cpu *cpu = soft->cpu[number];
	if (!__atomic_load_n(&soft->has_timer, __ATOMIC_ACQUIRE) &&
		soft_start(cpus, NULL, NULL) < 0)
		return -EIO;
	cpu->exit = exit;
	spin_thread(cpu);
	if (cpu->io_waits) {
		cpu->io[cpu->io_count - 1].value = exit->value;
		cpu->io_waits = false;
	}
	switch (setjmp(cpu->loop)) {
	case LEAVE_FAULT:
		if (take_fault(cpu))
			return 0;
		break;
	case LEAVE_EXIT:
		memory_abandon(cpu);
		cpu->link = NULL;
		return 0;
	case LEAVE_BROKEN:
		return -EIO;
	default:
		/* What the machine has just answered is taken in before a kick counts. */
		if (cpu->io_count && !cpu->event_is_pending && cpu->activity == CPU_ACTIVE)
			step(cpu);
		break;
	}
	loop(cpu);
	return 0;
}

static void soft_kick(struct cpus *cpus, uint32_t cpu)
{
	cpu_wake(soft_of(cpus)->cpu[cpu], ATTENTION_KICK);
}

/* Holding soft->lock. */
static void set_line(struct soft *soft, uint32_t line, bool level)
{
	if (line < 16)
		pic_line(soft, line, level);
	if (line < IRQ_LINES)
		ioapic_line(soft, line, level);
}

static void soft_irq(struct cpus *cpus, uint32_t line, bool level)
{
	struct soft *soft = soft_of(cpus);
	pthread_mutex_lock(&soft->lock);
	set_line(soft, line, level);
	pthread_mutex_unlock(&soft->lock);
}

static void soft_msi(struct cpus *cpus, guest_addr at, uint32_t data)
{
	apic_msi(soft_of(cpus), at, data);
}

static void soft_nmi(struct cpus *cpus, uint32_t number)
{
	nmi_raise(soft_of(cpus)->cpu[number]);
}

static int soft_doorbell(struct cpus *cpus, guest_addr at, int event_fd)
{
	struct soft *soft = soft_of(cpus);
	int status = 0;
	pthread_mutex_lock(&soft->lock);
	uint32_t count = soft->doorbell_count, i = 0;
	while (i < count && soft->doorbells[i].at != at)
		i++;
	if (event_fd < 0) {
		if (i < count)
			soft->doorbells[i] = soft->doorbells[--count];
	} else if (i == DOORBELLS_MAX) {
		status = -ENOSPC;
	} else {
		soft->doorbells[i] = (struct doorbell){ .at = at, .event_fd = event_fd };
		count = i == count ? count + 1 : count;
	}
	atomic_store(&soft->doorbell_count, count);
	pthread_mutex_unlock(&soft->lock);
	return status;
}

static int soft_load(struct cpus *cpus, uint32_t cpu, const struct cpu_state *state)
{
	measure_tsc(soft_of(cpus));
	return saved_to(soft_of(cpus)->cpu[cpu], state);
}

static int soft_save(struct cpus *cpus, uint32_t cpu, struct cpu_state *state)
{
	saved_from(soft_of(cpus)->cpu[cpu], state);
	return 0;
}

static int soft_load_chips(struct cpus *cpus, const struct chips_state *state)
{
	struct soft *soft = soft_of(cpus);
	if (state->version != CHIPS_STATE_VERSION || state->bytes != sizeof(*state))
		return -EINVAL;
	pthread_mutex_lock(&soft->lock);
	memcpy(soft->pic, state->pic, sizeof(soft->pic));
	for (int i = 0; i < 2; i++)
		soft->pic[i].priority &= 7;
	soft->ioapic = state->ioapic;
	pit_load(soft, state);
	pthread_mutex_unlock(&soft->lock);
	return 0;
}

static int soft_save_chips(struct cpus *cpus, struct chips_state *state)
{
	struct soft *soft = soft_of(cpus);
	*state = (struct chips_state){ .version = CHIPS_STATE_VERSION, .bytes = sizeof(*state) };
	pthread_mutex_lock(&soft->lock);
	memcpy(state->pic, soft->pic, sizeof(soft->pic));
	state->ioapic = soft->ioapic;
	pit_save(soft, state);
	pthread_mutex_unlock(&soft->lock);
	return 0;
}

static void *run_timers(void *data)
{
	struct soft *soft = data;
	if (soft->prepare)
		soft->prepare(soft->prepare_data);
	pthread_mutex_lock(&soft->lock);
	while (!soft->timer_ends) {
		uint64_t now = cpu_now(), pit_next;
		uint64_t next = apic_timers(soft, now);
		if (pit_tick(soft, now, &pit_next)) {
			set_line(soft, 0, true);
			set_line(soft, 0, false);
		}
		uint64_t look_next = direct_timers(soft, now);
		next = pit_next < next ? pit_next : next;
		next = look_next < next ? look_next : next;
		soft->timer_next_ns = next;
		if (next == UINT64_MAX) {
			pthread_cond_wait(&soft->timer_wait, &soft->lock);
			continue;
		}
		struct timespec until = { .tv_sec = (time_t)(next / NS_PER_SEC),
			.tv_nsec = (long)(next % NS_PER_SEC) };
		pthread_cond_timedwait(&soft->timer_wait, &soft->lock, &until);
	}
	pthread_mutex_unlock(&soft->lock);
	return NULL;
}

static int soft_probe(struct error *e)
{
	if (!cpuid_host_has(HOST_HAS_BASE))
		return error_set(e, -ENOTSUP,
			"engine soft: the host's CPU is older than x86-64-v3 without AVX");
	return 0;
}

/* What running programs directly was worth. */
static void tell_counts(const struct soft *soft)
{
	struct direct_counts sum = {};
	for (uint32_t i = 0; i < soft->cpus.count; i++)
		if (soft->cpu[i] && soft->cpu[i]->direct)
			direct_add_counts(soft->cpu[i], &sum);
	if (sum.entries == 0)
		return;
	uint64_t stops = 0;
	for (uint32_t i = 0; i < ARRAY_SIZE(sum.stops); i++)
		stops += sum.stops[i];
	log_info(
		"programs ran directly entries=%ju rests=%ju spaces=%ju ms=%ju stops=%ju faults=%ju "
		"mapped=%ju calls=%ju kicks=%ju refused=%ju",
		(uintmax_t)sum.entries, (uintmax_t)sum.rests, (uintmax_t)sum.spaces,
		(uintmax_t)(sum.used_us / 1000), (uintmax_t)stops,
		(uintmax_t)sum.stops[DIRECT_FAULT], (uintmax_t)sum.pages,
		(uintmax_t)sum.stops[DIRECT_SYSCALL], (uintmax_t)sum.stops[DIRECT_KICKED],
		(uintmax_t)sum.refused);
}

static void soft_close(struct cpus *cpus)
{
	if (!cpus)
		return;
	struct soft *soft = soft_of(cpus);
	if (soft->has_timer) {
		pthread_mutex_lock(&soft->lock);
		soft->timer_ends = true;
		pthread_cond_signal(&soft->timer_wait);
		pthread_mutex_unlock(&soft->lock);
		pthread_join(soft->timer, NULL);
	}
	soft->cpus.guest->watch = NULL;
	tell_counts(soft);
	for (uint32_t i = 0; i < soft->cpus.count; i++) {
		if (!soft->cpu[i])
			continue;
		cache_free(soft->cpu[i]->code);
		native_done(soft->cpu[i]);
		direct_done(soft->cpu[i]);
		vector_done(soft->cpu[i]);
		munmap((uint8_t *)soft->cpu[i] - SIGNAL_ROOM, CPU_BYTES);
	}
	pthread_cond_destroy(&soft->timer_wait);
	pthread_mutex_destroy(&soft->lock);
	pthread_mutex_destroy(&soft->split_lock);
	free(soft);
}

static int open_cpu(struct soft *soft, uint32_t number, enum how how, struct error *e)
{
	uint8_t *memory =
		large_map(CPU_BYTES, LARGE_BYTES - SIGNAL_ROOM, PROT_READ | PROT_WRITE, -1);
	if (memory == MAP_FAILED)
		return error_errno(e, "memory of CPU %u", number);
	struct cpu *cpu = (struct cpu *)(void *)(memory + SIGNAL_ROOM);
	soft->cpu[number] = cpu;
	cpu->number = number;
	cpu->soft_count = soft->cpus.count;
	cpu->soft = soft;
	cpu->guest = soft->cpus.guest;
	uint32_t vendor[4];
	cpuid_query(cpu, 0, 0, vendor);
	cpu->is_intel = vendor[1] == 0x756e6547; /* "Genu" */
	cpu->code = cache_new();
	int status = vector_init(cpu, e);
	if (status == 0 && how != HOW_INTERPRETED)
		status = native_init(cpu, how == HOW_LOCKSTEP, e);
	if (status == 0 && how == HOW_MAPPED)
		status = number == 0
			? code_map_open(&cpu->native->map_fd, e)
			: code_map_share(soft->cpu[0]->native->map_fd, &cpu->native->map_fd, e);
	if (status < 0)
		return status;
	if (soft->has_direct)
		direct_init(cpu);
	tlb_init(cpu);
	cache_flush(cpu);
	struct cpu_state state;
	cpu_state_reset(&state, number);
	return saved_to(cpu, &state);
}

static void init_locks(struct soft *soft)
{
	pthread_condattr_t attributes;
	pthread_mutex_init(&soft->lock, NULL);
	pthread_mutex_init(&soft->split_lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&soft->timer_wait, &attributes);
	pthread_condattr_destroy(&attributes);
}

static int open_as(const struct engine *engine, enum how how, struct guest *guest, uint32_t count,
	struct cpus **ret, struct error *e)
{
	if (count == 0 || count > CPUS_MAX)
		return error_set(e, -EINVAL, "cpus: %u is not 1 to %d", count, CPUS_MAX);
	int can = soft_probe(e);
	if (can < 0)
		return can;
	struct soft *soft = alloc(struct soft);
	soft->cpus = (struct cpus){ .engine = engine, .guest = guest, .count = count };
	struct cpuid_instant start = cpuid_now();
	soft->start_ns = start.ns;
	soft->start_tsc = start.tsc;
	soft->tsc_offset = -soft->start_tsc;
	soft->wrote = notice_wrote;
	soft->protect = notice_protect;
	soft->ended = ioapic_ended;
	soft->has_direct = how == HOW_DIRECT;
	init_locks(soft);
	pic_reset(soft);
	ioapic_reset(soft);
	pit_reset(soft);
	for (uint32_t i = 0; i < count; i++) {
		int status = open_cpu(soft, i, how, e);
		if (status < 0) {
			soft_close(&soft->cpus);
			return status;
		}
	}
	guest->watch = notice_watched;
	guest->watch_data = soft;
	*ret = &soft->cpus;
	return 0;
}

uint64_t soft_instructions(const struct cpus *cpus, uint32_t cpu)
{
	return ((const struct soft *)(const void *)cpus)
		->cpu[cpu]
		->instructions; /* cpus is first */
}

static int direct_open(struct guest *guest, uint32_t count, struct cpus **ret, struct error *e)
{
	return open_as(&soft_engine, HOW_DIRECT, guest, count, ret, e);
}

static int translating_open(struct guest *guest, uint32_t count, struct cpus **ret, struct error *e)
{
	return open_as(&soft_translator_engine, HOW_TRANSLATED, guest, count, ret, e);
}

static int interpreting_open(
	struct guest *guest, uint32_t count, struct cpus **ret, struct error *e)
{
	return open_as(&soft_interpreter_engine, HOW_INTERPRETED, guest, count, ret, e);
}

static int lockstep_open(struct guest *guest, uint32_t count, struct cpus **ret, struct error *e)
{
	if (count != 1)
		return error_set(e, -EINVAL, "cpus: in lock-step there is one");
	return open_as(&soft_lockstep_engine, HOW_LOCKSTEP, guest, count, ret, e);
}

static int mapped_open(struct guest *guest, uint32_t count, struct cpus **ret, struct error *e)
{
	return open_as(&soft_mapped_engine, HOW_MAPPED, guest, count, ret, e);
}

#define ENGINE(NAME, OPEN) \
	{ \
		.name = NAME, .probe = soft_probe, .open = OPEN, .close = soft_close, \
		.start = soft_start, .prepare = soft_prepare, .run = soft_run, .kick = soft_kick, \
		.irq = soft_irq, .msi = soft_msi, .nmi = soft_nmi, .doorbell = soft_doorbell, \
		.load = soft_load, .save = soft_save, .load_chips = soft_load_chips, \
		.save_chips = soft_save_chips, \
	}

const struct engine soft_engine = ENGINE("soft", direct_open);
const struct engine soft_translator_engine = ENGINE("soft-translator", translating_open);
const struct engine soft_interpreter_engine = ENGINE("soft-interpreter", interpreting_open);
const struct engine soft_lockstep_engine = ENGINE("soft-lockstep", lockstep_open);
const struct engine soft_mapped_engine = ENGINE("soft-mapped", mapped_open);
