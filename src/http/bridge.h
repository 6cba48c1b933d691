/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bridge.h - joins a websocket and descriptors: bytes both ways, with back-pressure and the ends of both.
 *
 * The end of the stream is an empty text message, either way, as the clients of exec expect; a websocket
 * that closes is the end too.
 */
#pragma once

#include "base/loop.h"
#include "http/websocket.h"

struct bridge;

struct bridge_options {
	int to_fd;   /* takes what the websocket brings, or -1; closed at its end */
	int from_fd; /* what it brings goes to the websocket, or -1; may be to_fd: a terminal */
	/* Both directions are over, or the websocket is. Called once; free the bridge then or later. */
	void (*ended)(void *data);
	void *data;
};

/* Takes the websocket and the descriptors, which are pipes, sockets or terminals. */
struct bridge *bridge_new(struct loop *loop, struct websocket *websocket,
	const struct bridge_options *options) must_use;

/* The writer at the other end of from_fd is gone: what is there now is all that goes out. */
void bridge_finish(struct bridge *bridge);

/* Ends the websocket after what is queued, closes the descriptors. */
void bridge_free(struct bridge *bridge);
DEFINE_CLEANUP(struct bridge *, bridge_free);
