/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bmc.h - the berth-metal of one server: started, asked, started again when it ends.
 */
#pragma once

#include "daemon/server/servers.h"

/* `answer` is borrowed. Once; -ECONNRESET if the process went. */
typedef void server_bmc_answer(void *data, int code, json_t *answer, const struct error *e);
/* What it tells by itself: {"power", "watts", "sensors"} or {"lost"}. */
typedef void server_bmc_event(struct server *server);

/*
 * Starts the process with the server's address and credentials. A server without an address has none, and
 * server->bmc stays NULL.
 */
int server_bmc_start(struct server *server, server_bmc_event *event, struct error *e) must_use;
void server_bmc_stop(struct server *server);

/* `request` is stolen. -ENOTCONN if it has no BMC; then `answer` never comes. */
int server_bmc_ask(struct server *server, json_t *request, server_bmc_answer *answer, void *data,
	struct error *e) must_use;
/* Nobody waits any more. */
void server_bmc_unask(struct server *server, const void *data);

/* Gives a stream to the serial console. */
int server_bmc_attach(struct server *server, int fd, bool is_forced, server_bmc_answer *answer,
	void *data, struct error *e) must_use;

/* The last thing that it told; borrowed; NULL. */
const json_t *server_bmc_told(const struct server *server);
