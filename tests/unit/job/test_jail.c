/* SPDX-License-Identifier: Apache-2.0 */
/* Each test tries from inside what a taken-over task would try. */
#include "job/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "test.h"

static char home[64];

/* Runs `attempt` in a jailed child with a directory of its own; its return is the exit status. */
static int in_jail(int (*attempt)(int dir))
{
	if (geteuid() != 0)
		test_skip("only root can make namespaces");
	strcpy(home, "/tmp/berth-test-jail-XXXXXX");
	expect(mkdtemp(home) != NULL);
	test_removes_at_end(home);
	cleanup(close) int dir = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid_t child = fork();
	if (child == 0) {
		struct error e = {};
		if (jail_files(&dir, 1, &e) < 0) {
			printf("# %s\n", e.text);
			fflush(stdout);
			_exit(99);
		}
		_exit(attempt(dir));
	}
	int status;
	expect_equal(waitpid(child, &status, 0), child);
	expect_equal(file_remove_tree(AT_FDCWD, home), 0);
	expect(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int write_inside(int dir)
{
	int fd = openat(dir, "file", O_RDWR | O_CREAT | O_CLOEXEC, 04755);
	return fd >= 0 && write(fd, "x", 1) == 1 && fchown(fd, 12, 34) == 0 &&
			mkdirat(dir, "d", 0700) == 0 && symlinkat("/etc", dir, "l") == 0 &&
			mknodat(dir, "w", S_IFCHR, 0) == 0
		? 0
		: errno;
}

static void may_write_inside(void)
{
	expect_equal(in_jail(write_inside), 0);
}

static int open_outside(int dir)
{
	if (open("/etc/passwd", O_RDONLY) >= 0 || openat(dir, "../../etc/passwd", O_RDONLY) >= 0)
		return 1;
	int parent = openat(dir, "..", O_RDONLY | O_DIRECTORY);
	return parent >= 0 ? 2 : 0;
}

static void sees_nothing_outside(void)
{
	expect_equal(in_jail(open_outside), 0);
}

static int other_calls(int dir)
{
	(void)dir;
	if (socket(AF_INET, SOCK_STREAM, 0) >= 0)
		return 1;
	if (mount("none", "/", "tmpfs", 0, "") == 0)
		return 2;
	char *const argv[] = { NULL };
	execve("/bin/true", argv, argv);
	if (errno != EPERM)
		return 3;
	if (fork() >= 0)
		return 4;
	return kill(1, 0) == 0 ? 5 : 0;
}

static void may_call_nothing_else(void)
{
	expect_equal(in_jail(other_calls), 0);
}

static const struct test tests[] = {
	{ "a jailed task writes below its directory", may_write_inside },
	{ "a jailed task sees nothing outside", sees_nothing_outside },
	{ "a jailed task opens no socket, mounts, runs and kills nothing", may_call_nothing_else },
};

TEST_MAIN(tests)
