/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - an HTTP/1.1 server on the event loop: a thin wall around libmicrohttpd.
 *
 * It knows requests, bodies and replies, and nothing of what they mean. One thread; every call comes
 * from the loop. A request is answered once, now or later; if its client leaves before that, done() comes
 * without an answer and the request is gone.
 */
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/loop.h"
#include "http/body.h"
#include "http/tls.h"

struct http_server;
struct http_request;

struct http_calls {
	/* The head is there. May choose the body with http_request_want(), may answer. */
	void (*head)(void *data, struct http_request *request);
	/* The body is there too, and nobody answered yet. Answers now or later. */
	void (*ready)(void *data, struct http_request *request);
	/* Answered, or the client is gone; the request is freed after it. Called for each head(). */
	void (*done)(void *data, struct http_request *request);
	/* The connection is over or was handed on by an upgrade; `fd` was its number. May be NULL. */
	void (*closed)(void *data, int fd);
};

struct http_options {
	int listen_fd; /* a listening stream socket; the server takes it. -1: http_server_add() only */
	int tmp_dir; /* where uploads go; borrowed */
	uint32_t connection_limit;
	uint32_t connection_bytes; /* memory of each, which a head must fit into; 0: 32 KiB */
	uint64_t head_timeout_ns;  /* for the head of a request, and for a body in memory */
	uint64_t idle_timeout_ns;  /* without a byte in a transfer */
};

/* Serves until http_server_free(), which drops all connections. */
int http_server_new(struct loop *loop, const struct http_options *options,
	const struct http_calls *calls, void *data, struct http_server **ret,
	struct error *e) must_use;
void http_server_free(struct http_server *server);
DEFINE_CLEANUP(struct http_server *, http_server_free);

/* Serves one more connection: the plain half of a TLS port, or `peer` is NULL; takes both. False: it was dropped. */
bool http_server_add(struct http_server *server, int fd, struct tls_peer *peer);

/* No new connection is accepted any more; those that are there go on. */
void http_server_close(struct http_server *server);

/* What the handler keeps with the request. */
void http_request_set_user(struct http_request *request, void *user);
void *http_request_user(const struct http_request *request);

const char *http_request_method(const struct http_request *request);
const char *http_request_path(const struct http_request *request); /* still percent-encoded */
/* NULL if there is none; decoded. "" for `?name`. */
const char *http_request_query(const struct http_request *request, const char *name);
/* True if an escape in it is broken or it has more than 32 parts. */
bool http_request_has_bad_query(const struct http_request *request);
const char *http_request_header(const struct http_request *request, const char *name);
/* UINT64_MAX if the body comes in chunks of unknown number, 0 if there is none. */
uint64_t http_request_length(const struct http_request *request);
/* Who is at the other end of a TLS connection; NULL for one that the server accepted itself. */
const struct tls_peer *http_request_remote(const struct http_request *request);
/* Who is at the other end of a unix socket; -ENOTCONN for another kind. */
int http_request_peer(const struct http_request *request, struct ucred *ret) must_use;
int http_request_socket(const struct http_request *request); /* borrowed */
struct loop *http_request_loop(const struct http_request *request);

/* In head(): how the body is to be taken. Else it is dropped. */
void http_request_want(struct http_request *request, enum http_body body, uint64_t limit_bytes);
/* In ready(): true if the body was more than its limit or could not be stored; the errno then. */
int http_request_body_error(const struct http_request *request) must_use;
/* Borrowed; NUL-terminated. */
const char *http_request_body(const struct http_request *request, size_t *ret_length);
size_t http_request_part_count(const struct http_request *request);
struct http_part *http_request_part(struct http_request *request, size_t index);

/* Adds a header to the answer. Before the answer. A newline in it is refused (nothing is added). */
void http_reply_header(struct http_request *request, const char *name, const char *value);

/* Each answers the request, once. */

/* Takes `body` (malloc). */
void http_reply_text(struct http_request *request, unsigned int status, const char *type,
	char *body, size_t length);
/* Sends `length` bytes of the regular file from `offset`; takes the descriptor. */
void http_reply_file(struct http_request *request, unsigned int status, const char *type, int fd,
	uint64_t offset, uint64_t length);
/* Sends what comes out of a pipe or socket until its end, in chunks; takes the descriptor. */
void http_reply_stream(struct http_request *request, unsigned int status, const char *type, int fd);

/*
 * Called once: with the connection's socket, which is the callee's from now on (non-blocking,
 * close-on-exec), and what the client has already sent on it; or with -1 if the client went.
 */
typedef void http_upgrade_call(void *data, int fd, const void *early, size_t early_length);
/* 101 Switching Protocols to `protocol`. */
void http_reply_upgrade(
	struct http_request *request, const char *protocol, http_upgrade_call *call, void *data);

/* True once one of the above was called. */
bool http_request_is_answered(const struct http_request *request);
