/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - what one unikernel shall be: its plan.json, read and checked (doc/plan.md).
 *
 * Texts are borrowed from `document`.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"

struct tender_nic {
	const char *host, *bridge, *shaper; /* of the host's end */
	bool is_isolated;
	uint64_t into_bits, out_of_bits;
	const char *mac;
	uint32_t mtu;
	const json_t *addresses; /* of "10.0.0.2/24" */
	const json_t *gateways;
};

struct tender_plan {
	json_t *document;
	const char *name;
	const json_t *layers; /* top first */
	const char
		*image; /* the erofs image of these layers and the program; made if it is missing */
	const char *program; /* the first of the arguments */
	const char *search;  /* where that is looked for if it has no slash */
	const char *volume;  /* the file or device of its ext2; NULL: what it writes is in memory */
	const json_t *arguments, *environment;
	const char *cwd;
	int stop_signal;
	uint32_t uid;
	uint64_t memory_bytes;
	bool is_stateful; /* its state can be kept: it has the addresses that others find it at */
	bool is_machine;  /* the engine kvm, not a locked process */
	bool is_soft;     /* the engine soft: under berth-vmm */
	const char *restore; /* a file with the state that it goes on from, or NULL */
	bool has_nic;
	struct tender_nic nic;
	const json_t *nameservers;
	const char **cgroups; /* NULL at the end */
};

int tender_plan_read(
	const char *text, size_t length, struct tender_plan **ret, struct error *e) must_use;
void tender_plan_free(struct tender_plan *plan);
DEFINE_CLEANUP(struct tender_plan *, tender_plan_free);
