/* SPDX-License-Identifier: Apache-2.0 */
/*
 * assemble.h - from a plan to a machine: opens what the plan names, adds the devices, loads the kernel.
 */
#pragma once

#include "base/text.h"
#include "vmm/boot/boot.h"
#include "vmm/debug_port.h"
#include "vmm/keep.h"
#include "vmm/kernel_cache.h"
#include "vmm/machine.h"
#include "vmm/plan.h"

/* What stays open for the machine's life, to boot again after a reset. */
struct assembly {
	struct plan plan;
	struct machine *machine;
	struct image kernel, initrd;
	struct kernel_cache cache;
	int unpacked_fd; /* the kernel's unpacked payload, once it was needed; -1 */
	int restore_fd;  /* the state that the plan names; -1 */
	uint8_t *firmware;
	uint32_t firmware_bytes;
	struct debug_port *debug_port; /* or NULL */
	int firmware_log;              /* -1: none */
	struct text boot_order;
	uint32_t e1000_count;
	struct keep *keep; /* the machine's; NULL: it is kept without being asked */
	struct ahci *ahci; /* the machine's, once it has a SATA disk */
	/* The machine's; NULL: there is none. */
	struct virtio_device *balloon, *memory, *console;
};

/* Opens all files and makes the machine; nothing runs. The plan's texts must outlive the assembly. */
int assembly_init(struct assembly *assembly, const struct plan *plan, const struct engine *engine,
	struct loop *loop, struct error *e) must_use;
void assembly_done(struct assembly *assembly);

/*
 * A disk or a card of the machine, not added yet. Both take their descriptors, also when they fail. A disk must
 * have an id.
 */
int assembly_make_disk(struct assembly *assembly, const struct plan_disk *plan, int fd,
	struct virtio_device **ret, struct error *e) must_use;
int assembly_make_nic(struct assembly *assembly, const struct plan_nic *plan, int *taps,
	uint32_t pairs, struct virtio_device **ret, struct error *e) must_use;

/* Goes on from the state that the plan names: then machine_resume(). */
int assembly_restore(struct assembly *assembly, struct error *e) must_use;

/* Puts the kernel into memory (not for firmware) and sets the first CPU's state. */
int assembly_boot(struct assembly *assembly, struct error *e) must_use;
