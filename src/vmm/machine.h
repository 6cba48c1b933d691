/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.h - one virtual machine: memory, CPUs, board and devices, put together, run, saved, loaded.
 *
 * The thread that owns the loop owns the machine. CPUs have threads of their own.
 */
#pragma once

#include "base/loop.h"
#include "vmm/boot/image.h"
#include "vmm/boot/layout.h"
#include "vmm/bus.h"
#include "vmm/chipset.h"
#include "vmm/cpu/engine.h"
#include "vmm/fw_cfg.h"
#include "vmm/hotplug.h"
#include "vmm/part.h"
#include "vmm/pci.h"
#include "vmm/power.h"
#include "vmm/rtc.h"
#include "vmm/serial.h"
#include "vmm/vcpus.h"
#include "vmm/virtio/pci.h"

#define MACHINE_PARTS_MAX   16
#define MACHINE_MEMORY_MIN  (1 * MIB)
#define MACHINE_MEMORY_MAX  (1024 * GIB)
#define MACHINE_NAME_BYTES  72
#define MACHINE_DEVICES_MAX (PCI_PLUG_LAST - PCI_PLUG_FIRST + 1)

enum machine_end {
	MACHINE_OFF,    /* the guest turned itself off */
	MACHINE_RESET,  /* the guest wants to be started again */
	MACHINE_FAULT,  /* a CPU shut down: a triple fault */
	MACHINE_EXIT,   /* the guest wrote to the exit port; `code` is what */
	MACHINE_BROKEN, /* the engine cannot go on; `code` is a negative errno */
};

/* In a saved state: what is in a slot. */
struct place {
	char name[MACHINE_NAME_BYTES];
};

struct machine {
	struct loop *loop;
	struct guest *guest;
	struct cpus *cpus;
	struct vcpus *vcpus;
	struct memory_map map;
	struct bus bus;
	struct wires wires;
	struct pci pci;
	struct chipset chipset;
	struct power power;
	struct hotplug hotplug;
	struct rtc rtc;
	struct serial serial;
	struct fw_cfg fw_cfg;
	struct region exit_port;
	struct test_device *test_device;                 /* or NULL */
	struct virtio_pci *devices[MACHINE_DEVICES_MAX]; /* by slot, from 1; NULL: free */
	uint32_t device_count;                           /* the last that is taken, and 1 */
	char names[MACHINE_DEVICES_MAX]
		  [MACHINE_NAME_BYTES]; /* what unplug and limits go by; "": none */
	/* Where a saved state has each device: its name, or its driver's. NULL: where there is room. */
	struct place *places;
	uint64_t rsdp_at;        /* in guest memory, if the tables are there */
	const uint8_t *firmware; /* the caller's; NULL: the machine boots a kernel */
	uint32_t firmware_bytes;
	struct part *parts[MACHINE_PARTS_MAX]; /* what is no virtio device */
	uint32_t part_count;
	const char
		*boot_order; /* the caller's: paths for the firmware, one a line; NULL: its own */
	struct cpu_state boot_state;
	struct chips_state chips_reset;
	bool is_paused;
	uint32_t stalls; /* devices that wait for room on their volume */

	/* Under the bus lock: what a CPU's thread wants of the I/O thread. */
	bool has_end;
	enum machine_end end;
	int end_code;
	bool wants_stall;
	struct source *wake;

	/* The machine has stopped and stands still; on the loop. */
	void (*ended)(void *data, enum machine_end end, int code);
	/* A device waits for room on its volume (the CPUs stand still), or no longer. */
	void (*stalled)(void *data, bool is_stalled);
	void (*prepare_thread)(void *data);
	/* The guest has rung for a queue; the bus lock is held. */
	void (*rung)(void *data);
	void *data;
};

struct machine_options {
	const struct engine *engine;
	uint32_t cpus;
	uint64_t memory_bytes;
	uint64_t
		memory_max_bytes; /* what it can have while it runs; no more than memory_bytes: that */
	uint16_t exit_port;       /* 0: none */
	bool has_test_device;
	/*
	 * Firmware in the last bytes below 4 GiB, NULL for none; its last 128 KiB below 1 MiB, too. It
	 * must outlive the machine.
	 */
	const uint8_t *firmware;
	uint32_t firmware_bytes;
};

/* Memory, CPUs and board, without devices; no CPU runs. */
int machine_new(const struct machine_options *options, struct loop *loop, struct machine **ret,
	struct error *e) must_use;
void machine_free(struct machine *machine);
DEFINE_CLEANUP(struct machine *, machine_free);

/* Adds a device that has its place already, before the CPUs run. On success the machine owns it. */
int machine_add_part(struct machine *machine, struct part *part, struct error *e) must_use;

/* Before the first device is added: each has its place from this state, that machine_load() gets later. */
int machine_expect(struct machine *machine, const struct state *state, struct error *e) must_use;

/* Adds a device in the next slot, called `name` (NULL: nothing). On success the machine owns it. */
int machine_add(struct machine *machine, struct virtio_device *device, const char *name,
	struct error *e) must_use;
/* The device of that name, or NULL. */
struct virtio_device *machine_find(struct machine *machine, const char *name);

/* The same while the guest runs, which is told. */
int machine_plug(struct machine *machine, struct virtio_device *device, const char *name,
	struct error *e) must_use;
/* Asks the guest to let go of a device; it is freed when the guest has. -ENOENT: it is gone. */
int machine_unplug(struct machine *machine, const char *name) must_use;

/* After all devices: gives them addresses (unless firmware does) and writes the ACPI tables. */
int machine_complete(struct machine *machine, struct error *e) must_use;

/* The state in which CPU 0 starts; kept for the next reset. */
void machine_set_boot(struct machine *machine, const struct cpu_state *state);

/* Makes the threads; machine_go() lets them go. */
int machine_start(struct machine *machine, struct error *e) must_use;
/* Sets all CPUs to their first state and lets them run. */
int machine_go(struct machine *machine, struct error *e) must_use;
void machine_pause(struct machine *machine);
void machine_resume(struct machine *machine);
void machine_power_button(struct machine *machine);

/*
 * All as after power-on but memory; the machine stands still. The caller puts the kernel back, then
 * machine_set_boot() and machine_go().
 */
int machine_reset(struct machine *machine, struct error *e) must_use;

/* The machine stands still. Memory is not part of the state. */
int machine_save(struct machine *machine, struct state *state, struct error *e) must_use;
int machine_load(struct machine *machine, const struct state *state, struct error *e) must_use;

/* For devices' options: a volume is full, or no longer. The bus lock is held. */
void machine_stall(void *machine, bool is_stalled);
