/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.h - what an instance uses now, and how lists show it: as JSON text.
 *
 * A list of a thousand instances is asked for by every `lxc list`, so that nothing here makes a JSON
 * object: texts are kept with each instance, counters read through descriptors that stay open.
 */
#pragma once

#include "base/text.h"
#include "daemon/instance/instances.h"

/* Counters of this host's interfaces, read once for many instances. */
struct state_reader {
	char *table;
	struct state_link *links;
	size_t count;
};

void state_reader_init(struct state_reader *reader);
void state_reader_done(struct state_reader *reader);
static inline void state_reader_done_cleanup(struct state_reader *local)
{
	state_reader_done(local);
}

/* GET .../state; `is_full` with what takes longer: disks, peaks, swap. */
void instance_state_add(struct instance *instance, const struct state_reader *reader, bool is_full,
	struct text *text);

/*
 * The instance's object; with `reader` its state, snapshots and backups, too (?recursion=2). `is_full` as
 * above.
 */
void instance_add_text(struct instance *instance, const struct state_reader *reader, bool is_full,
	struct text *text);

/* The same as JSON. */
json_t *instance_json(struct instance *instance) must_use;
json_t *instance_full_json(struct instance *instance) must_use;

/* What can be changed by PUT: the ETag is made of it. */
json_t *instance_seen(const struct instance *instance) must_use;
