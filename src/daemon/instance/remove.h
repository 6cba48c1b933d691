/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remove.h - takes an instance away with all that is its own.
 */
#pragma once

#include "daemon/instance/instances.h"

typedef void remove_done(void *data, int code, const struct error *e);

/*
 * Removes a stopped instance with its snapshots and backups; it is no more when `done` is told 0. -EBUSY
 * if it runs, -EPERM if it is protected.
 */
int instance_remove(
	struct instance *instance, remove_done *done, void *data, struct error *e) must_use;

/* One of which nothing but its volume and its record may be there; claimed or half made. */
int instance_discard(
	struct instance *instance, remove_done *done, void *data, struct error *e) must_use;

/* For an ephemeral one that has ended. */
void instance_remove_ended(struct instance *instance);
