/* SPDX-License-Identifier: Apache-2.0 */
/*
 * floor.c - how fast a container can be at all: clone3 with every namespace, pivot_root, execve.
 *
 * usage: floor ROOT COUNT [PARALLEL]
 *
 * ROOT is a directory with a static /bin/true. Each run is timed from before clone3 to the moment that
 * execve has replaced the child (a close-on-exec pipe ends). Prints "floor NANOSECONDS" a line; with
 * PARALLEL, that many at once COUNT times over, the containers a second.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAMESPACES \
	(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | \
		CLONE_NEWCGROUP | CLONE_NEWUSER | CLONE_NEWTIME)

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static _Noreturn void fail(const char *what)
{
	perror(what);
	_exit(1);
}

static _Noreturn void run_child(const char *root)
{
	char *const args[] = { (char[]){ "true" }, NULL };
	char *const env[] = { NULL };
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount(root, root, NULL, MS_BIND, NULL) < 0)
		fail("bind");
	if (chdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
		umount2(".", MNT_DETACH) < 0)
		fail("pivot_root");
	execve("/bin/true", args, env);
	fail("execve");
}

static pid_t start(const char *root, int *ret_pipe)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		fail("pipe");
	struct clone_args args = { .flags = NAMESPACES, .exit_signal = SIGCHLD };
	long pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		fail("clone3");
	if (pid == 0)
		run_child(root);
	close(ends[1]);
	*ret_pipe = ends[0];
	return (pid_t)pid;
}

static void wait_for_exec(int fd)
{
	char byte;
	if (read(fd, &byte, 1) != 0)
		fail("read");
	close(fd);
}

static void wait_for_end(pid_t pid)
{
	int status;
	if (waitpid(pid, &status, 0) < 0 || status != 0) {
		(void)fprintf(stderr, "the child failed\n");
		_exit(1);
	}
}

static void one_by_one(const char *root, int count)
{
	for (int i = 0; i < count; i++) {
		int fd;
		double began = now();
		pid_t pid = start(root, &fd);
		wait_for_exec(fd);
		printf("floor %.0f\n", (now() - began) * 1e9);
		wait_for_end(pid);
	}
}

static void at_once(const char *root, int count, int parallel)
{
	pid_t *pids = calloc((size_t)parallel, sizeof(*pids));
	int *fds = calloc((size_t)parallel, sizeof(*fds));
	if (!pids || !fds)
		fail("calloc");
	for (int round = 0; round < count; round++) {
		double began = now();
		for (int i = 0; i < parallel; i++)
			pids[i] = start(root, &fds[i]);
		for (int i = 0; i < parallel; i++)
			wait_for_exec(fds[i]);
		printf("%.1f\n", parallel / (now() - began));
		for (int i = 0; i < parallel; i++)
			wait_for_end(pids[i]);
	}
	free(pids);
	free(fds);
}

int main(int argc, char **argv)
{
	long count = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
	long parallel = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
	if (count < 1 || count > 100000 || parallel < 0 || parallel > 10000) {
		(void)fprintf(stderr, "usage: floor ROOT COUNT [PARALLEL]\n");
		return 2;
	}
	if (parallel)
		at_once(argv[1], (int)count, (int)parallel);
	else
		one_by_one(argv[1], (int)count);
	return 0;
}
