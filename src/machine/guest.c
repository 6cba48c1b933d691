/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest.c - the way to the agent: the monitor's vsock socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "abi/agent.h"
#include "abi/runner.h"
#include "abi/vsock.h"
#include "agent/frame.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/text.h"
#include "host/process.h"
#include "machine/machine.h"
#include "model/json.h"

#define REQUEST_MAX MIB
#define RETRY_MS    200
#define BOOT_S      300 /* as long as a slow guest needs to come up: so long its agent is waited for */
#define ANSWER_S    20 /* the agent of one that is up, on a host that has other things to do */

/* 0 and a stream; -EAGAIN while nobody listens in the guest. */
static int try(int dir, int *ret)
{
	static const struct timeval limit = { .tv_sec = ANSWER_S };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char line[64], c;
	size_t length = 0;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" VSOCK_SOCKET, dir);
	cleanup(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == ENOENT || errno == ECONNREFUSED ? -EAGAIN : -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	snprintf(line, sizeof(line), "CONNECT %d\n", AGENT_PORT);
	if (file_write_all(fd, line, strlen(line)) < 0)
		return -EAGAIN;
	while (length < sizeof(line) - 1 && read(fd, &c, 1) == 1) {
		line[length++] = c;
		if (c == '\n')
			break;
	}
	line[length] = '\0';
	if (!text_starts(line, "OK "))
		return -EAGAIN;
	static const struct timeval none;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
	*ret = TAKE_FD(fd);
	return 0;
}

/* When to give up: the monitor's plan was written as the machine started. */
static time_t deadline(int dir)
{
	struct stat started;
	time_t now = time(NULL), end = now + ANSWER_S;
	if (fstatat(dir, "machine.json", &started, AT_SYMLINK_NOFOLLOW) == 0 &&
		started.st_mtime + BOOT_S > end)
		end = started.st_mtime + BOOT_S;
	return end;
}

/* A server's agent has called the daemon, which gives its connections. */
static int ask_line(int line, int *ret, struct error *e)
{
	union {
		struct runner_header header;
		struct runner_error error;
	} message;
	int fd = -1;
	size_t fd_count = 1;
	ssize_t length = -EAGAIN;
	int r = channel_send(line, "", 1, NULL, 0);
	if (r < 0)
		return error_code(e, r, "ask the daemon for the agent");
	while (length == -EAGAIN || length == -EINTR) {
		struct pollfd answer = { .fd = line, .events = POLLIN };
		(void)!poll(&answer, 1, -1);
		fd_count = 1;
		length = channel_receive(line, &message, sizeof(message), &fd, &fd_count);
	}
	if (length == sizeof(message.header) && fd_count == 1) {
		*ret = fd;
		return 0;
	}
	if (length > 0 && fd_count == 1)
		close(fd);
	if (length == sizeof(message.error) && message.error.code < 0)
		return error_set(
			e, message.error.code, "%.*s", RUNNER_TEXT_MAX - 1, message.error.text);
	return error_set(e, -ECONNRESET, "the daemon does not say where the agent is");
}

int guest_connect(int dir, int pidfd, int *ret, struct error *e)
{
	int line = process_named_fd("line");
	if (line >= 0)
		return ask_line(line, ret, e);
	time_t end = deadline(dir);
	while (time(NULL) < end) {
		int r = try(dir, ret);
		if (r == 0)
			return 0;
		if (r != -EAGAIN)
			return error_code(e, r, "reach the machine's agent");
		struct pollfd gone = { .fd = pidfd, .events = POLLIN };
		if (poll(&gone, 1, RETRY_MS) > 0)
			return error_set(e, -ECONNRESET, "The machine has stopped");
	}
	return error_set(e, -ETIMEDOUT,
		"The machine's agent does not answer: its image must have cloud-init, or run install.sh of "
		"the config drive");
}

int guest_error(const struct frame *frame, struct error *e)
{
	struct agent_error error = {};
	if (frame->type != AGENT_ERROR || frame->bytes < sizeof(error))
		return error_set(e, -EPROTO, "the agent says what was not asked");
	memcpy(&error, frame->data, sizeof(error));
	int code = error.code < 0 && error.code > -4096 ? error.code : -EIO;
	return error_set(e, code, "%.400s", (const char *)frame->data + sizeof(error));
}

int request_read(json_t **ret, struct error *e)
{
	cleanup(close) int fd = process_named_fd("request");
	struct stat status;
	if (fd < 0 || fstat(fd, &status) < 0 || (uint64_t)status.st_size > REQUEST_MAX)
		return error_set(e, -EINVAL, "the descriptor request");
	cleanup(free) char *text = alloc_array((size_t)status.st_size + 1, char);
	ssize_t got = pread(fd, text, (size_t)status.st_size, 0);
	return got < 0 ? error_errno(e, "read the request") : json_parse(text, (size_t)got, ret, e);
}

int stop_main(void)
{
	struct error e = {};
	const struct agent_number off = {};
	int fd = -1, dir = process_named_fd("dir");
	int r = dir < 0 && process_named_fd("line") < 0
		? dir
		: guest_connect(dir, process_named_fd("pidfd"), &fd, &e);
	if (r < 0) {
		fprintf(stderr, "berth-machine: stop: %s\n", e.text);
		return 1;
	}
	cleanup(free) struct frame *frame = alloc(struct frame);
	r = frame_write(fd, AGENT_SHUTDOWN, &off, sizeof(off), NULL, 0);
	if (r == 0)
		(void)!frame_read(fd, frame);
	close(fd);
	return r < 0;
}
