/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rebuild.h - an instance gets a new root, of an image or empty; its config, devices and snapshots stay.
 */
#pragma once

#include "daemon/instance/instances.h"

typedef void rebuild_done(void *data, int code, const struct error *e);

/* `source` is that of the request, borrowed. The instance is stopped. */
int instance_rebuild(struct instance *instance, const json_t *source, rebuild_done *done,
	void *data, struct error *e) must_use;
