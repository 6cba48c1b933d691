/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exit_file.h - how an instance ended, in RUNNER_EXIT_FILE (abi/runner.h): it appears whole, and is opened early
 * under another name, as a jail or a full disk may be in the way at the end.
 */
#pragma once

#include "abi/runner.h"
#include "base/base.h"
#include "base/error.h"

/* The descriptor in *ret is the caller's. */
int exit_file_open(int dir, int *ret, struct error *e) must_use;

/* `why` is a sentence for whoever started the instance, or NULL. -1 as `file`: nothing is written. */
void exit_file_write(int file, int dir, const struct runner_state *state, const char *why);
