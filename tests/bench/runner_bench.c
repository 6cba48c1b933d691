/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runner_bench.c - what the container runner takes: start, exec, memory, many at once.
 *
 * usage: runner_bench PROGRAM DIR start COUNT     DIR has plan.json; microseconds a line, each from
 *        runner_bench PROGRAM DIR exec COUNT      before the runner is spawned to the news that the
 *        runner_bench PROGRAM DIR many COUNT      program runs
 *
 * `many` starts COUNT runners at once, each in DIR/N with its own plan.json, waits until all containers
 * run, prints containers a second, the mean PSS of the runners in kB, and kills them.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "abi/runner.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/loop.h"
#include "base/text.h"
#include "host/process.h"

struct started {
	struct process process;
	int channel;
	int pidfd; /* of the container's first process */
	int dir;
};

static _Noreturn void fail(const char *what, const struct error *e)
{
	(void)fprintf(stderr, "%s: %s\n", what, e->text);
	exit(1);
}

static void spawn_runner(const char *program, const char *path, struct started *ret)
{
	struct error e = {};
	int pair[2];
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || channel_pair(pair, &e) < 0)
		fail(path, &e);
	cleanup(free) char *plan = alloc_printf("%s/plan.json", path);
	const char *const args[] = { "berth-container", "run", plan, NULL };
	const struct process_fd fds[] = { { "channel", pair[1] }, { "dir", dir } };
	struct process_options options = { .program = program,
		.args = args,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = 2,
		.fds = fds,
		.fd_count = ARRAY_SIZE(fds) };
	if (process_spawn(&options, &ret->process, &e) < 0)
		fail("spawn", &e);
	close(pair[1]);
	ret->channel = pair[0];
	ret->dir = dir;
	struct runner_header hello = { sizeof(hello), RUNNER_VERSION, RUNNER_HELLO, 1, 0 };
	if (channel_send(ret->channel, &hello, sizeof(hello), NULL, 0) < 0)
		fail("hello", &e);
}

/* Waits for the state `status`; the pidfd that comes with it. */
static int wait_for_state(int channel, uint32_t status)
{
	int flags = fcntl(channel, F_GETFL);
	(void)fcntl(channel, F_SETFL, flags & ~O_NONBLOCK);
	for (;;) {
		union {
			struct runner_header header;
			struct runner_state state;
			struct runner_error error;
			uint8_t bytes[1024];
		} message;
		int fd = -1;
		size_t fd_count = 1;
		ssize_t got = channel_receive(channel, &message, sizeof(message), &fd, &fd_count);
		if (got <= 0) {
			(void)fprintf(stderr, "the runner has gone\n");
			exit(1);
		}
		if (message.header.type == RUNNER_ERROR) {
			(void)fprintf(stderr, "%s\n", message.error.text);
			exit(1);
		}
		if (message.header.type == RUNNER_STATE && message.state.status == status)
			return fd_count ? fd : -1;
		if (fd_count)
			close(fd);
	}
}

static void finish(struct started *s)
{
	int status;
	if (s->pidfd >= 0) {
		(void)!process_signal(s->pidfd, SIGKILL);
		close(s->pidfd);
	}
	(void)!process_wait(s->process.pidfd, &status);
	close(s->process.pidfd);
	close(s->channel);
	close(s->dir);
}

static void measure_start(const char *program, const char *dir, int count)
{
	for (int i = 0; i < count; i++) {
		struct started s;
		uint64_t began = loop_now();
		spawn_runner(program, dir, &s);
		s.pidfd = wait_for_state(s.channel, RUNNER_RUNNING);
		printf("%ju\n", (uintmax_t)(loop_now() - began) / 1000);
		finish(&s);
	}
}

static void run_exec(const char *program, const struct started *s)
{
	struct error e = {};
	static const char request[] = "{\"args\": [\"/bin/true\"], \"user\": \"0:0\"}";
	int pair[2];
	int memory = memfd_create("request", 1);
	if (memory < 0 || write(memory, request, strlen(request)) < 0 || channel_pair(pair, &e) < 0)
		fail("request", &e);
	const char *const args[] = { "berth-container", "exec", NULL };
	const struct process_fd fds[] = { { "channel", pair[1] }, { "dir", s->dir },
		{ "pidfd", s->pidfd }, { "request", memory } };
	struct process helper;
	struct process_options options = { .program = program,
		.args = args,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = 2,
		.fds = fds,
		.fd_count = ARRAY_SIZE(fds) };
	if (process_spawn(&options, &helper, &e) < 0)
		fail("spawn", &e);
	close(pair[1]);
	close(memory);
	(void)wait_for_state(pair[0], RUNNER_EXITED);
	close(pair[0]);
	int status;
	(void)!process_wait(helper.pidfd, &status);
	close(helper.pidfd);
}

static void measure_exec(const char *program, const char *dir, int count)
{
	struct started s;
	spawn_runner(program, dir, &s);
	s.pidfd = wait_for_state(s.channel, RUNNER_RUNNING);
	for (int i = 0; i < count; i++) {
		uint64_t began = loop_now();
		run_exec(program, &s);
		printf("%ju\n", (uintmax_t)(loop_now() - began) / 1000);
	}
	finish(&s);
}

/* kB of "Pss:" of a process. */
static uint64_t pss_of(pid_t pid)
{
	cleanup(free) char *path = alloc_printf("/proc/%d/smaps_rollup", pid);
	cleanup(free) char *text = NULL;
	if (file_read(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0)
		return 0;
	const char *line = strstr(text, "\nPss:");
	return line ? strtoull(line + strlen("\nPss:"), NULL, 10) : 0;
}

static void measure_many(const char *program, const char *dir, int count)
{
	struct started *all = alloc_array((size_t)count, struct started);
	uint64_t began = loop_now();
	for (int i = 0; i < count; i++) {
		cleanup(free) char *path = alloc_printf("%s/%d", dir, i);
		spawn_runner(program, path, &all[i]);
	}
	for (int i = 0; i < count; i++)
		all[i].pidfd = wait_for_state(all[i].channel, RUNNER_RUNNING);
	uint64_t took = loop_now() - began;
	uint64_t pss = 0;
	for (int i = 0; i < count; i++)
		pss += pss_of(all[i].process.pid);
	printf("%ju containers a second, %ju kB PSS a runner\n",
		(uintmax_t)((uint64_t)count * NS_PER_SEC / took),
		(uintmax_t)pss / (uintmax_t)count);
	for (int i = 0; i < count; i++)
		finish(&all[i]);
	free(all);
}

int main(int argc, char **argv)
{
	long count = argc == 5 ? strtol(argv[4], NULL, 10) : 0;
	if (count < 1 || count > 100000) {
		(void)fprintf(stderr, "usage: runner_bench PROGRAM DIR start|exec|many COUNT\n");
		return 2;
	}
	if (strcmp(argv[3], "start") == 0)
		measure_start(argv[1], argv[2], (int)count);
	else if (strcmp(argv[3], "exec") == 0)
		measure_exec(argv[1], argv[2], (int)count);
	else
		measure_many(argv[1], argv[2], (int)count);
	return 0;
}
