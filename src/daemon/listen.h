/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen.h - the socket that clients connect to: from systemd, or made in the daemon's directory.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"

/* A group id by name; (gid_t)-1 if there is none. */
gid_t listen_group(const char *name);

/*
 * The listening stream socket that systemd passed (LISTEN_FDS), else a new `unix.socket` in `dir`: mode
 * 0660, of `group` unless that is (gid_t)-1. The lock on `dir` is ours, so an old socket file is stale.
 */
int listen_open(int dir, gid_t group, int *ret, bool *ret_is_passed, struct error *e) must_use;
