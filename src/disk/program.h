/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program.h - runs a program of the host to its end and keeps what it complained about.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/*
 * Runs `argv` (found in the usual system directories) with an environment of PATH, LC_ALL=C and HOME=/ and
 * no descriptor of ours. `output` becomes its standard output, -1 for none. Blocks. -ENOENT if it is not
 * installed; -EIO with the end of its standard error if it failed.
 */
int program_run(char *const argv[], int output, struct error *e) must_use;

/* Whether the program is installed. */
bool program_exists(const char *name);
