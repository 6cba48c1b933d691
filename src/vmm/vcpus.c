/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vcpus.c - the threads of the virtual CPUs.
 *
 * A CPU stands still only after its engine said CPU_KICKED: then the instruction that caused the last
 * exit has ended and the CPU's state can be saved. vcpus_pause() therefore kicks until all have.
 */
#include "vmm/vcpus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

struct vcpu {
	struct vcpus *vcpus;
	uint32_t index;
	pthread_t thread;
	bool is_running; /* under the lock */
	bool is_lost;    /* under the lock: stands still until the next resume */
};

struct vcpus {
	struct vcpus_options options;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_paused;
	bool is_ending;
	uint32_t started;
	struct vcpu vcpus[CPUS_MAX];
};

static void answer(struct bus *bus, struct cpu_exit *exit)
{
	enum bus_space space = exit->why == CPU_PORT ? BUS_PORTS : BUS_MEMORY;
	if (exit->is_write)
		bus_write(bus, space, exit->at, exit->bytes, exit->value);
	else
		exit->value = bus_read(bus, space, exit->at, exit->bytes);
}

/* Stands still while the machine does; false when the thread shall end. */
static bool wait_for_go(struct vcpu *vcpu)
{
	struct vcpus *vcpus = vcpu->vcpus;
	pthread_mutex_lock(&vcpus->lock);
	vcpu->is_running = false;
	pthread_cond_broadcast(&vcpus->changed);
	while ((vcpus->is_paused || vcpu->is_lost) && !vcpus->is_ending)
		pthread_cond_wait(&vcpus->changed, &vcpus->lock);
	vcpu->is_running = !vcpus->is_ending;
	bool go = vcpu->is_running;
	pthread_mutex_unlock(&vcpus->lock);
	return go;
}

static void lose(struct vcpu *vcpu, int code)
{
	struct vcpus *vcpus = vcpu->vcpus;
	pthread_mutex_lock(&vcpus->lock);
	vcpu->is_lost = true;
	pthread_mutex_unlock(&vcpus->lock);
	vcpus->options.lost(vcpus->options.data, vcpu->index, code);
}

static void *run(void *data)
{
	struct vcpu *vcpu = data;
	struct vcpus *vcpus = vcpu->vcpus;
	struct cpus *cpus = vcpus->options.cpus;
	struct cpu_exit exit = { .why = CPU_KICKED };
	char name[16];
	snprintf(name, sizeof(name), "cpu %u", vcpu->index);
	pthread_setname_np(pthread_self(), name);
	cpus->engine->prepare(cpus, vcpu->index);
	vcpus->options.prepare(vcpus->options.data);
	while (wait_for_go(vcpu)) {
		int r;
		do {
			r = cpus->engine->run(cpus, vcpu->index, &exit);
			if (r == 0 && (exit.why == CPU_PORT || exit.why == CPU_MMIO))
				answer(vcpus->options.bus, &exit);
		} while (r == 0 && (exit.why == CPU_PORT || exit.why == CPU_MMIO));
		if (r < 0 || exit.why == CPU_SHUTDOWN) {
			lose(vcpu, r);
			exit = (struct cpu_exit){ .why = CPU_KICKED };
		}
	}
	return NULL;
}

int vcpus_start(const struct vcpus_options *options, struct vcpus **ret, struct error *e)
{
	struct vcpus *vcpus = alloc(struct vcpus);
	vcpus->options = *options;
	vcpus->is_paused = true;
	pthread_mutex_init(&vcpus->lock, NULL);
	pthread_cond_init(&vcpus->changed, NULL);
	/* The I/O thread takes the process's signals. */
	sigset_t all, before;
	sigfillset(&all);
	sigdelset(&all, SIGUSR1);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGTRAP);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = 0;
	for (uint32_t i = 0; r == 0 && i < options->cpus->count; i++) {
		struct vcpu *vcpu = &vcpus->vcpus[i];
		*vcpu = (struct vcpu){ .vcpus = vcpus, .index = i, .is_running = true };
		r = -pthread_create(&vcpu->thread, NULL, run, vcpu);
		if (r == 0)
			vcpus->started++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0) {
		vcpus_free(vcpus);
		return error_code(e, r, "start the threads of the CPUs");
	}
	*ret = vcpus;
	return 0;
}

static bool some_run(const struct vcpus *vcpus)
{
	for (uint32_t i = 0; i < vcpus->started; i++)
		if (vcpus->vcpus[i].is_running)
			return true;
	return false;
}

void vcpus_pause(struct vcpus *vcpus)
{
	struct cpus *cpus = vcpus->options.cpus;
	pthread_mutex_lock(&vcpus->lock);
	vcpus->is_paused = true;
	for (uint32_t i = 0; i < vcpus->started; i++)
		if (vcpus->vcpus[i].is_running)
			cpus->engine->kick(cpus, i);
	while (some_run(vcpus))
		pthread_cond_wait(&vcpus->changed, &vcpus->lock);
	pthread_mutex_unlock(&vcpus->lock);
}

void vcpus_resume(struct vcpus *vcpus)
{
	pthread_mutex_lock(&vcpus->lock);
	vcpus->is_paused = false;
	for (uint32_t i = 0; i < vcpus->started; i++)
		vcpus->vcpus[i].is_lost = false;
	pthread_cond_broadcast(&vcpus->changed);
	pthread_mutex_unlock(&vcpus->lock);
}

uint64_t vcpus_cpu_ns(const struct vcpus *vcpus)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < vcpus->started; i++) {
		clockid_t clock;
		struct timespec used;
		if (pthread_getcpuclockid(vcpus->vcpus[i].thread, &clock) == 0 &&
			clock_gettime(clock, &used) == 0)
			sum += (uint64_t)used.tv_sec * UINT64_C(1000000000) +
				(uint64_t)used.tv_nsec;
	}
	return sum;
}

void vcpus_stop_here(struct vcpus *vcpus)
{
	struct cpus *cpus = vcpus->options.cpus;
	pthread_mutex_lock(&vcpus->lock);
	vcpus->is_paused = true;
	for (uint32_t i = 0; i < vcpus->started; i++)
		cpus->engine->kick(cpus, i);
	pthread_mutex_unlock(&vcpus->lock);
}

void vcpus_free(struct vcpus *vcpus)
{
	if (!vcpus)
		return;
	struct cpus *cpus = vcpus->options.cpus;
	pthread_mutex_lock(&vcpus->lock);
	vcpus->is_ending = true;
	for (uint32_t i = 0; i < vcpus->started; i++)
		cpus->engine->kick(cpus, i);
	pthread_cond_broadcast(&vcpus->changed);
	pthread_mutex_unlock(&vcpus->lock);
	for (uint32_t i = 0; i < vcpus->started; i++)
		pthread_join(vcpus->vcpus[i].thread, NULL);
	pthread_cond_destroy(&vcpus->changed);
	pthread_mutex_destroy(&vcpus->lock);
	free(vcpus);
}
