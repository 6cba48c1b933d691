/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"
#include "vmm/soft/apic.h"
#include "vmm/soft/nmi.h"
#include "vmm/soft/soft.h"

#define RAM_BYTES (2 * MIB)

#define INITIAL   0x380
#define CURRENT   0x390
#define DIVIDE    0x3e0
#define LVT_TIMER 0x320
#define SVR       0xf0
#define PERIODIC  0x20000u
#define DEADLINE  0x40000u
#define VECTOR    0x41u

static struct guest *guest;
static struct cpus *cpus;

/* A CPU that does not run; nor does the timers' thread. */
static struct cpu *open_one(void)
{
	struct error e = {};
	if (soft_interpreter_engine.probe(&e) < 0)
		test_skip("%.200s", e.text);
	expect(guest_new(&guest, &e) == 0);
	expect(guest_add(guest, 0, RAM_BYTES, GUEST_RAM, &e) == 0);
	expect(soft_interpreter_engine.open(guest, 1, &cpus, &e) == 0);
	struct cpu *cpu = ((struct soft *)(void *)cpus)->cpu[0]; /* cpus is first */
	cpu->soft->tsc_khz = 1000000;
	lapic_write(cpu, SVR, 0x1ff);
	lapic_write(cpu, DIVIDE, 0xb);
	atomic_store(&cpu->attention, 0);
	return cpu;
}

static void close_one(void)
{
	soft_interpreter_engine.close(cpus);
	guest_free(guest);
}

/* One in its handler and one behind it, or the next and one behind it. */
static void keeps_one_nmi(void)
{
	struct cpu *cpu = open_one();
	expect(!nmi_take(cpu));
	nmi_raise(cpu);
	expect(atomic_load(&cpu->attention) & ATTENTION_NMI);
	expect(nmi_take(cpu) && !nmi_take(cpu));
	nmi_raise(cpu);
	nmi_raise(cpu);
	expect(!nmi_take(cpu));
	atomic_store(&cpu->attention, 0);
	nmi_unblock(cpu);
	expect(atomic_load(&cpu->attention) & ATTENTION_NMI);
	expect(nmi_take(cpu));
	nmi_unblock(cpu);
	expect(!nmi_take(cpu));
	for (int i = 0; i < 5; i++)
		nmi_raise(cpu);
	expect(nmi_take(cpu));
	nmi_unblock(cpu);
	expect(nmi_take(cpu));
	nmi_unblock(cpu);
	expect(!nmi_take(cpu));
	close_one();
}

/*
 * Who sends sees how many wait and whether they are blocked in one look: between two the CPU may have taken the one
 * that waited, and the new one would have been lost for it.
 */
static void sees_all_at_once(void)
{
	for (uint32_t nmi = 0; nmi < 8; nmi++) {
		uint32_t more = nmi_with_one_more(nmi), waiting = nmi & NMI_WAITING;
		bool is_full = waiting >= (nmi & NMI_BLOCKED ? 1 : 2);
		expect_equal(more & NMI_WAITING, is_full ? waiting : waiting + 1);
		expect_equal(more & NMI_BLOCKED, nmi & NMI_BLOCKED);
	}
}

#define ROUNDS 2000

static _Atomic uint32_t sent;

static void *send_nmis(void *data)
{
	struct cpu *cpu = data;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		while (atomic_load(&sent) != 2 * i)
			sched_yield();
		nmi_raise(cpu);
		atomic_fetch_add(&sent, 1);
	}
	return NULL;
}

/* The CPU takes one while another thread sends: both come. */
static void loses_none(void)
{
	struct cpu *cpu = open_one();
	pthread_t thread;
	sent = 0;
	expect(pthread_create(&thread, NULL, send_nmis, cpu) == 0);
	uint32_t taken = 0;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		nmi_raise(cpu);
		while (atomic_load(&sent) != 2 * i + 1 || atomic_load(&cpu->nmi) & NMI_WAITING)
			if (nmi_take(cpu)) {
				taken++;
				nmi_unblock(cpu);
			} else {
				sched_yield();
			}
		atomic_fetch_add(&sent, 1);
	}
	pthread_join(thread, NULL);
	expect_equal(taken, 2 * ROUNDS);
	close_one();
}

static bool has_come(struct cpu *cpu)
{
	int vector = lapic_pending(cpu);
	if (vector >= 0) {
		lapic_accept(cpu, vector);
		lapic_write(cpu, 0xb0, 0);
	}
	return vector == (int)VECTOR;
}

static void wait_ns(uint64_t ns)
{
	for (uint64_t until = cpu_now() + ns; cpu_now() < until;)
		;
}

/* Run out is run out, whatever the timers' thread does. */
static void runs_out_in_its_mode(void)
{
	struct cpu *cpu = open_one();
	lapic_write(cpu, LVT_TIMER, VECTOR);
	lapic_write(cpu, INITIAL, 1000);
	wait_ns(2000);
	lapic_write(cpu, LVT_TIMER, VECTOR | PERIODIC);
	expect(has_come(cpu));
	expect_equal(lapic_read(cpu, CURRENT), 0);
	expect_equal(cpu->lapic.timer_at_ns, 0);
	expect(!has_come(cpu));
	close_one();
}

static void comes_before_it_is_set_anew(void)
{
	struct cpu *cpu = open_one();
	lapic_write(cpu, LVT_TIMER, VECTOR);
	lapic_write(cpu, INITIAL, 1000);
	wait_ns(2000);
	expect(lapic_pending(cpu) < 0);
	lapic_write(cpu, INITIAL, 1000000000);
	expect(has_come(cpu) && !has_come(cpu));
	expect(lapic_read(cpu, CURRENT) > 1000);
	lapic_write(cpu, LVT_TIMER, VECTOR | DEADLINE);
	lapic_set_deadline(cpu, cpu_tsc(cpu) + 1000);
	wait_ns(2000);
	lapic_set_deadline(cpu, cpu_tsc(cpu) + 1000000000);
	expect(has_come(cpu) && !has_come(cpu));
	expect(cpu->lapic.tsc_deadline != 0);
	lapic_set_deadline(cpu, 0);
	expect(!has_come(cpu));
	close_one();
}

/* A period that has ended is followed by the next, in the count as well. */
static void counts_on_in_the_next_period(void)
{
	struct cpu *cpu = open_one();
	lapic_write(cpu, LVT_TIMER, VECTOR | PERIODIC);
	lapic_write(cpu, INITIAL, 1000000000);
	cpu->lapic.timer_at_ns -= 1500000000; /* half a period ago */
	uint32_t left = lapic_read(cpu, CURRENT);
	expect(left > 0 && left <= 500000000);
	expect(has_come(cpu) && !has_come(cpu));
	close_one();
}

static const struct test tests[] = {
	{ "of NMIs one is kept behind the one that is handled", keeps_one_nmi },
	{ "who sends an NMI sees at once what waits and whether it may", sees_all_at_once },
	{ "an NMI is not lost because another is taken at that moment", loses_none },
	{ "a timer that has run out does not start again in another mode", runs_out_in_its_mode },
	{ "a timer that has run out interrupts, even if it is set anew",
		comes_before_it_is_set_anew },
	{ "a periodic timer counts on in the next period", counts_on_in_the_next_period },
};
TEST_MAIN(tests)
