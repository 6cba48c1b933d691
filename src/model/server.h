/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - the life of a server as a table, what it is made of, and whether it is what somebody asked for.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"

enum server_state {
	SERVER_ENROLLED,   /* known by its BMC's address, or by what it said on the network */
	SERVER_VERIFYING,  /* its BMC is asked who it is */
	SERVER_INSPECTING, /* its own kernel looks at what it is made of */
	SERVER_AVAILABLE,  /* nobody's, and empty */
	SERVER_DEPLOYING,  /* somebody's, whose image is put on its disk */
	SERVER_ACTIVE,     /* somebody's */
	SERVER_RESCUE,     /* somebody's, and runs another system */
	SERVER_SAVING,     /* somebody's, whose disk is read for a snapshot */
	SERVER_CLEANING,   /* nobody's, until its disks are empty */
	SERVER_STATES,
};

enum server_event {
	SERVER_VERIFY, /* asked for: also what begins again after a failure */
	SERVER_VERIFIED,
	SERVER_INSPECT, /* asked for */
	SERVER_INSPECTED,
	SERVER_RESERVE, /* an owner is noted */
	SERVER_DEPLOYED,
	SERVER_REBUILD, /* the same owner's other image */
	SERVER_TO_RESCUE,
	SERVER_FROM_RESCUE,
	SERVER_SAVE,    /* of its owner's disk: also what begins again after a failure */
	SERVER_SAVED,   /* or given up */
	SERVER_RELEASE, /* the owner lets it go */
	SERVER_CLEANED,
	SERVER_EVENTS,
};

/* What follows. -EBUSY with a sentence if `event` can't happen in `state`. */
int server_next(enum server_state state, enum server_event event, enum server_state *ret,
	struct error *e) must_use;

const char *server_state_name(enum server_state state);
/* -EINVAL if there is none of that name. */
int server_state_read(const char *name, enum server_state *ret) must_use;

/* How long it may stay before that is a failure; 0: as long as it likes. */
uint64_t server_deadline_ns(enum server_state state);
/* Whether the deploy agent works in it, and which task: "erase". NULL: none. */
const char *server_task(enum server_state state);
/* Whether somebody owns it. */
bool server_is_owned(enum server_state state);
/* Whether it may be forgotten; a failed one may where it is nobody's. */
bool server_may_go(enum server_state state, bool has_failed);

/*
 * What a server's agent told (agent/inventory.h), checked and cut to what is known: strangers can send it. A new
 * object. -EINVAL with the field.
 */
int server_inventory_read(const json_t *told, json_t **ret, struct error *e) must_use;

/* What it offers. */
struct server_facts {
	uint64_t cpus, memory_bytes, disk_bytes; /* of the largest disk */
	uint64_t nic_mbit;                       /* of the fastest card with a link; 0: unknown */
};
void server_facts(const json_t *inventory, struct server_facts *ret);

/* "c64-m512": the class that it is of if nobody gave it one; the caller owns it. */
char *server_class(const struct server_facts *facts) must_use;

/* What is asked for; 0 and NULL: whatever. */
struct server_wish {
	const char *class;  /* a class's name, or at least cN-mM */
	const char *server; /* this one */
	uint64_t cpus, memory_bytes, disk_bytes, nic_mbit;
};
/* NULL if it fits, else what it lacks: "4 CPUs, not 8"; the caller owns it. */
char *server_lacks(const struct server_facts *facts, const char *class, const char *name,
	const struct server_wish *wish) must_use;

/* The first measurement (TPM PCR) that is another one, or -1. No TPM in both: -1; in one: 0. */
int server_measures_differ(const json_t *before, const json_t *now) must_use;
