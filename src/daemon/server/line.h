/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line.h - the agent in a server's system, which calls: its key, its connections, and who wants one.
 *
 * The key is made when the deploy agent is given the system to write, and goes with it; of it only a digest is stored.
 * berth-line calls with it (GET /1.0/berth/agent) and its connection waits. A helper that is to reach the agent has a
 * channel of server_line_open(): each message on it asks for a connection, and is answered by RUNNER_DONE with the
 * stream, or by a runner_error that says why there is none.
 */
#pragma once

#include "base/text.h"
#include "daemon/instance/instances.h"
#include "daemon/server/servers.h"

/* berth.agent: the system is to have a key, which is so unless it says no. Noted in the deployment. */
bool server_line_is_wanted(const struct instance *instance);
/* Adds the task's line with a new key, if the owner's instance shall have one and the agent has whom to call. */
void server_line_add_key(struct server *server, struct text *lines);
/* The key is worth nothing any more; who waits with it is let go. Not stored yet. */
void server_line_forget(struct server *server);
/* Its system is gone, or another: who waits is let go. */
void server_line_drop(struct server *server);

/* The server that the key "ID.SECRET" is of, whose owner's system runs; NULL. In constant time for the secret. */
struct server *server_line_find(struct service *service, const char *key);
/* The agent's connection, taken: the one before it is let go. */
void server_line_park(struct server *server, int fd);

/* -EOPNOTSUPP if no agent of it will ever call, and why. */
int server_line_check(const struct instance *instance, struct error *e) must_use;
/* The helper's end of a channel, for one instance. */
int server_line_open(struct instance *instance, int *ret, struct error *e) must_use;

/* Who waits is told so; before the server's work goes. */
void server_line_free(struct server *server);

/* Whether a connection waits now, or did a moment ago: the agent makes the next one. */
bool server_line_is_there(const struct instance *instance);
