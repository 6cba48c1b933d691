/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server_work.h - what is done with a server in each state of its life: its BMC asked, its deploy agent given
 * tasks, deadlines kept.
 *
 * Everything that decides how it goes on is in the store before it is begun, so a daemon that was killed at any
 * moment goes on where it was. A failure is a flag with a sentence; the state stays, and can be begun again.
 */
#pragma once

#include "daemon/servers.h"

struct http_request;

typedef void server_done(void *data, int code, const struct error *e);

/* Makes server->work, starts its BMC's process and goes on with what the state wants. */
void server_work_start(struct server *server);
/* Goes on with what the state wants: the provisioning network is there now. */
void server_work_resume(struct server *server);
/* Lets go of it all; nobody is answered. */
void server_work_stop(struct server *server);
/* Who waits is told that it comes to nothing: before server_work_stop(), if the daemon goes on. */
void server_work_abandon(struct server *server);
/* Whether somebody waits for the end of what is going on. */
bool server_is_awaited(const struct server *server);

/*
 * Goes on by an event; `done` (may be NULL) is called once, when what follows has come to an end: the server is
 * available, active, in rescue, or has failed. -EBUSY if it can't happen now; then `done` never comes.
 */
int server_go(struct server *server, enum server_event event, server_done *done, void *data,
	struct error *e) must_use;

/*
 * Takes the server for an instance. `deployment` (stolen) is {"path" of the raw image, "digest", "bytes",
 * "files": [{"mode", "path", "data"}], "disk"}; SERVER_RESERVE, or SERVER_REBUILD for its owner.
 */
int server_deploy(struct server *server, enum server_event event, const char *project,
	const char *instance, json_t *deployment, server_done *done, void *data,
	struct error *e) must_use;

/* The owner's own switch. Started: its system was told to run, not that it does. */
int server_power_on(struct server *server, server_done *done, void *data, struct error *e) must_use;
/* Off: by force, or asked for and waited for. -ETIMEDOUT to `done` if it did not follow. */
int server_power_off(struct server *server, bool is_forced, uint64_t timeout_ns, server_done *done,
	void *data, struct error *e) must_use;
/* What is known: 1 on, 0 off, -1 unknown. */
int server_power(const struct server *server);

/*
 * Who is told when power comes or goes by itself, and when a deployment is over for which nobody waits. One a
 * process.
 */
void server_work_listen(
	void (*power)(struct server *server, bool is_on), void (*deployed)(struct server *server));

/* Why it failed, as a person reads it: noted, warned of, told to who waits. */
void server_fail(struct server *server, int code, const char *format, ...) printf_like(3, 4);

/* For the deploy agent's questions (netboot_serve.c). */

/* It has booted. `told` is its inventory, not yet checked. -EINVAL, -EBUSY. */
int server_agent_hello(struct server *server, const json_t *told, struct error *e) must_use;
/* The lines of its next task, or NULL if there is none now: server_agent_park() then. The caller owns it. */
char *server_agent_task(struct server *server) must_use;
/* `answer` is called once with the lines, or NULL to ask again. Takes the place of one that is parked. */
void server_agent_park(
	struct server *server, void (*answer)(void *data, const char *lines), void *data);
void server_agent_unpark(struct server *server, const void *data);
void server_agent_progress(
	struct server *server, uint64_t serial, const char *stage, uint64_t done, uint64_t total);
/* `failed` NULL: it is done; `lines` more about it. */
void server_agent_done(
	struct server *server, uint64_t serial, const char *failed, const char *lines);
/* Whether it shall boot the agent, if it asks the network now. */
bool server_wants_agent(const struct server *server);
/* Notes a moment of the deployment. */
void server_stage(struct server *server, const char *stage);
