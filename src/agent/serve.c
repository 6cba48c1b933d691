/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve.c - a process a connection: what hangs or dies in one is nothing to another.
 */
#include "agent/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/exec.h"
#include "agent/files.h"
#include "agent/guest_api.h"
#include "agent/network.h"
#include "agent/power.h"
#include "agent/tune.h"
#include "agent/usage.h"
#include "agent/vsock.h"
#include "base/file.h"

#define GROUP "/sys/fs/cgroup/berth-agent"

int serve_listen(struct error *e)
{
	const struct vsock_address address = {
		.family = VSOCK_FAMILY,
		.port = AGENT_PORT,
		.cid = VSOCK_CID_ANY,
	};
	cleanup(close) int fd = socket(VSOCK_FAMILY, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
		bind(fd, (const struct sockaddr *)(const void *)&address, sizeof(address)) < 0 ||
		listen(fd, 64) < 0)
		return error_errno(e, "listen at vsock port %d", AGENT_PORT);
	return TAKE_FD(fd);
}

static int hello(int fd)
{
	struct utsname name;
	char text[512];
	uname(&name);
	int n = snprintf(text, sizeof(text), "berth-agent %d on %s %s", AGENT_VERSION, name.sysname,
		name.release);
	return frame_write(fd, AGENT_HELLO, NULL, 0, text, (size_t)n);
}

static int configure(int fd, struct frame *frame)
{
	struct error e = {};
	int r = network_configure((char *)frame->data, &e);
	return r < 0 ? frame_error(fd, r, e.text) : frame_done(fd);
}

static int shut_down(int fd, const struct frame *frame)
{
	struct agent_number number;
	if (frame->bytes < sizeof(number))
		return frame_error(fd, -EPROTO, NULL);
	memcpy(&number, frame->data, sizeof(number));
	int r = frame_done(fd);
	shutdown(fd, SHUT_WR);
	power_off(number.value == 1);
	return r;
}

static int use_cpus(int fd, const struct frame *frame)
{
	struct agent_number number;
	struct error e = {};
	if (frame->bytes < sizeof(number))
		return frame_error(fd, -EPROTO, NULL);
	memcpy(&number, frame->data, sizeof(number));
	int r = tune_cpus(number.value, &e);
	return r < 0 ? frame_error(fd, r, e.text) : frame_done(fd);
}

static int set_clock(int fd, const struct frame *frame)
{
	struct agent_clock clock;
	struct error e = {};
	if (frame->bytes < sizeof(clock))
		return frame_error(fd, -EPROTO, NULL);
	memcpy(&clock, frame->data, sizeof(clock));
	int r = tune_clock(clock.since_epoch_ns, &e);
	return r < 0 ? frame_error(fd, r, e.text) : frame_done(fd);
}

static int answer_usage(int fd)
{
	const struct agent_usage usage = usage_now();
	return frame_write(fd, AGENT_USAGE, &usage, sizeof(usage), NULL, 0);
}

void serve_connection(int fd)
{
	struct frame *frame = malloc(sizeof(*frame));
	int r = frame ? frame_read(fd, frame) : -ENOMEM;
	if (r <= 0) {
		free(frame);
		return;
	}
	switch (frame->type) {
	case AGENT_HELLO:
		r = hello(fd);
		break;
	case AGENT_EXEC:
		exec_serve(fd, frame);
		break;
	case AGENT_GET:
		files_get(fd, frame);
		break;
	case AGENT_PUT:
		files_put(fd, frame);
		break;
	case AGENT_REMOVE:
		files_remove(fd, frame);
		break;
	case AGENT_CONFIGURE:
		r = configure(fd, frame);
		break;
	case AGENT_SHUTDOWN:
		r = shut_down(fd, frame);
		break;
	case AGENT_USAGE:
		r = answer_usage(fd);
		break;
	case AGENT_CPUS:
		r = use_cpus(fd, frame);
		break;
	case AGENT_CLOCK:
		r = set_clock(fd, frame);
		break;
	case AGENT_SFTP:
		r = files_sftp(fd);
		break;
	case AGENT_DATA:
	case AGENT_RESIZE:
	case AGENT_SIGNAL:
	case AGENT_DONE:
	case AGENT_ERROR:
	case AGENT_STDOUT:
	case AGENT_STDERR:
	case AGENT_EXIT:
	case AGENT_INFO:
	default:
		r = frame_error(fd, -EPROTO, "no request");
	}
	(void)r;
	free(frame);
}

/*
 * A systemd that we started beside ends all that is in its own group when one of it is killed for want of
 * memory: programs of exec, and us with them.
 */
static void leave_group_of_init(void)
{
	static bool has_left;
	char line[4096];
	if (has_left || access("/run/systemd/system", F_OK) < 0 ||
		file_read_line(AT_FDCWD, "/proc/self/cgroup", line, sizeof(line)) <= 0)
		return;
	if (strstr(line, "/init.scope")) {
		(void)!mkdir(GROUP, 0755);
		if (file_write_value_f(AT_FDCWD, GROUP "/cgroup.procs", "%d", getpid()) < 0)
			return;
	}
	has_left = true;
}

void serve_run(int listener)
{
	signal(SIGCHLD, SIG_IGN);
	guest_api_start();
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		leave_group_of_init();
		pid_t pid = fork();
		if (pid == 0) {
			signal(SIGCHLD, SIG_DFL);
			close(listener);
			serve_connection(fd);
			/* What was sent arrives before the connection goes. */
			shutdown(fd, SHUT_WR);
			_exit(0);
		}
		close(fd);
	}
}
