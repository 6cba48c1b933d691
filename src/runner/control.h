/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - a runner's end of the channel: who connects, what state it is told, what it asks.
 */
#pragma once

#include "abi/runner.h"
#include "base/base.h"
#include "base/error.h"
#include "base/loop.h"

#define CONTROL_PEERS_MAX 16

struct control;
struct control_peer;

/*
 * A request that is whole: its length and version are right, and it is as long as its type says at
 * least. The callee owns the descriptors, and answers with one of control_answer...().
 */
typedef void control_request(void *data, struct control_peer *peer,
	const struct runner_header *request, const int *fds, size_t fd_count);

/* `listener` is borrowed. HELLO is answered here. */
int control_new(struct loop *loop, int listener, control_request *request, void *data,
	struct control **ret, struct error *e) must_use;
void control_free(struct control *control);
DEFINE_CLEANUP(struct control *, control_free);

/* Adds a connection, as if accepted; owned from now on. */
int control_add(struct control *control, int fd) must_use;

/* What HELLO is answered with from now on; told to all that said it. `pidfd` is borrowed, or -1. */
void control_set_state(struct control *control, const struct runner_state *state, int pidfd);

/* As control_set_state(), to those that did not say HELLO, too. */
void control_tell_state(struct control *control, const struct runner_state *state, int pidfd);

/* Whether anybody has said HELLO already; if not, `greeted` is called when somebody has been answered. */
bool control_when_greeted(
	struct control *control, void (*greeted)(void *data), void *data) must_use;

/* To all that said HELLO. */
void control_tell_event(struct control *control, enum runner_event_kind kind, uint64_t value);

/* To all, whether or not they said HELLO: why the instance could not be started. */
void control_tell_error(struct control *control, int code, const char *text);

/* For an answer that comes later: the peer's number, and the peer again, or NULL if it has gone. */
uint64_t control_peer_number(const struct control_peer *peer);
struct control_peer *control_peer_of(struct control *control, uint64_t number);

void control_answer_done(struct control_peer *peer, const struct runner_header *request);
void control_answer_error(
	struct control_peer *peer, const struct runner_header *request, int code, const char *text);
/* Any struct of abi/runner.h whose header's `type` is set, and `tail` behind it. */
void control_answer(struct control_peer *peer, const struct runner_header *request, void *message,
	size_t length, const void *tail, size_t tail_length);
