/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work.h - what is done with a server in each state of its life: its BMC asked, its deploy agent given
 * tasks, deadlines kept.
 *
 * Everything that decides how it goes on is in the store before it is begun, so a daemon that was killed at any
 * moment goes on where it was. A failure is a flag with a sentence; the state stays, and can be begun again.
 */
#pragma once

#include "daemon/server/note.h"

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
 * "files": [{"mode", "path", "data"}], "disk", "is_plain"}; SERVER_RESERVE, or SERVER_REBUILD for its owner.
 */
int server_deploy(struct server *server, enum server_event event, const char *project,
	const char *instance, json_t *deployment, server_done *done, void *data,
	struct error *e) must_use;

/* Into the state, with its deadline; what follows is the caller's. */
void server_enter(struct server *server, enum server_state state);
