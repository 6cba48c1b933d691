/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apic.c - the local APIC.
 *
 * IRR and TMR are set by any thread, the rest is its CPU's own; the timer's fields are guarded by
 * soft->lock because the timer thread reads them.
 */
#include "vmm/soft/apic.h"

#include <string.h>

#include "vmm/soft/nmi.h"

#define APIC_ID       0x20
#define APIC_VERSION  0x30
#define APIC_TPR      0x80
#define APIC_APR      0x90
#define APIC_PPR      0xa0
#define APIC_EOI      0xb0
#define APIC_LDR      0xd0
#define APIC_DFR      0xe0
#define APIC_SVR      0xf0
#define APIC_ISR      0x100
#define APIC_TMR      0x180
#define APIC_IRR      0x200
#define APIC_ESR      0x280
#define APIC_ICR_LOW  0x300
#define APIC_ICR_HIGH 0x310
#define APIC_LVT      0x320
#define APIC_LVT_LAST 0x370
#define APIC_INITIAL  0x380
#define APIC_CURRENT  0x390
#define APIC_DIVIDE   0x3e0
#define APIC_SELF     0x3f0

#define LVT_MASKED   0x10000u
#define LVT_TIMER    0
#define LVT_LINT0    3
#define LVT_ERROR    5
#define TIMER_MODE   0x60000u
#define TIMER_PERIOD 0x20000u
#define TIMER_TSC    0x40000u

#define SVR_ENABLED 0x100u

static bool is_x2(const struct cpu *cpu)
{
	return cpu->lapic.base & LAPIC_BASE_X2;
}

static bool is_enabled(const struct cpu *cpu)
{
	return (cpu->lapic.base & LAPIC_BASE_ENABLED) && (cpu->lapic.svr & SVR_ENABLED);
}

void lapic_reset(struct cpu *cpu)
{
	struct lapic *lapic = &cpu->lapic;
	uint64_t base = lapic->base & LAPIC_BASE_BSP;
	memset(lapic, 0, sizeof(*lapic));
	lapic->base = base | LAPIC_BASE_ENABLED | UINT64_C(0xfee00000);
	lapic->id = cpu->number;
	lapic->version = 0x50014;
	lapic->dfr = 0xffffffff;
	lapic->svr = 0xff;
	for (int i = 0; i < 6; i++)
		lapic->lvt[i] = LVT_MASKED;
}

static int highest(const uint32_t *words)
{
	for (int i = 7; i >= 0; i--)
		if (words[i])
			return 32 * i + 31 - __builtin_clz(words[i]);
	return -1;
}

static int highest_irr(const struct lapic *lapic)
{
	uint32_t words[8];
	for (int i = 0; i < 8; i++)
		words[i] = atomic_load(&lapic->irr[i]);
	return highest(words);
}

static uint32_t priority(const struct lapic *lapic)
{
	int in_service = highest(lapic->isr);
	uint32_t isr = in_service < 0 ? 0 : (uint32_t)in_service & 0xf0;
	return (lapic->tpr & 0xf0) >= isr ? lapic->tpr : isr;
}

int lapic_pending(const struct cpu *cpu)
{
	if (!is_enabled(cpu))
		return -1;
	int vector = highest_irr(&cpu->lapic);
	if (vector < 0 || (uint32_t)(vector & 0xf0) <= (priority(&cpu->lapic) & 0xf0))
		return -1;
	return vector;
}

void lapic_accept(struct cpu *cpu, int vector)
{
	uint32_t bit = 1u << (vector & 31);
	atomic_fetch_and(&cpu->lapic.irr[vector >> 5], ~bit);
	cpu->lapic.isr[vector >> 5] |= bit;
}

bool lapic_takes_pic(const struct cpu *cpu)
{
	if (!(cpu->lapic.base & LAPIC_BASE_ENABLED))
		return cpu->number == 0;
	uint32_t lint0 = cpu->lapic.lvt[LVT_LINT0];
	return !(lint0 & LVT_MASKED) && (lint0 >> 8 & 7) == DELIVER_EXTINT;
}

