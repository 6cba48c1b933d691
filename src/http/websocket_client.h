/* SPDX-License-Identifier: Apache-2.0 */
/*
 * websocket_client.h - our end of a websocket: messages in and out of an event loop.
 *
 * Pings are answered and a close is returned by themselves. What is sent is queued without a limit; a
 * sender that does not want that asks websocket_client_queued_bytes() and waits for `drained`.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "base/loop.h"
#include "http/client.h"

struct websocket_client;

/* Every member is set. A callback may free its websocket. */
struct websocket_client_calls {
	void (*message)(void *data, bool is_text, const void *bytes, size_t length);
	void (*drained)(void *data); /* all that was queued is sent */
	/* The peer closed (0), or a negative errno. Called once; nothing follows. */
	void (*closed)(void *data, int code);
};

/*
 * Connects, asks for the upgrade of `target` and waits for the answer. -ENOENT for 404, -EACCES for 401
 * and 403, else -EIO if the server refuses.
 */
int websocket_client_open(struct client *client, const char *target, struct websocket_client **ret,
	struct error *e) must_use;
void websocket_client_free(struct websocket_client *websocket);
DEFINE_CLEANUP(struct websocket_client *, websocket_client_free);

/* From now on the loop calls. `calls` must outlive it. */
int websocket_client_start(struct websocket_client *websocket, struct loop *loop,
	const struct websocket_client_calls *calls, void *data, struct error *e) must_use;

/* Queues a message. */
void websocket_client_send(
	struct websocket_client *websocket, bool is_text, const void *bytes, size_t length);
size_t websocket_client_queued_bytes(const struct websocket_client *websocket);
