/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot.h - the deploy agent of one server: started from the network, given tasks.
 *
 * A task is stored with a serial number before it is given. If the agent is there (it has asked for a task lately,
 * and nobody else's system ran since) it gets the task with its next question; else the server is started from the
 * network with a new token, and the agent that calls with that token gets it.
 */
#pragma once

#include "daemon/server/bmc.h"
#include "daemon/server/note.h"

#define SERVER_AGENT_LATE_NS \
	(20 * NS_PER_SEC)                   /* until it is started again, if it should be there */
#define SERVER_BOOT_NS   (600 * NS_PER_SEC) /* from power to its first call */
#define SERVER_BOOTS_MAX 3

/* Asks its BMC; the server has failed if that can't be. `request` is stolen. */
void server_ask(struct server *server, json_t *request, server_bmc_answer *answer);
bool server_is_uefi(const struct server *server);
/* Its port into the VLAN (0: the provisioning network), then goes on. */
void server_plug(struct server *server, uint32_t vlan, void (*then)(struct server *server));
uint32_t server_owner_vlan(const struct server *server);

/* Tells its BMC so; a failure is logged. */
void server_switch_off(struct server *server);

bool server_agent_is_there(const struct server *server);
void server_agent_is_here(struct server *server);
void server_agent_is_gone(struct server *server);
/* Starts it, with a token that only this start has. */
void server_boot_agent(struct server *server);

const json_t *server_task_of(const struct server *server);
void server_task_set(struct server *server, const char *name);
/* To an agent that waits for one. */
void server_task_hand_out(struct server *server);
/* Stored, and given to the agent, which is started if it is not there. */
void server_task_give(struct server *server, const char *name);

/* The lines of its next task, or NULL if there is none now: server_agent_park() then. The caller owns it. */
char *server_agent_task(struct server *server) must_use;
/* `answer` is called once with the lines, or NULL to ask again. Takes the place of one that is parked. */
void server_agent_park(
	struct server *server, void (*answer)(void *data, const char *lines), void *data);
void server_agent_unpark(struct server *server, const void *data);
