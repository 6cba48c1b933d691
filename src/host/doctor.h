/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor.h - what this host can do for berth, what is missing, and the command that mends it.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"

/* In the daemon's directory: what it measured. {engine, why, ...} */
#define ENGINE_FILE "engine.json"

/*
 * Runs all checks, each a moment long, none leaving a trace. `dir` is the daemon's directory; checks that
 * need one are left out if it is NULL. An array of {name, status, detail, remedy}: status is "ok", "degraded"
 * (berth works, something is slower or absent) or "missing" (a part of berth can't work); remedy is "" if
 * nothing is to be done. The caller owns it.
 */
json_t *doctor_json(const char *dir) must_use;

/* Prints it as a table; true if nothing is missing. */
bool doctor_print(const json_t *checks);
