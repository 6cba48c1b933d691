/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plug.h - requests of berthd that change the devices of a running machine.
 */
#pragma once

#include "abi/runner.h"
#include "vmm/assemble.h"

/* Takes the descriptor, also when it fails. */
int plug_device(struct assembly *assembly, const struct runner_plug *plug, int fd,
	struct error *e) must_use;

/* -EAGAIN until the guest has let go of it. */
int unplug_device(
	struct assembly *assembly, const struct runner_plug *plug, struct error *e) must_use;

int plug_set_rates(
	struct assembly *assembly, const struct runner_plug *plug, struct error *e) must_use;
