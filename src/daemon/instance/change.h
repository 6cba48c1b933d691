/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change.h - changes what an instance is asked to be, while it runs or not.
 */
#pragma once

#include "daemon/instance/instances.h"

typedef void change_done(void *data, int code, const struct error *e);

/*
 * Gives the instance the fields of `wanted` (config, devices, profiles, description, ephemeral,
 * architecture; those that are absent or null stay). What it is asked to be is checked first; a running one
 * gets its new limits at once. `done` is called once, maybe before this returns; not at all if it fails.
 */
int instance_change(struct instance *instance, const json_t *wanted, change_done *done, void *data,
	struct error *e) must_use;

/* Its profile has changed: takes over what can be while it runs; a warning says what can't. */
void instance_reapply(struct instance *instance);
