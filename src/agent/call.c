/* SPDX-License-Identifier: Apache-2.0 */
/*
 * call.c - as little HTTP as it takes.
 */
#include "agent/call.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/file.h"

#define SILENCE_SECONDS 60

int call_read_url(const char *url, struct call_server *ret, struct error *e)
{
	unsigned int port = 80;
	int at = 0;
	struct call_server server = {};
	struct in_addr ignored;
	if (sscanf(url, "http://%63[0-9.]:%5u%n", server.address, &port, &at) < 2 || at == 0 ||
		port == 0 || port > UINT16_MAX || inet_pton(AF_INET, server.address, &ignored) != 1)
		return error_set(e, -EINVAL, "%.100s: no address to call", url);
	if ((url[at] != '\0' && url[at] != '/') || strlen(url + at) >= sizeof(server.path))
		return error_set(e, -EINVAL, "%.100s: no path to call", url);
	server.port = (uint16_t)port;
	snprintf(server.path, sizeof(server.path), "%s", url + at);
	*ret = server;
	return 0;
}

static int connect_to(const struct call_server *server, int *ret, struct error *e)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(server->port) };
	const struct timeval silence = { .tv_sec = SILENCE_SECONDS };
	cleanup(close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || inet_pton(AF_INET, server->address, &address.sin_addr) != 1)
		return error_errno(e, "call");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof(silence));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(e, "call %s", server->address);
	*ret = TAKE_FD(fd);
	return 0;
}

int call_read_head(const char *head, size_t length, int *ret_status, uint64_t *ret_length)
{
	static const char name[] = "content-length:";
	cleanup(free) char *text = alloc_text_n(head, length);
	char *rest = NULL;
	bool has_length = false;
	const char *line = strtok_r(text, "\r\n", &rest);
	/* "HTTP/1.1 200 OK" */
	if (!line || !text_starts(line, "HTTP/1.") || strlen(line) < 12 || line[8] != ' ')
		return -EBADMSG;
	int status = 0;
	for (const char *c = line + 9; c < line + 12; c++) {
		if (*c < '0' || *c > '9')
			return -EBADMSG;
		status = status * 10 + (*c - '0');
	}
	while ((line = strtok_r(NULL, "\r\n", &rest))) {
		const char *value = line + sizeof(name) - 1;
		if (strncasecmp(line, name, sizeof(name) - 1) != 0)
			continue;
		if (text_to_u64(value + strspn(value, " "), ret_length) < 0)
			return -EBADMSG;
		has_length = true;
	}
	*ret_status = status;
	if (!has_length && status != 204)
		return -EBADMSG;
	if (!has_length)
		*ret_length = 0;
	return 0;
}

static ssize_t read_some(int fd, void *buffer, size_t size)
{
	ssize_t n;
	do
		n = read(fd, buffer, size);
	while (n < 0 && errno == EINTR);
	return n < 0 ? (errno == EAGAIN ? -ETIMEDOUT : -errno) : n;
}

static int receive_head(struct call_stream *stream, int *ret_status, struct error *e)
{
	size_t have = 0;
	for (;;) {
		ssize_t n =
			read_some(stream->fd, stream->early + have, sizeof(stream->early) - have);
		if (n <= 0)
			return error_code(e, n < 0 ? (int)n : -EPIPE, "the daemon's answer");
		have += (size_t)n;
		const char *end = memmem(stream->early, have, "\r\n\r\n", 4);
		if (!end && have == sizeof(stream->early))
			return error_set(e, -EBADMSG, "the daemon's answer has no end of its head");
		if (!end)
			continue;
		size_t head = (size_t)(end - stream->early) + 4;
		if (call_read_head(stream->early, head, ret_status, &stream->length) < 0)
			return error_set(e, -EBADMSG, "what answers is not the daemon");
		stream->early_at = head;
		stream->early_length = have;
		return 0;
	}
}

static int begin(const struct call_server *server, const char *method, const char *path,
	const void *body, size_t length, struct call_stream *ret, int *ret_status, struct error *e)
{
	cleanup(free) char *head = alloc_printf("%s %s%s HTTP/1.1\r\nHost: %s:%u\r\n"
						"Connection: close\r\nContent-Length: %zu\r\n\r\n",
		method, server->path, path, server->address, server->port, length);
	*ret = (struct call_stream){ .fd = -1 };
	int r = connect_to(server, &ret->fd, e);
	if (r < 0)
		return r;
	r = file_write_all(ret->fd, head, strlen(head));
	if (r == 0 && length)
		r = file_write_all(ret->fd, body, length);
	if (r < 0)
		error_code(e, r, "call %s", server->address);
	else
		r = receive_head(ret, ret_status, e);
	if (r < 0)
		call_close(ret);
	return r;
}

static int refuse(struct call_stream *stream, int status, const char *path, struct error *e)
{
	char why[256] = "";
	ssize_t n = call_read(stream, why, sizeof(why) - 1);
	if (n > 0)
		why[n] = '\0';
	call_close(stream);
	return error_set(e,
		status == 404           ? -ENOENT
			: status == 409 ? -EBUSY
					: -EIO,
		"%s: the daemon answers %d %.200s", path, status, why);
}

int call_send(const struct call_server *server, const char *method, const char *path,
	const void *body, size_t length, struct text *ret, struct error *e)
{
	struct call_stream stream;
	int status = 0;
	char buffer[4096];
	int r = begin(server, method, path, body, length, &stream, &status, e);
	if (r < 0)
		return r;
	if (status < 200 || status > 299)
		return refuse(&stream, status, path, e);
	ssize_t n;
	while ((n = call_read(&stream, buffer, sizeof(buffer))) > 0) {
		if (ret->length + (size_t)n > CALL_ANSWER_MAX) {
			n = -E2BIG;
			break;
		}
		text_add_n(ret, buffer, (size_t)n);
	}
	call_close(&stream);
	return n < 0 ? error_code(e, (int)n, "%s", path) : 0;
}

int call_open(const struct call_server *server, const char *path, struct call_stream *ret,
	struct error *e)
{
	int status = 0;
	int r = begin(server, "GET", path, NULL, 0, ret, &status, e);
	if (r < 0)
		return r;
	return status == 200 ? 0 : refuse(ret, status, path, e);
}

ssize_t call_read(struct call_stream *stream, void *buffer, size_t size)
{
	uint64_t left = stream->length - stream->done;
	size_t early = stream->early_length - stream->early_at;
	ssize_t n;
	if (left == 0)
		return 0;
	if (size > left)
		size = (size_t)left;
	if (early > 0) {
		n = (ssize_t)(early < size ? early : size);
		memcpy(buffer, stream->early + stream->early_at, (size_t)n);
		stream->early_at += (size_t)n;
	} else {
		n = read_some(stream->fd, buffer, size);
		if (n == 0)
			return -EPIPE;
	}
	if (n > 0)
		stream->done += (uint64_t)n;
	return n;
}

void call_close(struct call_stream *stream)
{
	close_cleanup(&stream->fd);
	stream->fd = -1;
}
