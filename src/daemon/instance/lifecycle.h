/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lifecycle.h - starts, stops, freezes and restarts instances.
 *
 * Each function that takes a `done` returns 0 and calls it once, later or before it returns, or returns a
 * negative errno and never calls it. While it works the instance is claimed.
 */
#pragma once

#include "daemon/instance/instances.h"

#define LIFECYCLE_STOP_NS (600 * NS_PER_SEC) /* how long an orderly end may take if nobody says */

struct live;

typedef void lifecycle_done(void *data, int code, const struct error *e);

/* Called when an ephemeral instance has ended: it is to be removed. Nobody has claimed it. */
void lifecycle_set_remove(struct service *service, void (*remove)(struct instance *instance));

int lifecycle_start(
	struct instance *instance, lifecycle_done *done, void *data, struct error *e) must_use;

/* `timeout_ns` 0: LIFECYCLE_STOP_NS; after it the instance goes on and `done` gets -ETIMEDOUT. */
int lifecycle_stop(struct instance *instance, bool is_forced, uint64_t timeout_ns,
	lifecycle_done *done, void *data, struct error *e) must_use;
int lifecycle_restart(struct instance *instance, bool is_forced, uint64_t timeout_ns,
	lifecycle_done *done, void *data, struct error *e) must_use;

int lifecycle_freeze(struct instance *instance, struct error *e) must_use;
int lifecycle_thaw(struct instance *instance, struct error *e) must_use;

/* For what ran before the daemon did: a live part of the instance that nobody started. */
struct live *lifecycle_revive(struct instance *instance);

/* The runner of lifecycle_revive() is there: the instance runs, or is frozen. */
void lifecycle_adopted(struct instance *instance);

/*
 * The runner of lifecycle_revive() is not there: what it left is removed, and `done` called. Then the
 * instance is stopped.
 */
void lifecycle_clear(struct instance *instance, lifecycle_done *done, void *data);

/* Lets go of the runner, which goes on: the daemon ends. */
void lifecycle_leave(struct instance *instance);
