/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn.h - one at a time changes an instance; who finds it held waits in its queue, first come first served.
 *
 * A holder claims and releases. A release wakes the first of the queue, from the loop: who releases may go on
 * with the instance, and claim it again, before anybody else does.
 */
#pragma once

#include "daemon/instance/instances.h"

#define TURN_LIMIT_NS (10 * NS_PER_SEC) /* how long a client's request waits */

struct turn;

/* -EBUSY if somebody else holds it; instance_release() lets the next one have it. */
int instance_claim(struct instance *instance, const char *doing, struct error *e) must_use;
void instance_release(struct instance *instance);

/* One export less reads its snapshots. */
void instance_export_ended(struct instance *instance);

/*
 * Once, from the loop: nobody holds the instance (`code` 0), or it is still held after the limit (-EBUSY), was
 * removed (-ENOENT), or the daemon ends (-ESHUTDOWN); then `instance` is NULL. The turn is no more.
 */
typedef void turn_call(void *data, struct instance *instance, int code, const struct error *e);

struct turn_options {
	uint64_t limit_ns; /* 0: as long as it takes */
	bool is_alone;     /* waits for exports as well */
	turn_call *call;
	void *data;
};

/* Whether a newcomer has to wait. */
bool turn_is_needed(const struct instance *instance);

struct turn *turn_wait(struct instance *instance, const struct turn_options *options);

/* Waits no more; `call` does not come. NULL is fine. */
void turn_leave(struct turn *turn);

/* Whether one with this call waits already: for work that is done once, however often it is asked for. */
bool turn_is_waiting(const struct instance *instance, turn_call *call);

/* The instance goes: who waits is told so, from the loop. */
void turns_gone(struct instance *instance);

/* The daemon ends: whoever waits for any instance is told so, now. */
int turns_start(struct service *service, struct error *e) must_use;
void turns_stop(struct service *service);
