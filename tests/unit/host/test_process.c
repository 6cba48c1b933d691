/* SPDX-License-Identifier: Apache-2.0 */
#include "host/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/text.h"
#include "test.h"

/* Runs a shell line with `fds`; its standard output is in `output`. Returns the wait status. */
static int run(
	const char *line, const struct process_fd *fds, size_t fd_count, char *output, size_t size)
{
	int out[2];
	expect_equal(pipe2(out, O_CLOEXEC), 0);
	const char *const args[] = { "sh", "-c", line, NULL };
	const char *const env[] = { "PATH=/usr/bin:/bin", "BERTH_FDS=old=9", NULL };
	struct process process;
	struct error e = {};
	expect_equal(process_spawn(&(struct process_options){ .program = "/bin/sh",
					   .args = args,
					   .env = env,
					   .stdin_fd = -1,
					   .stdout_fd = out[1],
					   .stderr_fd = -1,
					   .fds = fds,
					   .fd_count = fd_count },
			     &process, &e),
		0);
	close(out[1]);
	size_t got = 0;
	ssize_t n;
	while ((n = read(out[0], output + got, size - 1 - got)) > 0)
		got += (size_t)n;
	output[got] = '\0';
	close(out[0]);
	int status = -1;
	expect_equal(process_wait(process.pidfd, &status), 0);
	close(process.pidfd);
	return status;
}

static void tells_how_it_ended(void)
{
	char output[256];
	expect_equal(run("exit 7", NULL, 0, output, sizeof(output)), 7 << 8);
	expect_equal(run("kill -9 $$", NULL, 0, output, sizeof(output)), SIGKILL);
}

static void names_its_descriptors(void)
{
	char output[256];
	int a[2], b[2];
	expect_equal(pipe2(a, O_CLOEXEC), 0);
	expect_equal(pipe2(b, O_CLOEXEC), 0);
	expect_equal(write(a[1], "A\n", 2), 2);
	expect_equal(write(b[1], "B\n", 2), 2);
	/* Given in an order that crosses their numbers. */
	const struct process_fd fds[] = { { "second", b[0] }, { "first", a[0] } };
	run("echo $BERTH_FDS; head -n1 <&4; head -n1 <&3", fds, 2, output, sizeof(output));
	expect_text(output, "second=3,first=4\nA\nB\n");
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
}

static void leaks_no_descriptor(void)
{
	char output[256];
	int open_in_caller = open("/dev/null", O_RDONLY);
	expect(open_in_caller >= 0);
	run("ls /proc/self/fd | tr '\\n' ' '", NULL, 0, output, sizeof(output));
	/* 3 is the directory that ls reads. */
	expect_text(output, "0 1 2 3 ");
	close(open_in_caller);
}

static void leaves_no_signal_ignored(void)
{
	char output[256];
	signal(SIGPIPE, SIG_IGN);
	run("grep -E 'SigIgn|SigBlk' /proc/self/status | tr -d '\\t\\n'", NULL, 0, output,
		sizeof(output));
	signal(SIGPIPE, SIG_DFL);
	expect_text(output, "SigBlk:0000000000000000SigIgn:0000000000000000");
}

static void names_a_missing_program(void)
{
	struct process process = { .pid = -5 };
	struct error e = {};
	int r = process_spawn(&(struct process_options){ .program = "/nonexistent/program",
				      .stdin_fd = -1,
				      .stdout_fd = -1,
				      .stderr_fd = -1 },
		&process, &e);
	expect_equal(r, -ENOENT);
	expect_contains(e.text, "/nonexistent/program");
	expect_equal(process.pid, -5);
	expect_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing left to wait for */
}

static void runs_from_a_descriptor(void)
{
	cleanup(close) int program = open("/bin/true", O_RDONLY | O_CLOEXEC);
	const char *const args[] = { "true", NULL };
	struct process process;
	struct error e = {};
	expect_equal(process_spawn(&(struct process_options){ .program_fd = program,
					   .args = args,
					   .stdin_fd = -1,
					   .stdout_fd = -1,
					   .stderr_fd = -1 },
			     &process, &e),
		0);
	int status = -1;
	expect_equal(process_wait(process.pidfd, &status), 0);
	expect_equal(status, 0);
	close(process.pidfd);
}

static void clones(void)
{
	int pidfd = -1;
	pid_t pid = process_clone(0, -1, &pidfd);
	if (pid == 0)
		_exit(3);
	expect(pid > 0);
	int status = -1;
	expect_equal(process_wait(pidfd, &status), 0);
	expect_equal(WEXITSTATUS(status), 3);
	close(pidfd);
}

static void finds_a_named_descriptor(void)
{
	cleanup(close) int fd = fcntl(0, F_DUPFD, 10);
	cleanup(free) char *fds = alloc_printf("a=%d,bb=7", fd);
	setenv("BERTH_FDS", fds, 1);
	expect_equal(process_named_fd("a"), fd);
	expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	expect_equal(process_named_fd("b"), -ENOENT);
	setenv("BERTH_FDS", "a=12x", 1);
	expect_equal(process_named_fd("a"), -EINVAL);
	unsetenv("BERTH_FDS");
	expect_equal(process_named_fd("a"), -ENOENT);
}

static const struct test tests[] = {
	{ "a program's end is told as by wait(2)", tells_how_it_ended },
	{ "descriptors come in order and under their names", names_its_descriptors },
	{ "no other descriptor reaches the program", leaks_no_descriptor },
	{ "no signal is blocked or ignored in the program", leaves_no_signal_ignored },
	{ "a program that is not there is named and leaves no child", names_a_missing_program },
	{ "a program runs from a descriptor", runs_from_a_descriptor },
	{ "a clone is waited for by its pidfd", clones },
	{ "a descriptor is found by its name", finds_a_named_descriptor },
};

TEST_MAIN(tests)
