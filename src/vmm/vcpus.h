/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vcpus.h - one thread a virtual CPU: runs the engine, answers exits from the bus, stands still on demand.
 */
#pragma once

#include "vmm/bus.h"
#include "vmm/cpu/engine.h"

struct vcpus;

/*
 * Makes the threads; they stand still until vcpus_resume(). `lost` is called on a CPU's thread that
 * stopped by itself: it shut down (a triple fault), or the engine is broken (`code` is -EIO). `prepare`
 * is called first on each thread.
 */
struct vcpus_options {
	struct cpus *cpus;
	struct bus *bus;
	void (*lost)(void *data, uint32_t cpu, int code);
	void (*prepare)(void *data);
	void *data;
};
int vcpus_start(const struct vcpus_options *options, struct vcpus **ret, struct error *e) must_use;

/* Both from the I/O thread, not under the bus lock. vcpus_pause() returns when all stand still. */
void vcpus_pause(struct vcpus *vcpus);
void vcpus_resume(struct vcpus *vcpus);

/* CPU time that their threads have used. */
uint64_t vcpus_cpu_ns(const struct vcpus *vcpus);

/* From a CPU's thread, in an exit: it stands still after this exit, until vcpus_resume(). */
void vcpus_stop_here(struct vcpus *vcpus);

/* Ends the threads. */
void vcpus_free(struct vcpus *vcpus);
DEFINE_CLEANUP(struct vcpus *, vcpus_free);