static void end_interrupt(struct cpu *cpu)
{
	int vector = highest(cpu->lapic.isr);
	if (vector < 0)
		return;
	uint32_t bit = 1u << (vector & 31);
	cpu->lapic.isr[vector >> 5] &= ~bit;
	if (atomic_load(&cpu->lapic.tmr[vector >> 5]) & bit)
		cpu->soft->ended(cpu->soft, (uint32_t)vector);
	cpu_call(cpu, ATTENTION_IRQ);
}

static void raise(struct cpu *cpu, uint32_t vector, bool is_level)
{
	if (!is_enabled(cpu))
		return;
	if (vector < 16) {
		cpu->lapic.esr_latched |= 0x40;
		return;
	}
	uint32_t bit = 1u << (vector & 31);
	if (is_level)
		atomic_fetch_or(&cpu->lapic.tmr[vector >> 5], bit);
	else
		atomic_fetch_and(&cpu->lapic.tmr[vector >> 5], ~bit);
	atomic_fetch_or(&cpu->lapic.irr[vector >> 5], bit);
	cpu_wake(cpu, ATTENTION_IRQ);
}

static void deliver(struct cpu *cpu, const struct apic_message *message)
{
	switch (message->mode) {
	case DELIVER_FIXED:
	case DELIVER_LOWEST:
		raise(cpu, message->vector, message->is_level);
		break;
	case DELIVER_NMI:
		nmi_raise(cpu);
		break;
	case DELIVER_INIT:
		cpu_wake(cpu, ATTENTION_INIT);
		break;
	case DELIVER_STARTUP:
		atomic_store(&cpu->sipi_vector, message->vector);
		cpu_wake(cpu, ATTENTION_SIPI);
		break;
	default:
		break;
	}
}

static bool is_logical_target(const struct cpu *cpu, uint32_t destination)
{
	const struct lapic *lapic = &cpu->lapic;
	if (is_x2(cpu)) {
		uint32_t ldr = (cpu->number >> 4) << 16 | 1u << (cpu->number & 15);
		return destination >> 16 == ldr >> 16 && (destination & ldr & 0xffff);
	}
	uint32_t mine = lapic->ldr >> 24;
	if (lapic->dfr >> 28 == 0xf)
		return mine & destination & 0xff;
	return mine >> 4 == (destination >> 4 & 15) && (mine & destination & 15);
}

static bool is_target(const struct cpu *cpu, const struct apic_message *message)
{
	uint32_t everyone = message->is_x2 ? UINT32_MAX : 0xff;
	if (message->destination == everyone)
		return true;
	if (message->is_logical)
		return is_logical_target(cpu, message->destination);
	return cpu->lapic.id == message->destination;
}

void apic_send(struct soft *soft, const struct apic_message *message)
{
	for (uint32_t i = 0; i < soft->cpus.count; i++) {
		struct cpu *cpu = soft->cpu[i];
		if (!is_target(cpu, message))
			continue;
		if (message->mode == DELIVER_LOWEST && !is_enabled(cpu))
			continue;
		deliver(cpu, message);
		if (message->mode == DELIVER_LOWEST)
			return;
	}
}

void apic_msi(struct soft *soft, guest_addr at, uint32_t data)
{
	/* Bits 5 to 11 of the address carry destination bits 8 to 14, as with KVM. */
	apic_send(soft,
		&(struct apic_message){
			.destination =
				(uint32_t)(at >> 12 & 0xff) | (uint32_t)(at >> 5 & 0x7f) << 8,
			.is_logical = at & 4,
			.is_level = data & 0x8000,
			.vector = (uint8_t)data,
			.mode = data >> 8 & 7,
		});
}

static void send_ipi(struct cpu *cpu, uint32_t low, uint32_t destination)
{
	struct soft *soft = cpu->soft;
	struct apic_message message = {
		.destination = destination,
		.is_logical = low & 0x800,
		.is_x2 = is_x2(cpu),
		.vector = (uint8_t)low,
		.mode = low >> 8 & 7,
	};
	uint32_t shorthand = low >> 18 & 3;
	bool is_deassert = message.mode == DELIVER_INIT && (low & 0xc000) == 0x8000;
	if (is_deassert)
		return;
	if (shorthand == 0) {
		apic_send(soft, &message);
		return;
	}
	for (uint32_t i = 0; i < soft->cpus.count; i++) {
		bool is_self = soft->cpu[i] == cpu;
		if ((shorthand == 1 && is_self) || shorthand == 2 || (shorthand == 3 && !is_self))
			deliver(soft->cpu[i], &message);
	}
}

