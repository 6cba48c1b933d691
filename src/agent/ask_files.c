/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask_files.c - abi/files.h carried out by an agent: a connection a request.
 */
#include "agent/ask_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/files.h"
#include "agent/frame.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/text.h"

#define CHUNK 32768

struct request {
	const struct files_request *head;
	const char *path, *target;
	int fd; /* -1: none */
	int agent;
	struct frame *frame;
	struct files_answer *answer;
	const struct ask_files *asks;
};

/* -EIO and so on with the agent's sentence. */
static int agent_error(const struct frame *frame, struct error *e)
{
	struct agent_error error;
	if (frame->type != AGENT_ERROR || frame->bytes < sizeof(error))
		return error_set(e, -EPROTO, "the agent says what was not asked");
	memcpy(&error, frame->data, sizeof(error));
	int code = error.code < 0 && error.code > -4096 ? error.code : -EIO;
	return error_set(e, code, "%.300s", (const char *)frame->data + sizeof(error));
}

static int next(struct request *q, struct error *e)
{
	int r = frame_read(q->agent, q->frame);
	if (r <= 0)
		return error_set(e, -ECONNRESET, "The %s has stopped", q->asks->kind);
	return q->frame->type == AGENT_ERROR ? agent_error(q->frame, e) : 0;
}

static int done(struct request *q, struct error *e)
{
	int r = next(q, e);
	return r == 0 && q->frame->type != AGENT_DONE ? agent_error(q->frame, e) : r;
}

static int look(struct request *q, struct error *e)
{
	struct agent_file info;
	int r = frame_write(q->agent, AGENT_GET, NULL, 0, q->path, strlen(q->path) + 1);
	if (r < 0)
		return error_code(e, r, "ask the agent");
	r = next(q, e);
	if (r < 0)
		return r;
	if (q->frame->type != AGENT_INFO || q->frame->bytes < sizeof(info))
		return agent_error(q->frame, e);
	memcpy(&info, q->frame->data, sizeof(info));
	q->answer->mode = info.mode;
	q->answer->uid = info.uid;
	q->answer->gid = info.gid;
	q->answer->size_bytes = info.bytes;
	return 0;
}

static int get(struct request *q, struct error *e)
{
	uint64_t total = 0, limit = q->head->limit_bytes;
	int r = look(q, e);
	while (r == 0) {
		r = next(q, e);
		if (r < 0 || q->frame->bytes == 0)
			break;
		total += q->frame->bytes;
		if (limit && total > limit)
			return error_set(e, -EFBIG, "%.400s: too large", q->path);
		r = file_write_all(q->fd, q->frame->data, q->frame->bytes);
		if (r < 0)
			return error_code(e, r, "%.400s", q->path);
	}
	return r;
}

static int put_head(struct request *q, uint32_t type, uint32_t mode, struct error *e)
{
	cleanup(text_done) struct text words = {};
	const struct files_request *head = q->head;
	const struct agent_file info = {
		.mode = type | (head->mode == FILES_KEEP ? mode : head->mode & 07777),
		.uid = head->uid == FILES_KEEP ? 0 : head->uid,
		.gid = head->gid == FILES_KEEP ? 0 : head->gid,
	};
	text_add_n(&words, q->path, strlen(q->path) + 1);
	if (q->target)
		text_add_n(&words, q->target, strlen(q->target) + 1);
	int r = frame_write(
		q->agent, AGENT_PUT, &info, sizeof(info), text_str(&words), words.length);
	return r < 0 ? error_code(e, r, "ask the agent") : 0;
}

