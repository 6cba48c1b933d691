/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshots.h - what an instance was at one moment: its volume and its config, kept under a name.
 */
#pragma once

#include "daemon/instance/instances.h"

#define SNAPSHOTS_MAX 1000 /* of one instance */

typedef void snapshot_done(void *data, int code, const struct error *e);

/* Removes those whose time has come. */
void snapshots_expire(struct service *service);

/* The snapshot's object in instance->snapshots, or NULL. */
json_t *snapshot_find(const struct instance *instance, const char *name);
/* -ENOENT with a sentence. */
int snapshot_get(
	const struct instance *instance, const char *name, json_t **ret, struct error *e) must_use;

/*
 * Makes one; `name` "" or NULL chooses by snapshots.pattern. `expires_at` NULL: by snapshots.expiry. *ret is
 * its name, which the caller owns. `is_stateful`: with the state of a machine that runs.
 */
int snapshot_create(struct instance *instance, const char *name, const char *expires_at,
	bool is_stateful, snapshot_done *done, void *data, char **ret, struct error *e) must_use;
int snapshot_delete(struct instance *instance, const char *name, snapshot_done *done, void *data,
	struct error *e) must_use;
int snapshot_rename(struct instance *instance, const char *name, const char *new_name,
	struct error *e) must_use;
/* Changes `expires_at`. */
int snapshot_update(struct instance *instance, const char *name, const char *expires_at,
	struct error *e) must_use;

/*
 * Puts the instance back to the snapshot: "snap0" or "c1/snap0". One that runs is stopped first and
 * started again. `is_stateful`: it goes on from the snapshot's state, also if it did not run.
 */
int snapshot_restore(struct instance *instance, const char *name, bool is_stateful,
	snapshot_done *done, void *data, struct error *e) must_use;
