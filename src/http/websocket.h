/* SPDX-License-Identifier: Apache-2.0 */
/*
 * websocket.h - a websocket (RFC 6455) on the event loop: a thin wall around wslay.
 *
 * Sending is bounded: what does not fit is refused with -EAGAIN, and drained() tells when there is room
 * again. A ping goes out every 10 s. A peer that breaks the protocol is closed.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

#define WEBSOCKET_QUEUE_BYTES (4 * MIB)   /* sent and not yet taken by the kernel */
#define WEBSOCKET_ROOM_BYTES  (256 * KIB) /* drained() comes when the queue is below this */
#define WEBSOCKET_TEXT_BYTES  MIB         /* the longest text message that is received */

struct http_request;
struct websocket;

/* Each may be NULL. Any of them may free the websocket. */
struct websocket_calls {
	/*
	 * A whole text message, NUL-terminated, or a part of a binary one as it came; an empty message is
	 * told too.
	 */
	void (*received)(void *data, bool is_text, const char *bytes, size_t length);
	/* The queue was above WEBSOCKET_ROOM_BYTES and is below it now. */
	void (*drained)(void *data);
	/* The peer closed or is gone. Nothing else is called after it. Not called by our own close. */
	void (*closed)(void *data);
};

/* The callee owns `websocket`; NULL if the client went before the handshake was over. */
typedef void websocket_ready_call(void *data, struct websocket *websocket);

/*
 * Answers `request` with the websocket handshake; `ready` is called once. -EINVAL if the request is no
 * handshake; it is not answered then, and `ready` not called.
 */
int websocket_reply(struct http_request *request, websocket_ready_call *ready, void *data,
	struct error *e) must_use;

/*
 * A websocket on a connected stream socket after its handshake, and what was already read from it. Takes
 * `fd`. A client masks what it sends, a server does not.
 */
struct websocket *websocket_new(
	struct loop *loop, int fd, bool is_client, const void *early, size_t early_length) must_use;

/* Drops the connection at once and what is queued. */
void websocket_free(struct websocket *websocket);
DEFINE_CLEANUP(struct websocket *, websocket_free);

/* Who is told. Before it is called nothing is read. */
void websocket_set_calls(
	struct websocket *websocket, const struct websocket_calls *calls, void *data);

/* -EAGAIN if the queue is full, -EPIPE if it is closing. */
int websocket_send(
	struct websocket *websocket, bool is_text, const void *bytes, size_t length) must_use;
size_t websocket_queued_bytes(const struct websocket *websocket);

/* Stops or goes on reading: back-pressure on the peer. */
void websocket_pause(struct websocket *websocket, bool is_paused);

/*
 * Sends what is queued, however long it takes, then a close message, waits for the peer's (10 s at
 * most) and frees itself. The caller forgets it; no call is made any more.
 */
void websocket_close(struct websocket *websocket, uint16_t code);

/* "dGhlIHNhbXBsZSBub25jZQ==" -> "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; -EINVAL if `key` is not 16 bytes. */
#define WEBSOCKET_ACCEPT_SIZE 29
int websocket_accept_key(const char *key, char accept[WEBSOCKET_ACCEPT_SIZE]) must_use;
