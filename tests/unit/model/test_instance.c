/* SPDX-License-Identifier: Apache-2.0 */
#include "model/instance.h"

#include <errno.h>

#include "test.h"

static enum instance_state next(enum instance_state state, enum instance_event event)
{
	enum instance_state ret = INSTANCE_STATES;
	expect_equal(instance_next(state, event, &ret, NULL), 0);
	return ret;
}

static void a_life(void)
{
	enum instance_state state = INSTANCE_STOPPED;
	static const enum instance_event events[] = { INSTANCE_START, INSTANCE_STARTED,
		INSTANCE_FREEZE, INSTANCE_IS_FROZEN, INSTANCE_THAW, INSTANCE_STOP,
		INSTANCE_STOP_GIVEN_UP, INSTANCE_STOP, INSTANCE_STOP, INSTANCE_GONE };
	static const int codes[] = { 106, 103, 109, 110, 103, 107, 103, 107, 107, 102 };
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		state = next(state, events[i]);
		expect_equal(instance_state_code(state), codes[i]);
	}
}

static void it_can_go_at_any_time(void)
{
	for (int state = 0; state < INSTANCE_STATES; state++) {
		expect_equal(next(state, INSTANCE_GONE), INSTANCE_STOPPED);
		expect_equal(next(state, INSTANCE_BROKEN), INSTANCE_ERROR);
	}
}

static void refuses_with_a_sentence(void)
{
	static const struct {
		enum instance_state state;
		enum instance_event event;
		const char *text;
	} cases[] = {
		{ INSTANCE_STOPPED, INSTANCE_STOP, "not running" },
		{ INSTANCE_STOPPED, INSTANCE_FREEZE, "not running" },
		{ INSTANCE_STOPPED, INSTANCE_THAW, "not running" },
		{ INSTANCE_STARTING, INSTANCE_START, "is starting" },
		{ INSTANCE_STARTING, INSTANCE_STOP, "is starting" },
		{ INSTANCE_RUNNING, INSTANCE_START, "already running" },
		{ INSTANCE_RUNNING, INSTANCE_THAW, "not frozen" },
		{ INSTANCE_FROZEN, INSTANCE_START, "is frozen" },
		{ INSTANCE_FROZEN, INSTANCE_FREEZE, "is frozen" },
		{ INSTANCE_STOPPING, INSTANCE_START, "is stopping" },
		{ INSTANCE_STOPPING, INSTANCE_FREEZE, "is stopping" },
		{ INSTANCE_ERROR, INSTANCE_START, "could not be removed" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum instance_state ret = INSTANCE_STATES;
		struct error e = {};
		expect_equal(instance_next(cases[i].state, cases[i].event, &ret, &e), -EBUSY);
		expect_equal(ret, INSTANCE_STATES);
		expect_contains(e.text, cases[i].text);
	}
}

static void names(void)
{
	expect_text(instance_state_name(INSTANCE_RUNNING), "Running");
	expect_text(instance_state_name(INSTANCE_STOPPED), "Stopped");
	expect(instance_state_is_alive(INSTANCE_FROZEN));
	expect(!instance_state_is_alive(INSTANCE_STARTING));
	expect(!instance_state_is_alive(INSTANCE_ERROR));
}

static const struct test tests[] = {
	{ "a life goes through the states", a_life },
	{ "an instance can go at any time", it_can_go_at_any_time },
	{ "what can't happen is refused with a sentence", refuses_with_a_sentence },
	{ "states have LXD's names", names },
};
TEST_MAIN(tests)
