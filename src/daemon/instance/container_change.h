/* SPDX-License-Identifier: Apache-2.0 */
/*
 * container_change.h - disks, device nodes and proxies of a running container: they come and go.
 */
#pragma once

#include "daemon/instance/supervisor.h"

typedef void container_changed(void *data, int code, const struct error *e);

/*
 * Makes the running container's disks and nodes those of `wanted`. The instance is claimed,
 * `wanted` stays until `done` is called once,
 * maybe before this returns.
 */
void container_change(
	struct live *live, const struct spec *wanted, container_changed *done, void *data);

/* Whether a device of a container may come, go or change while it runs: all but its root. */
bool container_change_is_live(const json_t *device);

/* A profile has changed: makes a running container's devices those that it has now. Errors are logged. */
void container_renew(struct instance *instance);

/* Looks anew for devices of the host that containers wait for, whenever some come or go. */
int container_watch_start(struct service *service, struct error *e) must_use;
void container_watch_stop(struct service *service);