static uint32_t divider(const struct lapic *lapic)
{
	uint32_t code = (lapic->timer_divide & 3) | (lapic->timer_divide >> 1 & 4);
	return code == 7 ? 1 : 2u << code;
}

static uint64_t period_ns(const struct lapic *lapic)
{
	return (uint64_t)lapic->timer_initial * divider(lapic) * LAPIC_TICK_NS;
}

static void timers_changed(struct soft *soft, uint64_t at_ns)
{
	if (at_ns != 0 && at_ns < soft->timer_next_ns)
		pthread_cond_signal(&soft->timer_wait);
}

static void fire(struct cpu *cpu)
{
	uint32_t lvt = cpu->lapic.lvt[LVT_TIMER];
	if (!(lvt & LVT_MASKED))
		raise(cpu, lvt & 0xff, false);
}

/* What is due at `now` happens. Holding soft->lock. */
static void expire(struct cpu *cpu, uint64_t now)
{
	struct lapic *lapic = &cpu->lapic;
	if (lapic->timer_at_ns == 0 || lapic->timer_at_ns > now)
		return;
	uint64_t period = period_ns(lapic);
	bool is_periodic = (lapic->lvt[LVT_TIMER] & TIMER_MODE) == TIMER_PERIOD;
	lapic->tsc_deadline = 0;
	if (is_periodic && period > 0) {
		/* What was missed meanwhile comes once. */
		uint64_t missed = (now - lapic->timer_at_ns) / period;
		lapic->timer_at_ns += (missed + 1) * period;
	} else {
		lapic->timer_at_ns = 0;
	}
	fire(cpu);
}

/*
 * Before the guest reads or sets the timer: what has run out has, even if the timers' thread has not come to it
 * yet. In another mode it would start again, and set anew never have come.
 */
static void settle_timer(struct cpu *cpu)
{
	uint64_t at = __atomic_load_n(&cpu->lapic.timer_at_ns, __ATOMIC_RELAXED), now = cpu_now();
	if (at == 0 || at > now)
		return;
	pthread_mutex_lock(&cpu->soft->lock);
	expire(cpu, now);
	pthread_mutex_unlock(&cpu->soft->lock);
}

static void start_timer(struct cpu *cpu)
{
	struct lapic *lapic = &cpu->lapic;
	pthread_mutex_lock(&cpu->soft->lock);
	lapic->timer_start_ns = cpu_now();
	lapic->timer_at_ns = lapic->timer_initial ? lapic->timer_start_ns + period_ns(lapic) : 0;
	timers_changed(cpu->soft, lapic->timer_at_ns);
	pthread_mutex_unlock(&cpu->soft->lock);
}

void lapic_set_deadline(struct cpu *cpu, uint64_t tsc)
{
	struct lapic *lapic = &cpu->lapic;
	if ((lapic->lvt[LVT_TIMER] & TIMER_MODE) != TIMER_TSC)
		return;
	settle_timer(cpu);
	pthread_mutex_lock(&cpu->soft->lock);
	lapic->tsc_deadline = tsc;
	lapic->timer_at_ns = 0;
	bool is_past = false;
	if (tsc != 0) {
		int64_t ticks = (int64_t)(tsc - cpu_tsc(cpu));
		uint64_t wait_ns = 0;
		if (ticks > 0)
			wait_ns =
				(uint64_t)((unsigned __int128)ticks * 1000000 / cpu->soft->tsc_khz);
		is_past = wait_ns == 0;
		lapic->timer_at_ns = is_past ? 0 : cpu_now() + wait_ns;
		lapic->tsc_deadline = is_past ? 0 : tsc;
	}
	if (is_past)
		fire(cpu);
	timers_changed(cpu->soft, lapic->timer_at_ns);
	pthread_mutex_unlock(&cpu->soft->lock);
}

uint64_t apic_timers(struct soft *soft, uint64_t now)
{
	uint64_t next = UINT64_MAX;
	for (uint32_t i = 0; i < soft->cpus.count; i++) {
		struct cpu *cpu = soft->cpu[i];
		struct lapic *lapic = &cpu->lapic;
		expire(cpu, now);
		if (lapic->timer_at_ns != 0 && lapic->timer_at_ns < next)
			next = lapic->timer_at_ns;
	}
	return next;
}

