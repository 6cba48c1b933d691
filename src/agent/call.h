/* SPDX-License-Identifier: Apache-2.0 */
/*
 * call.h - HTTP/1.1 to the daemon that booted this server: one request a connection, addresses as numbers.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "base/text.h"

#define CALL_ANSWER_MAX (256 * KIB)
#define CALL_HEAD_MAX   8192

struct call_server {
	char address[64]; /* "10.0.0.1" */
	uint16_t port;
	char path[256]; /* "/agent/TOKEN": before that of each request */
};

/* "http://10.0.0.1:8470/agent/TOKEN". -EINVAL if it is none. */
int call_read_url(const char *url, struct call_server *ret, struct error *e) must_use;

/* An answer's body that is read as it comes. */
struct call_stream {
	int fd;
	uint64_t length; /* bytes of the body */
	uint64_t done;
	char early[CALL_HEAD_MAX];
	size_t early_length, early_at;
};

/* "HTTP/1.1 200 OK..." up to the empty line: the status and Content-Length. -EBADMSG. */
int call_read_head(const char *head, size_t length, int *ret_status, uint64_t *ret_length) must_use;

/*
 * Sends the request; `path` is put behind the server's. The body of a 2xx answer to *ret, a text of the
 * caller's. Another status is an error: 404 -ENOENT, 409 -EBUSY, else -EIO. A silent server: -ETIMEDOUT.
 */
int call_send(const struct call_server *server, const char *method, const char *path,
	const void *body, size_t length, struct text *ret, struct error *e) must_use;

int call_open(const struct call_server *server, const char *path, struct call_stream *ret,
	struct error *e) must_use;
/* At most `size` bytes: how many, 0 at the end, -EPIPE if it is cut short. */
ssize_t call_read(struct call_stream *stream, void *buffer, size_t size) must_use;
void call_close(struct call_stream *stream);
