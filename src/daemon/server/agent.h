/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.h - what a server's deploy agent says (netboot_serve.c hears it).
 *
 * An answer counts for the serial that it names, and once: what comes twice or late changes nothing.
 */
#pragma once

#include "daemon/server/servers.h"

/* It has begun so long ago. `told` is its inventory, not yet checked. -EINVAL, -EBUSY. */
int server_agent_hello(
	struct server *server, const json_t *told, uint64_t ago_ns, struct error *e) must_use;
void server_agent_progress(
	struct server *server, uint64_t serial, const char *stage, uint64_t done, uint64_t total);
/* `failed` NULL: it is done; `lines` more about it. */
void server_agent_done(
	struct server *server, uint64_t serial, const char *failed, const char *lines);
/* Lines of who is at the other end of one of its cables (agent/neighbours.h). */
void server_agent_neighbour(struct server *server, const char *lines);
/* Whether it may send what is on its disk now. */
bool server_agent_may_save(const struct server *server);
/* A piece of its disk. -EBUSY, -EINVAL, or that of pwrite(2). */
int server_agent_piece(struct server *server, uint64_t at, const void *bytes, size_t length,
	struct error *e) must_use;
/* Whether it shall boot the agent, if it asks the network now. */
bool server_wants_agent(const struct server *server);

/* Who is told of a deployment's end for which nobody waits. One a process. */
void server_agent_listen(void (*deployed)(struct server *server));