static uint32_t current_count(const struct cpu *cpu)
{
	const struct lapic *lapic = &cpu->lapic;
	uint64_t at = lapic->timer_at_ns, now = cpu_now();
	if (at == 0 || (lapic->lvt[LVT_TIMER] & TIMER_MODE) == TIMER_TSC || at <= now)
		return 0;
	return (uint32_t)((at - now) / divider(lapic) / LAPIC_TICK_NS);
}

static uint32_t logical_id(const struct cpu *cpu)
{
	if (is_x2(cpu))
		return (cpu->number >> 4) << 16 | 1u << (cpu->number & 15);
	return cpu->lapic.ldr;
}

uint32_t lapic_read(struct cpu *cpu, uint32_t offset)
{
	struct lapic *lapic = &cpu->lapic;
	offset &= 0xff0;
	if (offset >= APIC_ISR && offset < APIC_TMR)
		return lapic->isr[(offset - APIC_ISR) >> 4];
	if (offset >= APIC_TMR && offset < APIC_IRR)
		return atomic_load(&lapic->tmr[(offset - APIC_TMR) >> 4]);
	if (offset >= APIC_IRR && offset < APIC_ESR)
		return atomic_load(&lapic->irr[(offset - APIC_IRR) >> 4]);
	if (offset >= APIC_LVT && offset <= APIC_LVT_LAST)
		return lapic->lvt[(offset - APIC_LVT) >> 4];
	switch (offset) {
	case APIC_ID:
		return is_x2(cpu) ? lapic->id : lapic->id << 24;
	case APIC_VERSION:
		return lapic->version;
	case APIC_TPR:
		return lapic->tpr;
	case APIC_PPR:
		return priority(lapic);
	case APIC_LDR:
		return logical_id(cpu);
	case APIC_DFR:
		return lapic->dfr;
	case APIC_SVR:
		return lapic->svr;
	case APIC_ESR:
		return lapic->esr;
	case APIC_ICR_LOW:
		return lapic->icr_low;
	case APIC_ICR_HIGH:
		return lapic->icr_high;
	case APIC_INITIAL:
		return lapic->timer_initial;
	case APIC_CURRENT:
		settle_timer(cpu);
		return current_count(cpu);
	case APIC_DIVIDE:
		return lapic->timer_divide;
	default:
		return 0;
	}
}

static void write_lvt(struct cpu *cpu, uint32_t which, uint32_t value)
{
	static const uint32_t writable[6] = { 0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff,
		0x100ff };
	struct lapic *lapic = &cpu->lapic;
	value &= writable[which];
	if (!(lapic->svr & SVR_ENABLED))
		value |= LVT_MASKED;
	if (which == LVT_TIMER)
		settle_timer(cpu);
	/* Between one-shot and periodic the timer goes on. */
	bool has_new_mode = which == LVT_TIMER && ((value ^ lapic->lvt[which]) & TIMER_TSC);
	lapic->lvt[which] = value;
	if (has_new_mode) {
		pthread_mutex_lock(&cpu->soft->lock);
		lapic->timer_at_ns = 0;
		lapic->tsc_deadline = 0;
		pthread_mutex_unlock(&cpu->soft->lock);
	}
	if (which == LVT_LINT0)
		cpu_call(cpu, ATTENTION_IRQ);
}

