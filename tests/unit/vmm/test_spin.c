/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <unistd.h>

#include "test.h"
#include "vmm/soft/shared.h"
#include "vmm/soft/soft.h"
#include "vmm/soft/spin.h"

static struct guest *guest;
static struct cpus *cpus;

/* Neither runs; the thread of the first is this one. */
static struct cpu *open_two(struct cpu **other)
{
	struct error e = {};
	if (soft_interpreter_engine.probe(&e) < 0)
		test_skip("%.200s", e.text);
	expect(guest_new(&guest, &e) == 0);
	expect(guest_add(guest, 0, 2 * MIB, GUEST_RAM, &e) == 0);
	expect(soft_interpreter_engine.open(guest, 2, &cpus, &e) == 0);
	struct soft *soft = (struct soft *)(void *)cpus; /* which begins with it */
	soft->tsc_khz = 3000000;
	for (int i = 0; i < 2; i++)
		atomic_store(&soft->cpu[i]->attention, 0);
	spin_thread(soft->cpu[0]);
	*other = soft->cpu[1];
	return soft->cpu[0];
}

static void close_two(void)
{
	soft_interpreter_engine.close(cpus);
	guest_free(guest);
}

static void burn(void)
{
	for (volatile int i = 0; i < 1000000; i++)
		;
}

static enum spin_others look_twice(struct cpu *cpu)
{
	cpu->spin.seen_at = 0;
	expect_equal(spin_look(cpu), SPIN_UNKNOWN);
	burn();
	return spin_look(cpu);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *stand_still(void *data)
{
	spin_thread(data);
	pthread_mutex_lock(&lock);
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* Its thread waits for this one: it uses no time. */
static void sees_who_stands_still(void)
{
	struct cpu *other, *cpu = open_two(&other);
	pthread_t thread;
	pthread_mutex_lock(&lock);
	expect(pthread_create(&thread, NULL, stand_still, other) == 0);
	/* Until it does. */
	for (int i = 0; i < 1000 && look_twice(cpu) != SPIN_STOPPED; i++)
		usleep(1000);
	expect_equal(look_twice(cpu), SPIN_STOPPED);
	/* Halted, it is waited for by nobody; called, it is to run. */
	atomic_store(&other->is_idle, true);
	expect_equal(look_twice(cpu), SPIN_NOBODY);
	atomic_store(&other->spin.sleeps, true);
	expect_equal(look_twice(cpu), SPIN_ASLEEP);
	atomic_store(&other->attention, ATTENTION_IRQ);
	expect_equal(look_twice(cpu), SPIN_STOPPED);
	pthread_mutex_unlock(&lock);
	pthread_join(thread, NULL);
	close_two();
}

/* The one that certainly runs is this thread. */
static void sees_who_runs(void)
{
	struct cpu *other, *cpu = open_two(&other);
	enum spin_others found = SPIN_STOPPED;
	spin_thread(other);
	/* Unless the host stops it just then. */
	for (int i = 0; i < 1000 && found != SPIN_RUN; i++)
		found = look_twice(cpu);
	expect_equal(found, SPIN_RUN);
	close_two();
}

static void decides(void)
{
	/* Alone. */
	expect_equal(spin_decide(SPIN_LOOK, SPIN_UNKNOWN, true), SPIN_GOES_ON);
	expect_equal(spin_decide(SPIN_YIELD_FROM, SPIN_UNKNOWN, true), SPIN_YIELDS);
	expect_equal(spin_decide(SPIN_LONG_FROM, SPIN_UNKNOWN, true), SPIN_YIELDS);
	/* One that the host has stopped. */
	expect_equal(spin_decide(SPIN_LOOK, SPIN_UNKNOWN, false), SPIN_WAKES);
	expect_equal(spin_decide(SPIN_YIELD_FROM, SPIN_STOPPED, false), SPIN_YIELDS);
	expect_equal(spin_decide(SPIN_SLEEP_FROM, SPIN_STOPPED, false), SPIN_SLEEPS);
	expect_equal(spin_decide(SPIN_SLEEP_FROM, SPIN_NOBODY, false), SPIN_SLEEPS);
	/* One that runs: turns are taken, however long. */
	expect_equal(spin_decide(SPIN_SLEEP_FROM, SPIN_UNKNOWN, false), SPIN_GOES_ON);
	expect_equal(spin_decide(SPIN_SLEEP_FROM, SPIN_RUN, false), SPIN_WAKES);
	expect_equal(spin_decide(SPIN_LONG_FROM, SPIN_RUN, false), SPIN_YIELDS);
	/* One that sleeps waits for this one. */
	expect_equal(spin_decide(SPIN_SLEEP_FROM, SPIN_ASLEEP, false), SPIN_WAKES);
}

static const struct test tests[] = {
	{ "a CPU that spins goes on if the others run, else it gives its processor away", decides },
	{ "it sees that another's thread stands still, unless that is halted",
		sees_who_stands_still },
	{ "it sees that another's thread runs", sees_who_runs },
};
TEST_MAIN(tests)
