/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance.h - the states of an instance and what may happen in each.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

enum instance_state {
	INSTANCE_STOPPED,
	INSTANCE_STARTING,
	INSTANCE_RUNNING,
	INSTANCE_FREEZING,
	INSTANCE_FROZEN,
	INSTANCE_STOPPING,
	INSTANCE_ERROR, /* what was left behind could not be removed */
	INSTANCE_STATES,
};

enum instance_event {
	INSTANCE_START,   /* asked for */
	INSTANCE_STARTED, /* its first process runs */
	INSTANCE_FREEZE,  /* asked for */
	INSTANCE_IS_FROZEN,
	INSTANCE_THAW,          /* asked for; done at once */
	INSTANCE_STOP,          /* asked for */
	INSTANCE_STOP_GIVEN_UP, /* it did not follow in time */
	INSTANCE_GONE,          /* its runner has ended, or never began */
	INSTANCE_BROKEN,        /* something of it could not be removed */
	INSTANCE_EVENTS,
};

/* What follows. -EBUSY with a sentence if `event` can't happen in `state`. */
int instance_next(enum instance_state state, enum instance_event event, enum instance_state *ret,
	struct error *e) must_use;

/* LXD's name and number: "Running", 103. */
const char *instance_state_name(enum instance_state state);
int instance_state_code(enum instance_state state);

/* Whether it has processes. */
bool instance_state_is_alive(enum instance_state state);
