/* SPDX-License-Identifier: Apache-2.0 */
/*
 * code_map.h - a file that says which blocks of the guest's code stand where, for profiles: tools/guest-profile reads it.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

struct code_map_line {
	uint64_t hot, hot_end, cold,
		cold_end;     /* addresses in this process: what runs mostly, what seldom */
	uint64_t physical;    /* the guest's */
	uint32_t mode, count; /* enum native_mode; of instructions */
};

/* Makes berth-code-PID.map in the present directory, which must not have it. Before the monitor gives up its rights. */
int code_map_open(int *ret_fd, struct error *e) must_use;

/* One more CPU writes into the map of another. */
int code_map_share(int fd, int *ret_fd, struct error *e) must_use;

/* -errno if the line was not written. */
int code_map_add(int fd, const struct code_map_line *line) must_use;
