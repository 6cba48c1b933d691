/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance.c - the states of an instance and what may happen in each.
 */
#include "model/instance.h"

#include <errno.h>

static const struct {
	const char *name;
	int code;
	bool is_alive;
	const char *refusal; /* what is said to an event that can't happen */
} states[] = {
	[INSTANCE_STOPPED] = { "Stopped", 102, false, "The instance is not running" },
	[INSTANCE_STARTING] = { "Starting", 106, false, "The instance is starting" },
	[INSTANCE_RUNNING] = { "Running", 103, true, "The instance is already running" },
	[INSTANCE_FREEZING] = { "Freezing", 109, true, "The instance is being frozen" },
	[INSTANCE_FROZEN] = { "Frozen", 110, true, "The instance is frozen" },
	[INSTANCE_STOPPING] = { "Stopping", 107, true, "The instance is stopping" },
	[INSTANCE_ERROR] = { "Error", 112, false,
		"What the instance left behind could not be removed" },
};
static_assert(ARRAY_SIZE(states) == INSTANCE_STATES, "a state has no name");

#define NO INSTANCE_STATES

/* clang-format off */
static const unsigned char table[INSTANCE_STATES][INSTANCE_EVENTS] = {
	[INSTANCE_STOPPED] = {
		[INSTANCE_START] = INSTANCE_STARTING, [INSTANCE_STARTED] = NO, [INSTANCE_FREEZE] = NO,
		[INSTANCE_IS_FROZEN] = NO, [INSTANCE_THAW] = NO, [INSTANCE_STOP] = NO,
		[INSTANCE_STOP_GIVEN_UP] = NO, [INSTANCE_GONE] = INSTANCE_STOPPED,
		[INSTANCE_BROKEN] = INSTANCE_ERROR },
	[INSTANCE_STARTING] = {
		[INSTANCE_START] = NO, [INSTANCE_STARTED] = INSTANCE_RUNNING, [INSTANCE_FREEZE] = NO,
		[INSTANCE_IS_FROZEN] = NO, [INSTANCE_THAW] = NO, [INSTANCE_STOP] = NO,
		[INSTANCE_STOP_GIVEN_UP] = NO, [INSTANCE_GONE] = INSTANCE_STOPPED,
		[INSTANCE_BROKEN] = INSTANCE_ERROR },
	[INSTANCE_RUNNING] = {
		[INSTANCE_START] = NO, [INSTANCE_STARTED] = NO, [INSTANCE_FREEZE] = INSTANCE_FREEZING,
		[INSTANCE_IS_FROZEN] = NO, [INSTANCE_THAW] = NO, [INSTANCE_STOP] = INSTANCE_STOPPING,
		[INSTANCE_STOP_GIVEN_UP] = NO, [INSTANCE_GONE] = INSTANCE_STOPPED,
		[INSTANCE_BROKEN] = INSTANCE_ERROR },
	[INSTANCE_FREEZING] = {
		[INSTANCE_START] = NO, [INSTANCE_STARTED] = NO, [INSTANCE_FREEZE] = NO,
		[INSTANCE_IS_FROZEN] = INSTANCE_FROZEN, [INSTANCE_THAW] = INSTANCE_RUNNING,
		[INSTANCE_STOP] = INSTANCE_STOPPING, [INSTANCE_STOP_GIVEN_UP] = NO,
		[INSTANCE_GONE] = INSTANCE_STOPPED, [INSTANCE_BROKEN] = INSTANCE_ERROR },
	[INSTANCE_FROZEN] = {
		[INSTANCE_START] = NO, [INSTANCE_STARTED] = NO, [INSTANCE_FREEZE] = NO,
		[INSTANCE_IS_FROZEN] = NO, [INSTANCE_THAW] = INSTANCE_RUNNING,
		[INSTANCE_STOP] = INSTANCE_STOPPING, [INSTANCE_STOP_GIVEN_UP] = NO,
		[INSTANCE_GONE] = INSTANCE_STOPPED, [INSTANCE_BROKEN] = INSTANCE_ERROR },
	[INSTANCE_STOPPING] = {
		[INSTANCE_START] = NO, [INSTANCE_STARTED] = NO, [INSTANCE_FREEZE] = NO,
		[INSTANCE_IS_FROZEN] = NO, [INSTANCE_THAW] = NO, [INSTANCE_STOP] = INSTANCE_STOPPING,
		[INSTANCE_STOP_GIVEN_UP] = INSTANCE_RUNNING, [INSTANCE_GONE] = INSTANCE_STOPPED,
		[INSTANCE_BROKEN] = INSTANCE_ERROR },
	[INSTANCE_ERROR] = {
		[INSTANCE_START] = NO, [INSTANCE_STARTED] = NO, [INSTANCE_FREEZE] = NO,
		[INSTANCE_IS_FROZEN] = NO, [INSTANCE_THAW] = NO, [INSTANCE_STOP] = INSTANCE_STOPPING,
		[INSTANCE_STOP_GIVEN_UP] = NO, [INSTANCE_GONE] = INSTANCE_STOPPED,
		[INSTANCE_BROKEN] = INSTANCE_ERROR },
};
/* clang-format on */

int instance_next(enum instance_state state, enum instance_event event, enum instance_state *ret,
	struct error *e)
{
	assert(state < INSTANCE_STATES && event < INSTANCE_EVENTS);
	unsigned char next = table[state][event];
	if (next == NO) {
		if (state == INSTANCE_RUNNING && event == INSTANCE_THAW)
			return error_set(e, -EBUSY, "The instance is not frozen");
		return error_set(e, -EBUSY, "%s", states[state].refusal);
	}
	*ret = (enum instance_state)next;
	return 0;
}

const char *instance_state_name(enum instance_state state)
{
	assert(state < INSTANCE_STATES);
	return states[state].name;
}

int instance_state_code(enum instance_state state)
{
	assert(state < INSTANCE_STATES);
	return states[state].code;
}

bool instance_state_is_alive(enum instance_state state)
{
	assert(state < INSTANCE_STATES);
	return states[state].is_alive;
}
