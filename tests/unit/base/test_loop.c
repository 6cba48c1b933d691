/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "test.h"

struct seen {
	struct loop *loop;
	struct source *source, *other;
	int count;
	char order[16];
};

static void on_timer_a(void *data)
{
	struct seen *seen = data;
	seen->order[seen->count++] = 'a';
}

static void on_timer_b(void *data)
{
	struct seen *seen = data;
	seen->order[seen->count++] = 'b';
}

static void on_stop(void *data)
{
	struct seen *seen = data;
	loop_stop(seen->loop, 7);
}

static void timers_come_in_order(void)
{
	cleanup(loop_free) struct loop *loop = NULL;
	expect_equal(loop_new(&loop, NULL), 0);
	struct seen seen = { .loop = loop };
	cleanup(source_free) struct source *a = loop_add_timer(loop, on_timer_a, &seen);
	cleanup(source_free) struct source *b = loop_add_timer(loop, on_timer_b, &seen);
	cleanup(source_free) struct source *never = loop_add_timer(loop, on_timer_b, &seen);
	cleanup(source_free) struct source *stop = loop_add_timer(loop, on_stop, &seen);
	uint64_t now = loop_now();
	timer_set(stop, now + 3 * NS_PER_MS);
	timer_set(never, now + NS_PER_MS);
	timer_set(a, now + 2 * NS_PER_MS);
	timer_set(b, now + NS_PER_MS);
	timer_stop(never);
	expect_equal(loop_run(loop), 7);
	expect_text(seen.order, "ba");
}

static void on_readable(void *data, int fd, uint32_t events)
{
	struct seen *seen = data;
	char c;
	expect(events & EPOLLIN);
	expect_equal(read(fd, &c, 1), 1);
	seen->count++;
	/* Both were ready in one batch: the other must not be called any more. */
	source_free(seen->other);
	source_free(seen->source);
	loop_stop(seen->loop, 0);
}

static void released_source_is_not_called(void)
{
	cleanup(loop_free) struct loop *loop = NULL;
	expect_equal(loop_new(&loop, NULL), 0);
	int one[2], two[2];
	expect_equal(pipe(one) | pipe(two), 0);
	struct seen seen = { .loop = loop };
	expect_equal(loop_add_fd(loop, one[0], EPOLLIN, on_readable, &seen, &seen.source), 0);
	expect_equal(loop_add_fd(loop, two[0], EPOLLIN, on_readable, &seen, &seen.other), 0);
	expect_equal(write(one[1], "x", 1) + write(two[1], "x", 1), 2);
	expect_equal(loop_run(loop), 0);
	expect_equal(loop_step(loop, NS_PER_MS), 0);
	expect_equal(seen.count, 1);
}

static void on_child(void *data, pid_t pid, int status)
{
	struct seen *seen = data;
	expect(pid > 0 && WIFEXITED(status));
	seen->count = WEXITSTATUS(status);
	loop_stop(seen->loop, 0);
}

static void child_is_reaped_with_its_status(void)
{
	cleanup(loop_free) struct loop *loop = NULL;
	expect_equal(loop_new(&loop, NULL), 0);
	struct seen seen = { .loop = loop };
	pid_t pid = fork();
	if (pid == 0)
		_exit(42);
	cleanup(close) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	expect(pidfd >= 0);
	expect_equal(loop_add_child(loop, pid, pidfd, on_child, &seen, &seen.source), 0);
	expect_equal(loop_run(loop), 0);
	expect_equal(seen.count, 42);
	expect(waitpid(pid, NULL, WNOHANG) < 0);
}

static void on_signal(void *data, int number)
{
	struct seen *seen = data;
	seen->count = number;
	loop_stop(seen->loop, 0);
}

static void signal_is_delivered(void)
{
	cleanup(loop_free) struct loop *loop = NULL;
	expect_equal(loop_new(&loop, NULL), 0);
	struct seen seen = { .loop = loop };
	cleanup(source_free) struct source *source = NULL;
	expect_equal(loop_add_signal(loop, SIGUSR1, on_signal, &seen, &source), 0);
	raise(SIGUSR1);
	expect_equal(loop_run(loop), 0);
	expect_equal(seen.count, SIGUSR1);
}

static void deferred_call_comes_before_waiting(void)
{
	cleanup(loop_free) struct loop *loop = NULL;
	expect_equal(loop_new(&loop, NULL), 0);
	struct seen seen = { .loop = loop };
	loop_defer(loop, on_timer_a, &seen);
	loop_defer(loop, on_timer_b, &seen);
	loop_defer(loop, on_stop, &seen);
	expect_equal(loop_run(loop), 7);
	expect_text(seen.order, "ab");
}

static const struct test tests[] = {
	{ "timers come in the order of their times", timers_come_in_order },
	{ "a source released in a batch is not called", released_source_is_not_called },
	{ "a child is reaped with its status", child_is_reaped_with_its_status },
	{ "a signal is delivered in the loop", signal_is_delivered },
	{ "deferred calls come in order before the next wait", deferred_call_comes_before_waiting },
};
TEST_MAIN(tests)
