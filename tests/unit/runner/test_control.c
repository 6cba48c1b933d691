/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/control.h"

#include <errno.h>
#include <fcntl.h>

#include "base/channel.h"
#include "test.h"

static uint16_t last_type;
static size_t last_fds;

static void on_request(void *data, struct control_peer *peer, const struct runner_header *request,
	const int *fds, size_t fd_count)
{
	(void)data;
	last_type = request->type;
	last_fds = fd_count;
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
	control_answer_done(peer, request);
}

struct scene {
	struct loop *loop;
	struct control *control;
	int peer;
};

static struct scene make_scene(void)
{
	struct scene s = {};
	struct error e = {};
	int pair[2];
	expect_equal(loop_new(&s.loop, &e), 0);
	expect_equal(control_new(s.loop, -1, on_request, NULL, &s.control, &e), 0);
	expect_equal(channel_pair(pair, &e), 0);
	expect_equal(control_add(s.control, pair[0]), 0);
	s.peer = pair[1];
	last_type = 0;
	return s;
}

static void end_scene(struct scene *s)
{
	control_free(s->control);
	loop_free(s->loop);
	close(s->peer);
}

union message {
	struct runner_header header;
	struct runner_state state;
	struct runner_event event;
	struct runner_error error;
};

static ssize_t exchange(struct scene *s, const void *message, size_t length, union message *answer,
	size_t *fd_count, int *fd)
{
	if (message)
		expect_equal(channel_send(s->peer, message, length, NULL, 0), 0);
	for (int i = 0; i < 3; i++)
		expect_equal(loop_step(s->loop, NS_PER_MS), 0);
	return channel_receive(s->peer, answer, sizeof(*answer), fd, fd_count);
}

static void answers_hello_with_the_state(void)
{
	struct scene s = make_scene();
	union message answer;
	int fd = -1;
	size_t count = 1;
	struct runner_state state = { .status = RUNNER_RUNNING, .pid = 42 };
	cleanup(close) int pidfd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	control_set_state(s.control, &state, pidfd);
	/* Nobody said HELLO: nobody is told. */
	expect_equal(exchange(&s, NULL, 0, &answer, &count, &fd), -EAGAIN);
	struct runner_header hello = { sizeof(hello), RUNNER_VERSION, RUNNER_HELLO, 9, 0 };
	count = 1;
	expect_equal(exchange(&s, &hello, sizeof(hello), &answer, &count, &fd), sizeof(state));
	expect_equal(answer.header.type, RUNNER_STATE);
	expect_equal(answer.header.serial, 9);
	expect_equal(answer.state.pid, 42);
	expect_equal(count, 1);
	close(fd);
	control_tell_event(s.control, RUNNER_EVENT_OOM, 3);
	count = 1;
	expect(exchange(&s, NULL, 0, &answer, &count, &fd) > 0);
	expect_equal(answer.header.type, RUNNER_EVENT);
	expect_equal(answer.event.value, 3);
	end_scene(&s);
}

static void refuses_what_is_malformed(void)
{
	struct scene s = make_scene();
	union message answer;
	int fd;
	size_t count = 1;
	/* Shorter than its type says, of another version, of no type, with a wrong length. */
	struct runner_header bad[] = {
		{ sizeof(bad[0]), RUNNER_VERSION, RUNNER_SIGNAL, 1, 0 },
		{ sizeof(bad[0]), RUNNER_VERSION + 1, RUNNER_STOP, 2, 0 },
		{ sizeof(bad[0]), RUNNER_VERSION, 999, 3, 0 },
		{ sizeof(bad[0]), RUNNER_VERSION, RUNNER_STATE, 4, 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		count = 1;
		expect(exchange(&s, &bad[i], sizeof(bad[i]), &answer, &count, &fd) > 0);
		expect_equal(answer.header.type, RUNNER_ERROR);
		expect_equal(answer.header.serial, i + 1);
	}
	struct runner_header lie = { 4000, RUNNER_VERSION, RUNNER_STOP, 5, 0 };
	count = 1;
	expect_equal(exchange(&s, &lie, sizeof(lie), &answer, &count, &fd), -EAGAIN);
	count = 1;
	expect_equal(exchange(&s, &lie, 3, &answer, &count, &fd), -EAGAIN);
	expect_equal(last_type, 0);
	struct runner_header stop = { sizeof(stop), RUNNER_VERSION, RUNNER_STOP, 6, 0 };
	count = 1;
	expect(exchange(&s, &stop, sizeof(stop), &answer, &count, &fd) > 0);
	expect_equal(answer.header.type, RUNNER_DONE);
	expect_equal(last_type, RUNNER_STOP);
	end_scene(&s);
}

static void survives_many_and_their_end(void)
{
	struct scene s = make_scene();
	int ends[CONTROL_PEERS_MAX];
	size_t added = 0;
	struct error e = {};
	for (size_t i = 0; i < CONTROL_PEERS_MAX; i++) {
		int pair[2];
		expect_equal(channel_pair(pair, &e), 0);
		int r = control_add(s.control, pair[0]);
		expect_equal(r, i < CONTROL_PEERS_MAX - 1 ? 0 : -EBUSY);
		ends[added++] = pair[1];
	}
	for (size_t i = 0; i < added; i++)
		close(ends[i]);
	for (int i = 0; i < 3; i++)
		expect_equal(loop_step(s.loop, NS_PER_MS), 0);
	int pair[2];
	expect_equal(channel_pair(pair, &e), 0);
	expect_equal(control_add(s.control, pair[0]), 0);
	close(pair[1]);
	end_scene(&s);
}

static const struct test tests[] = {
	{ "HELLO is answered with the state, and news follow", answers_hello_with_the_state },
	{ "a malformed message is refused and does nothing", refuses_what_is_malformed },
	{ "connections are bounded and may go at any time", survives_many_and_their_end },
};

TEST_MAIN(tests)
