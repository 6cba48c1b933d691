/* SPDX-License-Identifier: Apache-2.0 */
/*
 * note.h - what goes on with one server, and how it ends: noted in its timeline, told to who waits.
 */
#pragma once

#include "abi/agent.h"
#include "daemon/server/servers.h"

typedef void server_done(void *data, int code, const struct error *e);

struct server_line;

/* Not stored: what is lost with the daemon, and found again. */
struct server_work {
	struct server *server;
	struct source *deadline;                       /* of the state */
	struct source *late;                           /* the agent has not called */
	struct source *look;                           /* whether it is off now */
	uint64_t agent_seen_ns;                        /* 0: it is not there */
	void (*answer)(void *data, const char *lines); /* to an agent that waits for a task */
	void *answer_data;
	server_done *done; /* what follows has come to an end */
	void *data;
	unsigned int boots;
	/* The owner's switch. */
	server_done *switched;
	void *switch_data;
	uint64_t look_ns, stop_ns;
	bool is_stopping;
	bool is_cold;             /* it is started anew, whatever runs there */
	int power;                /* as it was seen last; -1 */
	struct agent_usage usage; /* usage.c */
	uint64_t usage_ns;        /* when it was told; 0: never */
	struct server_line *line; /* line.c; NULL: nobody has called or asked yet */
};

/* Who waits for the end is told, once. */
void server_finished(struct server *server, int code, const struct error *e);
/* Who waits for the switch is told, once. */
void server_switched(struct server *server, int code, const struct error *e);
/* Why it failed, as a person reads it: noted, warned of, told to who waits. */
void server_fail(struct server *server, int code, const char *format, ...) printf_like(3, 4);
/* Notes a moment of the deployment. */
void server_stage(struct server *server, const char *stage);
/* One that began `ago_ns` before now, but after the last one. */
void server_stage_before(struct server *server, const char *stage, uint64_t ago_ns);
/* A time of the server's own config, or the usual one. */
uint64_t server_limit_ns(const struct server *server, const char *key, uint64_t usual) must_use;
