/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/console.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "abi/runner.h"
#include "test.h"

static int detached_count;

static void on_detached(void *data)
{
	(void)data;
	detached_count++;
}

struct scene {
	struct loop *loop;
	struct console *console;
	int instance; /* the other end of the terminal */
	int log;
};

static struct scene make_scene(void)
{
	struct scene s = {};
	struct error e = {};
	int pair[2];
	expect_equal(loop_new(&s.loop, &e), 0);
	expect_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	s.instance = pair[1];
	s.log = memfd_create("log", MFD_CLOEXEC);
	struct console_options options = {
		.loop = s.loop, .terminal = pair[0], .log = dup(s.log), .detached = on_detached
	};
	expect_equal(console_new(&options, &s.console, &e), 0);
	detached_count = 0;
	return s;
}

static void end_scene(struct scene *s)
{
	console_free(s->console);
	loop_free(s->loop);
	close(s->instance);
	close(s->log);
}

static void step(struct scene *s)
{
	for (int i = 0; i < 20; i++)
		expect_equal(loop_step(s->loop, NS_PER_MS), 0);
}

static void keeps_the_last_output(void)
{
	struct scene s = make_scene();
	static char line[1000];
	memset(line, 'x', sizeof(line));
	for (int i = 0; i < 100; i++) {
		line[0] = (char)('0' + i % 10);
		console_put(s.console, line, sizeof(line));
	}
	expect_equal(console_total(s.console), 100000);
	static char last[RUNNER_CONSOLE_MAX + 10];
	expect_equal(console_last(s.console, last, sizeof(last)), RUNNER_CONSOLE_MAX);
	expect_equal(last[RUNNER_CONSOLE_MAX - 1000], '9');
	expect_equal(console_last(s.console, last, 1000), 1000);
	expect_equal(last[0], '9');
	console_clear(s.console);
	expect_equal(console_last(s.console, last, sizeof(last)), 0);
	console_put(s.console, "new", 3);
	expect_equal(console_last(s.console, last, sizeof(last)), 3);
	end_scene(&s);
}

static void the_log_starts_again_and_keeps_the_end(void)
{
	struct scene s = make_scene();
	static char line[1000];
	memset(line, 'y', sizeof(line));
	for (int i = 0; i < 1000; i++)
		console_put(s.console, line, sizeof(line));
	console_put(s.console, "END", 3);
	struct stat stat;
	expect_equal(fstat(s.log, &stat), 0);
	expect(stat.st_size <= 2 * RUNNER_CONSOLE_MAX + 1000);
	char end[3];
	expect_equal(pread(s.log, end, 3, stat.st_size - 3), 3);
	expect(memcmp(end, "END", 3) == 0);
	end_scene(&s);
}

static void carries_both_ways_and_replays(void)
{
	struct scene s = make_scene();
	expect_equal(write(s.instance, "hello", 5), 5);
	step(&s);
	int pair[2], other[2];
	expect_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	expect_equal(console_attach(s.console, pair[0], false, true), 0);
	step(&s);
	char bytes[64];
	expect_equal(read(pair[1], bytes, sizeof(bytes)), 5);
	expect_equal(write(pair[1], "input", 5), 5);
	step(&s);
	expect_equal(recv(s.instance, bytes, sizeof(bytes), MSG_DONTWAIT), 5);
	expect(memcmp(bytes, "input", 5) == 0);
	/* A second one must steal. */
	expect_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, other), 0);
	expect_equal(console_attach(s.console, other[0], false, false), -EBUSY);
	expect_equal(console_attach(s.console, other[0], true, false), 0);
	expect_equal(detached_count, 1);
	expect_equal(read(pair[1], bytes, sizeof(bytes)), 0);
	close(other[1]);
	step(&s);
	expect_equal(detached_count, 2);
	close(pair[1]);
	end_scene(&s);
}

static void a_reader_that_sleeps_stops_only_for_a_while(void)
{
	struct scene s = make_scene();
	int pair[2];
	expect_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	expect_equal(console_attach(s.console, pair[0], false, false), 0);
	/* More than its socket and our buffer hold, from a device that cannot wait. */
	static char much[65536];
	for (int i = 0; i < 64 && detached_count == 0; i++)
		console_put(s.console, much, sizeof(much));
	expect_equal(detached_count, 1);
	close(pair[1]);
	end_scene(&s);
}

static const struct test tests[] = {
	{ "the last output is kept, and forgotten when asked", keeps_the_last_output },
	{ "the log starts again and keeps its end", the_log_starts_again_and_keeps_the_end },
	{ "bytes go both ways, the past is replayed, one is attached",
		carries_both_ways_and_replays },
	{ "who does not read is detached", a_reader_that_sleeps_stops_only_for_a_while },
};

TEST_MAIN(tests)
