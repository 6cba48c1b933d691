/* SPDX-License-Identifier: Apache-2.0 */
/*
 * part.h - the contract of a device of the machine that is no virtio device: what the machine as a whole
 * asks of it. It is embedded in the device.
 *
 * All calls hold the bus lock or come before and after the CPUs run.
 */
#pragma once

#include "vmm/state.h"

struct part;

/* Every member is set. */
struct part_driver {
	/* As after power-on. No guest memory is touched after it returns. */
	void (*reset)(struct part *part);
	/* Stands still (what is under way ends), or goes on. */
	void (*pause)(struct part *part, bool is_paused);
	void (*save)(const struct part *part, struct state *state);
	int (*load)(struct part *part, const struct state *state, struct error *e);
	void (*free)(struct part *part);
};

struct part {
	const struct part_driver *driver;
};