void lapic_write(struct cpu *cpu, uint32_t offset, uint32_t value)
{
	struct lapic *lapic = &cpu->lapic;
	offset &= 0xff0;
	if (offset >= APIC_LVT && offset <= APIC_LVT_LAST) {
		write_lvt(cpu, (offset - APIC_LVT) >> 4, value);
		return;
	}
	switch (offset) {
	case APIC_ID:
		if (!is_x2(cpu))
			lapic->id = value >> 24;
		break;
	case APIC_TPR:
		lapic->tpr = value & 0xff;
		cpu_call(cpu, ATTENTION_IRQ);
		break;
	case APIC_EOI:
		end_interrupt(cpu);
		break;
	case APIC_LDR:
		lapic->ldr = value & 0xff000000;
		break;
	case APIC_DFR:
		lapic->dfr = value | 0x0fffffff;
		break;
	case APIC_SVR:
		lapic->svr = value & 0x1ff;
		for (int i = 0; i < 6 && !(value & SVR_ENABLED); i++)
			lapic->lvt[i] |= LVT_MASKED;
		cpu_call(cpu, ATTENTION_IRQ);
		break;
	case APIC_ESR:
		lapic->esr = lapic->esr_latched;
		lapic->esr_latched = 0;
		break;
	case APIC_ICR_LOW:
		lapic->icr_low = value & ~0x1000u;
		send_ipi(cpu, value, is_x2(cpu) ? lapic->icr_high : lapic->icr_high >> 24);
		break;
	case APIC_ICR_HIGH:
		lapic->icr_high = value;
		break;
	case APIC_INITIAL:
		if ((lapic->lvt[LVT_TIMER] & TIMER_MODE) == TIMER_TSC)
			break;
		settle_timer(cpu);
		lapic->timer_initial = value;
		start_timer(cpu);
		break;
	case APIC_DIVIDE:
		lapic->timer_divide = value & 0xb;
		break;
	case APIC_SELF:
		if (is_x2(cpu))
			raise(cpu, value & 0xff, false);
		break;
	default:
		break;
	}
}

static bool is_x2_register(uint32_t offset, bool is_write)
{
	static const uint16_t readable[] = { APIC_ID, APIC_VERSION, APIC_TPR, APIC_PPR, APIC_LDR,
		APIC_SVR, APIC_ESR, APIC_ICR_LOW, APIC_INITIAL, APIC_CURRENT, APIC_DIVIDE };
	static const uint16_t writable[] = { APIC_TPR, APIC_EOI, APIC_SVR, APIC_ESR, APIC_ICR_LOW,
		APIC_INITIAL, APIC_DIVIDE, APIC_SELF };
	const uint16_t *list = is_write ? writable : readable;
	size_t count = is_write ? ARRAY_SIZE(writable) : ARRAY_SIZE(readable);
	if (offset >= APIC_LVT && offset <= APIC_LVT_LAST)
		return true;
	if (!is_write && offset >= APIC_ISR && offset < APIC_ESR)
		return true;
	for (size_t i = 0; i < count; i++)
		if (list[i] == offset)
			return true;
	return false;
}

bool lapic_read_msr(struct cpu *cpu, uint32_t msr, uint64_t *ret)
{
	uint32_t offset = (msr - 0x800) << 4;
	if (!is_x2(cpu) || !is_x2_register(offset, false))
		return false;
	*ret = lapic_read(cpu, offset);
	if (offset == APIC_ICR_LOW)
		*ret |= (uint64_t)cpu->lapic.icr_high << 32;
	return true;
}

bool lapic_write_msr(struct cpu *cpu, uint32_t msr, uint64_t value)
{
	uint32_t offset = (msr - 0x800) << 4;
	if (!is_x2(cpu) || !is_x2_register(offset, true))
		return false;
	if (offset == APIC_ICR_LOW)
		cpu->lapic.icr_high = (uint32_t)(value >> 32);
	else if (value >> 32)
		return false;
	if ((offset == APIC_EOI || offset == APIC_ESR) && value != 0)
		return false;
	if ((offset == APIC_SELF || offset == APIC_TPR) && value > 0xff)
		return false;
	if (offset == APIC_SVR && (value & ~UINT64_C(0x1ff)))
		return false;
	lapic_write(cpu, offset, (uint32_t)value);
	return true;
}

bool lapic_set_base(struct cpu *cpu, uint64_t value)
{
	uint64_t before = cpu->lapic.base;
	uint64_t states = LAPIC_BASE_ENABLED | LAPIC_BASE_X2;
	uint64_t known = LAPIC_BASE_BSP | states | ((UINT64_C(1) << 40) - 0x1000);
	if ((value & ~known) || (value & states) == LAPIC_BASE_X2)
		return false;
	/* From x2APIC the way back leads through off; from off none leads to x2APIC at once. */
	if ((before & LAPIC_BASE_X2) && (value & states) == LAPIC_BASE_ENABLED)
		return false;
	if (!(before & LAPIC_BASE_ENABLED) && (value & LAPIC_BASE_X2))
		return false;
	if ((before & LAPIC_BASE_ENABLED) && !(value & LAPIC_BASE_ENABLED))
		lapic_reset(cpu);
	cpu->lapic.base = value;
	if (value & LAPIC_BASE_X2)
		cpu->lapic.id = cpu->number;
	cpu_call(cpu, ATTENTION_IRQ);
	return true;
}

