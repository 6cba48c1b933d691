/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hooks.h - programs that config.json wants run at moments of a container's life.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"

/* Runs `hooks`.NAME one after another with `state` on their standard input; the first failure ends it. */
int oci_hooks_run(
	const json_t *hooks, const char *name, const char *state, struct error *e) must_use;
