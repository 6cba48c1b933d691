/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suspend.h - the runner's side of a snapshot: it asks for it, writes what comes into the daemon's file, and lets go on.
 */
#pragma once

#include "runner/keeper.h"

struct suspend {
	int channel;        /* to the unikernel; -1: it has none, and cannot be kept */
	int pidfd;          /* borrowed */
	uint64_t bytes_max; /* of data that it may send */
	bool stands;
};

/* RUNNER_SUSPEND and RUNNER_RESUME, for struct keeper_options; `data` is a struct suspend. */
bool suspend_request(
	void *data, struct control_peer *peer, const struct runner_header *request, int fd);