static void put(uint8_t *page, uint32_t offset, uint32_t value)
{
	memcpy(page + offset, &value, sizeof(value));
}

static uint32_t get(const uint8_t *page, uint32_t offset)
{
	uint32_t value;
	memcpy(&value, page + offset, sizeof(value));
	return value;
}

void lapic_save(const struct cpu *cpu, struct cpu_state *state)
{
	const struct lapic *lapic = &cpu->lapic;
	uint8_t *page = state->lapic;
	memset(page, 0, CPU_LAPIC_BYTES);
	put(page, APIC_ID, lapic->id << 24);
	put(page, APIC_VERSION, lapic->version);
	put(page, APIC_TPR, lapic->tpr);
	put(page, APIC_LDR, lapic->ldr);
	put(page, APIC_DFR, lapic->dfr);
	put(page, APIC_SVR, lapic->svr);
	put(page, APIC_ESR, lapic->esr);
	put(page, APIC_ICR_LOW, lapic->icr_low);
	put(page, APIC_ICR_HIGH, lapic->icr_high);
	put(page, APIC_INITIAL, lapic->timer_initial);
	put(page, APIC_CURRENT, current_count(cpu));
	put(page, APIC_DIVIDE, lapic->timer_divide);
	for (uint32_t i = 0; i < 8; i++) {
		put(page, APIC_ISR + 16 * i, lapic->isr[i]);
		put(page, APIC_TMR + 16 * i, atomic_load(&lapic->tmr[i]));
		put(page, APIC_IRR + 16 * i, atomic_load(&lapic->irr[i]));
	}
	for (uint32_t i = 0; i < 6; i++)
		put(page, APIC_LVT + 16 * i, lapic->lvt[i]);
	uint64_t now = cpu_now();
	state->apic_base = lapic->base;
	state->tsc_deadline = lapic->tsc_deadline;
	state->lapic_timer_left_ns = 0;
	if (lapic->timer_at_ns != 0)
		state->lapic_timer_left_ns =
			lapic->timer_at_ns > now ? lapic->timer_at_ns - now : 1;
}

void lapic_load(struct cpu *cpu, const struct cpu_state *state)
{
	struct lapic *lapic = &cpu->lapic;
	const uint8_t *page = state->lapic;
	pthread_mutex_lock(&cpu->soft->lock);
	lapic->id = get(page, APIC_ID) >> 24;
	lapic->version = get(page, APIC_VERSION);
	lapic->tpr = get(page, APIC_TPR) & 0xff;
	lapic->ldr = get(page, APIC_LDR);
	lapic->dfr = get(page, APIC_DFR);
	lapic->svr = get(page, APIC_SVR);
	lapic->esr = get(page, APIC_ESR);
	lapic->icr_low = get(page, APIC_ICR_LOW);
	lapic->icr_high = get(page, APIC_ICR_HIGH);
	lapic->timer_initial = get(page, APIC_INITIAL);
	lapic->timer_divide = get(page, APIC_DIVIDE);
	for (uint32_t i = 0; i < 8; i++) {
		lapic->isr[i] = get(page, APIC_ISR + 16 * i);
		atomic_store(&lapic->tmr[i], get(page, APIC_TMR + 16 * i));
		atomic_store(&lapic->irr[i], get(page, APIC_IRR + 16 * i));
	}
	for (uint32_t i = 0; i < 6; i++)
		lapic->lvt[i] = get(page, APIC_LVT + 16 * i);
	lapic->base = state->apic_base;
	lapic->tsc_deadline = state->tsc_deadline;
	lapic->timer_at_ns =
		state->lapic_timer_left_ns ? cpu_now() + state->lapic_timer_left_ns : 0;
	timers_changed(cpu->soft, lapic->timer_at_ns);
	pthread_mutex_unlock(&cpu->soft->lock);
}
