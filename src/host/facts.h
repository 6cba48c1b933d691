/* SPDX-License-Identifier: Apache-2.0 */
/*
 * facts.h - what this host has: cpus, memory, disks, network cards, from /proc and /sys.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "model/resources.h"

struct facts {
	struct cpu_set_mask cpus; /* online */
	uint64_t memory_bytes;    /* all that the kernel manages */
	uint64_t available_bytes; /* without swapping */
	uint64_t swap_bytes;
};

int facts_read(struct facts *ret, struct error *e) must_use;

/*
 * As the API's /1.0/resources shows it: {cpu, memory, gpu, network, storage, usb, pci, system, load}. The
 * caller owns *ret. What the host does not tell is left out.
 */
int facts_resources(json_t **ret, struct error *e) must_use;
