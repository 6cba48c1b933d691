/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_change.h - changes of a running machine that its monitor and its guest have a part in: CPUs, memory,
 * disks and their limits.
 */
#pragma once

#include "daemon/instance/supervisor.h"

typedef void machine_changed(void *data, int code, const struct error *e);

/*
 * -EBUSY with a sentence for what asks for a restart: more CPUs than are there, more memory than it booted
 * with. Changes nothing.
 */
int machine_change_check(struct live *live, const struct spec *before, const struct spec *wanted,
	struct error *e) must_use;

/*
 * Goes from `before` to `wanted`, step by step; if one fails those before it are taken back. The instance is
 * claimed. `done` is called once, maybe before this returns.
 */
void machine_change(struct live *live, const struct spec *before, const struct spec *wanted,
	machine_changed *done, void *data);

/* Whether a disk of a machine may come, go or change while it runs. */
bool machine_change_is_disk(const json_t *device);

/* An order for the agent (see src/machine/tell.c), which nobody waits for; `request` is taken over. */
void machine_tell(struct instance *instance, json_t *request);
