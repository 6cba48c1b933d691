/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spare.h - starts the runners of instances: at once, because of each kind that was started lately one waits already.
 *
 * A spare runner has no instance, no rights over one and no descriptor but its end of a channel; when the daemon ends,
 * however it does, so does the spare.
 */
#pragma once

#include "base/error.h"
#include "daemon/service.h"
#include "host/process.h"
#include "kind/kind.h"

struct spare_start {
	const struct kind *kind;
	const char *program; /* its runner's path */
	const char *plan;    /* the path of its plan */
	bool same_addresses;
	int control; /* a listener */
	int dir, log;
};

/* A module: between, spare runners are kept. */
int spares_start(struct service *service, struct error *e) must_use;
void spares_stop(struct service *service);

/* An instance runs: now there is time to start the spare runners that are missing. */
void spares_refill(struct service *service);

/* The runner of an instance, and our end of its channel: both are the caller's. */
int spare_begin(struct service *service, const struct spare_start *start, struct process *ret,
	int *ret_channel, struct error *e) must_use;
