/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.h - the contract of a CPU engine: it runs virtual CPUs over guest memory.
 *
 * An engine holds the CPUs and the chips beside them: LAPIC or x2APIC (0xfee00000), IOAPIC
 * (0xfec00000), PIC (ports 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1) and PIT (0x40 to 0x43, 0x61). They
 * never exit. The PIT drives line 0. The machine above cannot tell one engine from another.
 *
 * After open() every CPU is as after power-on (cpu_state_reset()). One thread a CPU calls run().
 */
#pragma once

#include "base/error.h"
#include "vmm/cpu/state.h"
#include "vmm/guest.h"

#define CPUS_MAX  64
#define IRQ_LINES 24 /* lines 0 to 15 reach the PIC and the IOAPIC, 16 to 23 the IOAPIC */

/*
 * HLT is no exit: run() sleeps until an interrupt. So does a CPU that waits for its start-up IPI.
 */
enum cpu_why {
	CPU_PORT,
	CPU_MMIO,
	CPU_SHUTDOWN, /* triple fault: reset the machine */
	CPU_KICKED,
};

struct cpu_exit {
	enum cpu_why why;
	bool is_write;
	uint8_t bytes;  /* 1, 2, 4 or 8 */
	uint64_t at;    /* port, or guest address */
	uint64_t value; /* what the guest wrote, or what it reads at the next run */
};

/* The CPUs of one machine. An engine embeds this in its own struct. */
struct cpus {
	const struct engine *engine;
	struct guest *guest;
	uint32_t count;
};

struct engine {
	const char *name; /* "kvm", "soft" */

	/* Returns 0 if this host can use the engine, else a negative errno and why. */
	int (*probe)(struct error *e);

	/* `guest` has its regions and outlives the CPUs. -EINVAL if count is 0 or over CPUS_MAX. */
	int (*open)(struct guest *guest, uint32_t count, struct cpus **ret, struct error *e);

	/*
	 * Starts the engine's own threads, once, before the first run(); each calls `prepare` (NULL:
	 * nothing) first, where it gives up its rights. Without it run() starts them. -errno.
	 */
	int (*start)(struct cpus *cpus, void (*prepare)(void *data), void *data);

	/*
	 * Once, in the thread that will run the CPU, before that gives up its rights. Without it the CPU runs,
	 * too, but may be slower.
	 */
	void (*prepare)(struct cpus *cpus, uint32_t cpu);

	/* No CPU is running. */
	void (*close)(struct cpus *cpus);

	/*
	 * Runs one CPU until *exit says why not. For a read the caller sets exit->value and passes the
	 * same struct to the next run. Returns 0, or -EIO if the engine is broken.
	 */
	int (*run)(struct cpus *cpus, uint32_t cpu, struct cpu_exit *exit);

	/* Any thread: run() returns CPU_KICKED soon; if it is not running, the next one at once. */
	void (*kick)(struct cpus *cpus, uint32_t cpu);

	/* Any thread: sets the level of an interrupt line. */
	void (*irq)(struct cpus *cpus, uint32_t line, bool level);

	/* Any thread: a message-signalled interrupt, as a device writes it. */
	void (*msi)(struct cpus *cpus, guest_addr at, uint32_t data);

	/* Any thread. */
	void (*nmi)(struct cpus *cpus, uint32_t cpu);

	/*
	 * From now on a write to `at` wakes the eventfd and is no exit. event_fd is borrowed until it
	 * is taken back with -1. -ENOSPC if there are too many.
	 */
	int (*doorbell)(struct cpus *cpus, guest_addr at, int event_fd);

	/*
	 * For boot, snapshots and tests. The CPU is not running. load() refuses with -EINVAL what is
	 * not of this version or that the engine cannot hold, with -ENOTSUP vectors (XCR0) that the host lacks.
	 */
	int (*load)(struct cpus *cpus, uint32_t cpu, const struct cpu_state *state);
	int (*save)(struct cpus *cpus, uint32_t cpu, struct cpu_state *state);

	/* The chips beside the CPUs. No CPU is running. */
	int (*load_chips)(struct cpus *cpus, const struct chips_state *state);
	int (*save_chips)(struct cpus *cpus, struct chips_state *state);
};