static int put(struct request *q, struct error *e)
{
	cleanup(free) uint8_t *bytes = alloc_array(CHUNK, uint8_t);
	if (q->head->flags & FILES_APPEND)
		return error_set(
			e, -EOPNOTSUPP, "A file of a %s cannot be appended to", q->asks->kind);
	int r = put_head(q, S_IFREG, 0644, e);
	while (r == 0) {
		ssize_t n = read(q->fd, bytes, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(e, "read what was sent");
		r = frame_write(q->agent, AGENT_DATA, NULL, 0, bytes, (size_t)n);
		if (r < 0)
			return error_code(e, r, "tell the agent");
		if (n == 0)
			return done(q, e);
	}
	return r;
}

static int make_directory(struct request *q, struct error *e)
{
	int r = put_head(q, S_IFDIR, 0755, e);
	return r == 0 ? done(q, e) : r;
}

static int delete (struct request *q, struct error *e)
{
	if (q->head->flags & FILES_RECURSIVE)
		return error_set(
			e, -EOPNOTSUPP, "A %s's directories are not removed whole", q->asks->kind);
	int r = frame_write(q->agent, AGENT_REMOVE, NULL, 0, q->path, strlen(q->path) + 1);
	return r < 0 ? error_code(e, r, "ask the agent") : done(q, e);
}

/* Until one side ends. */
static void copy(int from, int to)
{
	cleanup(free) uint8_t *bytes = alloc_array(CHUNK, uint8_t);
	for (;;) {
		ssize_t n = read(from, bytes, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || file_write_all(to, bytes, (size_t)n) < 0)
			return;
	}
}

/* A process for each direction: neither waits for the other. */
static int sftp(struct request *q, struct error *e)
{
	int flags = fcntl(q->fd, F_GETFL);
	int r = frame_write(q->agent, AGENT_SFTP, NULL, 0, NULL, 0);
	if (flags < 0 || fcntl(q->fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return error_errno(e, "the client's stream");
	if (r < 0)
		return error_code(e, r, "ask the agent");
	r = done(q, e);
	if (r < 0)
		return r;
	pid_t pid = fork();
	if (pid < 0)
		return error_errno(e, "make a process");
	if (pid == 0) {
		copy(q->agent, q->fd);
		shutdown(q->fd, SHUT_RDWR);
		_exit(0);
	}
	copy(q->fd, q->agent);
	/* Nobody reads the answers any more. */
	shutdown(q->agent, SHUT_RDWR);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	return 0;
}

static int carry_out(struct request *q, struct error *e)
{
	switch (q->head->header.type) {
	case FILES_STAT:
		return look(q, e);
	case FILES_GET:
		return q->fd < 0 ? error_set(e, -EBADF, "no descriptor") : get(q, e);
	case FILES_PUT:
		return q->fd < 0 ? error_set(e, -EBADF, "no descriptor") : put(q, e);
	case FILES_MKDIR:
		return make_directory(q, e);
	case FILES_SYMLINK: {
		int r = put_head(q, S_IFLNK, 0777, e);
		return r == 0 ? done(q, e) : r;
	}
	case FILES_DELETE:
		return delete (q, e);
	case FILES_SFTP:
		return q->fd < 0 ? error_set(e, -EBADF, "no descriptor") : sftp(q, e);
	default:
		return error_set(e, -EOPNOTSUPP, "This cannot be done with the files of a %s",
			q->asks->kind);
	}
}

static int check(struct request *q, const char *message, size_t length, struct error *e)
{
	const struct files_request *head = (const void *)message;
	if (length < sizeof(*head) + 1 || head->header.length != length ||
		head->header.version != RUNNER_VERSION || message[length - 1] != '\0')
		return error_set(e, -EBADMSG, "no request");
	q->head = head;
	q->path = message + sizeof(*head);
	size_t path = strlen(q->path) + 1;
	if (path < length - sizeof(*head))
		q->target = q->path + path;
	return 0;
}

static void tell_error(int channel, uint32_t serial, int code, const struct error *e)
{
	struct runner_error error = {
		.header = { sizeof(error), RUNNER_VERSION, RUNNER_ERROR, serial, 0 },
		.code = code,
	};
	snprintf(error.text, sizeof(error.text), "%.400s", e->text);
	(void)!channel_send(channel, &error, sizeof(error), NULL, 0);
}

static void serve(int channel, const struct ask_files *asks)
{
	static _Alignas(8) char message[sizeof(struct files_request) + 2 * FILES_PATH_MAX];
	cleanup(free) struct frame *frame = alloc(struct frame);
	for (;;) {
		int fd = -1;
		size_t fd_count = 1;
		ssize_t length = channel_receive(channel, message, sizeof(message), &fd, &fd_count);
		if (length <= 0)
			return;
		struct files_answer answer = { .header = { sizeof(answer), RUNNER_VERSION,
						       FILES_DONE, 0, 0 } };
		struct request q = { .fd = fd_count ? fd : -1,
			.agent = -1,
			.frame = frame,
			.answer = &answer,
			.asks = asks };
		struct error e = {};
		int r = check(&q, message, (size_t)length, &e);
		if (r == 0)
			r = asks->connect(asks->data, q.head->header.type, &q.agent, &e);
		if (r == 0)
			r = carry_out(&q, &e);
		answer.header.serial = q.head ? q.head->header.serial : 0;
		if (q.agent >= 0)
			close(q.agent);
		if (q.agent >= 0 && asks->closed)
			asks->closed(asks->data);
		if (q.fd >= 0)
			close(q.fd);
		if (r < 0)
			tell_error(channel, answer.header.serial, r, &e);
		else if (channel_send(channel, &answer, sizeof(answer), NULL, 0) < 0)
			return;
	}
}

int ask_files_serve(int channel, const struct ask_files *asks)
{
	int flags = fcntl(channel, F_GETFL);
	if (flags < 0 || fcntl(channel, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return 2;
	const struct runner_header ready = { sizeof(ready), RUNNER_VERSION, FILES_READY, 0, 0 };
	if (channel_send(channel, &ready, sizeof(ready), NULL, 0) == 0)
		serve(channel, asks);
	return 0;
}

void ask_files_refuse(int channel, int code, const struct error *e)
{
	tell_error(channel, 0, code, e);
}
