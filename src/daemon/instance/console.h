/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.h - a client at the console of an instance.
 */
#pragma once

#include "daemon/instance/instances.h"
#include "daemon/operation.h"

struct console_options {
	uint64_t columns, rows; /* 0: leave the size */
	bool is_forced;         /* detaches who is there */
};

/* *ret is the operation, whose sockets are 0 and control. -EBUSY if the instance does not run. */
int console_start(struct instance *instance, const struct console_options *options,
	struct operation **ret, struct error *e) must_use;
