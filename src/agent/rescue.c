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

#include "agent/init.h"
#include "agent/network.h"
#include "base/file.h"

#define KEYS     "/root/.ssh/authorized_keys"
#define SERVER   "/usr/sbin/dropbear"
#define HOST_KEY "/etc/dropbear/key"
#define CLIENT   "/bin/busybox"
#define SCRIPT   "/etc/address"

/* What busybox's DHCP client calls with what it was given. */
static const char script[] =
	"#!/bin/sh\n"
	"case $1 in\n"
	"deconfig)\n"
	"	busybox ip addr flush dev $interface\n"
	"	busybox ip link set $interface up\n"
	"	;;\n"
	"bound | renew)\n"
	"	busybox ip addr flush dev $interface\n"
	"	busybox ip addr add $ip/${mask:-24} dev $interface\n"
	"	[ -z \"$router\" ] || busybox ip route add default via ${router%% *}\n"
	"	for server in $dns; do echo nameserver $server; done >/etc/resolv.conf\n"
	"	[ $1 = renew ] || echo berth rescue: $ip >/dev/console\n"
	"	;;\n"
	"esac\n";

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

_Noreturn void rescue_move(const char *mac)
{
	char name[NETWORK_NAME_SIZE];
	struct error e = {};
	int r = network_card(mac, name);
	if (r < 0)
		init_say("berth rescue: no card %s", mac);
	else
		r = file_replace(AT_FDCWD, SCRIPT, script, sizeof(script) - 1, 0755, &e);
	/* Asks again whenever nobody answers: the switch may take its time. */
	const char *const ask[] = { CLIENT, "udhcpc", "-f", "-i", name, "-s", SCRIPT, "-t", "5",
		"-T", "1", "-A", "1", NULL };
	for (;;) {
		if (r == 0)
			run(ask);
		pause_second();
	}
}
