/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.h - a program that runs in an instance for a client: its streams are websockets of an operation.
 */
#pragma once

#include "daemon/instance/instances.h"
#include "daemon/operation.h"

/*
 * Runs what `body` asks for. *ret is the operation; it ends with {"return": code}. -EINVAL for a body that is
 * wrong, -EBUSY if the instance does not run.
 */
int exec_start(struct instance *instance, const json_t *body, struct operation **ret,
	struct error *e) must_use;
