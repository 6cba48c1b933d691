/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rescue.c - a shell that comes back when it ends, and dropbear beside it.
 */
#include "agent/rescue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/file.h"

#define KEYS     "/root/.ssh/authorized_keys"
#define SERVER   "/usr/sbin/dropbear"
#define HOST_KEY "/etc/dropbear/key"

static const char *const environment[][2] = { { "PATH", "/usr/sbin:/usr/bin:/sbin:/bin" },
	{ "HOME", "/root" }, { "TERM", "linux" } };

static void pause_second(void)
{
	const struct timespec second = { .tv_sec = 1 };
	nanosleep(&second, NULL);
}

/* Standard input, output and errors are the console. */
static void take_console(bool is_session)
{
	int fd = open("/dev/console", O_RDWR);
	if (fd < 0)
		return;
	if (is_session)
		ioctl(fd, TIOCSCTTY, 0);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static void run(const char *const argv[])
{
	pid_t pid = fork();
	if (pid == 0) {
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* A shell ends when who uses it says so: then there is a new one. */
static void shell(void)
{
	if (fork() != 0)
		return;
	setsid();
	take_console(true);
	printf("\nberth rescue: the server's own disks are untouched.\n");
	fflush(stdout);
	for (;;) {
		pid_t pid = fork();
		if (pid == 0) {
			execl("/bin/sh", "sh", "-l", (char *)NULL);
			printf("berth rescue: this initial file system has no shell\n");
			_exit(127);
		}
		waitpid(pid, NULL, 0);
		pause_second();
	}
}

/* Its host key is made anew and shown on the console: who connects can compare. */
static void serve_ssh(void)
{
	static const char *const make[] = { "/usr/bin/dropbearkey", "-t", "ed25519", "-f", HOST_KEY,
		NULL };
	/* Keys only; in the foreground, what it says on the console. */
	static const char *const serve[] = { SERVER, "-F", "-E", "-s", "-r", HOST_KEY, "-p", "22",
		NULL };
	if (fork() != 0)
		return;
	setsid();
	take_console(false);
	if (access(SERVER, X_OK) < 0) {
		printf("berth rescue: no ssh, the host of this network has no dropbear\n");
		_exit(1);
	}
	run(make);
	for (;;) {
		run(serve);
		pause_second();
	}
}

static int prepare(const struct task *task, struct error *e)
{
	static const char users[] = "root:x:0:0:root:/root:/bin/sh\n", shells[] = "/bin/sh\n";
	mkdir("/dev/pts", 0755);
	(void)mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=620,ptmxmode=666");
	int r = file_replace(AT_FDCWD, "/etc/passwd", users, sizeof(users) - 1, 0644, e);
	if (r == 0)
		r = file_replace(AT_FDCWD, "/etc/shells", shells, sizeof(shells) - 1, 0644, e);
	for (size_t i = 0; r == 0 && i < task->file_count; i++) {
		const struct tenant_file *file = &task->files[i];
		if (!text_equal(file->path, KEYS))
			return error_set(
				e, -EINVAL, "%.80s: a rescue has no such file", file->path);
		mkdir("/root/.ssh", 0700);
		r = file_replace(AT_FDCWD, KEYS, file->data, file->length, 0600, e);
	}
	return r;
}

int rescue_start(const struct task *task, struct error *e)
{
	int r = prepare(task, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(environment); i++)
		setenv(environment[i][0], environment[i][1], 1);
	if (task->file_count)
		serve_ssh();
	shell();
	return 0;
}
