/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power.h - the owner's own switch, and power that comes and goes by itself.
 */
#pragma once

#include "daemon/server/note.h"

/* Started: its system was told to run, not that it does. */
int server_power_on(struct server *server, server_done *done, void *data, struct error *e) must_use;
/* Off: by force, or asked for and waited for. -ETIMEDOUT to `done` if it did not follow. */
int server_power_off(struct server *server, bool is_forced, uint64_t timeout_ns, server_done *done,
	void *data, struct error *e) must_use;
/* What is known: 1 on, 0 off, -1 unknown. */
int server_power(const struct server *server);

/* Who is told when power comes or goes by itself. One a process. */
void server_power_listen(void (*power)(struct server *server, bool is_on));

/* The agent that was to start it is gone: it is started with its disk first. */
void server_power_cold(struct server *server);
/* The BMC said something by itself. */
void server_power_told(struct server *server);
/* A timer's: whether it is off now. */
void server_power_look(void *data);
