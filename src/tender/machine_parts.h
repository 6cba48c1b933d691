/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_parts.h - the virtual machine of a library OS, for the files machine*.c.
 */
#pragma once

#include <linux/kvm.h>
#include <time.h>

#include "abi/machine.h"
#include "tender/process.h"

struct machine {
	const struct unikernel_options *options;
	uint8_t *memory;
	uint64_t memory_bytes;
	uint64_t image_at, image_bytes; /* whole pages; behind the memory */
	uint64_t report_at;             /* 0: none */
	bool shows_state;               /* its memory is a file's until it is written to */
	struct machine_call *call;      /* that is served */
	int vm, cpu;
	uint64_t apic_base;
	uint64_t cycles_per_second;
	struct kvm_run *run;
	uint64_t signals_at; /* 0: the guest has not said */
	int status;
	/* Changed by the handler of signals. */
	volatile uint64_t signals;
	struct timespec wait_left;
};

/* Descriptors have numbers that the filter knows. */
enum {
	MACHINE_CARD_FD = 3,
	MACHINE_VOLUME_FD,
	MACHINE_READY_FD,
	MACHINE_VM_FD,
	MACHINE_CPU_FD,
	MACHINE_CHANNEL_FD
};

/* Memory that the guest named: its own, or with `is_read` the image's, too; NULL if not all of it is there. */
void *machine_at(const struct machine *machine, uint64_t at, uint64_t bytes, bool is_read);

/* Serves one call: 0, 1 at the end with machine->status set, -EFAULT if the guest named what is not there. */
int machine_call(struct machine *machine, uint32_t address);
