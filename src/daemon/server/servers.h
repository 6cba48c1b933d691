/* SPDX-License-Identifier: Apache-2.0 */
/*
 * servers.h - the servers that this daemon knows: found by name, kept in the store.
 *
 * The stored object: {"name", "description", "driver", "address", "port", "tls", "user", "secret" (sealed), "mac",
 * "firmware", "class", "host" (its address on the provisioning network), "state", "since" (ns), "failed",
 * "maintenance", "owner": {"project", "instance"}, "inventory", "boot": {"token", "since"}, "task": {"serial",
 * "name", "state"}, "deployment": {...}, "disk", "erased": [...], "timeline": [...], "config": {}}.
 */
#pragma once

#include <jansson.h>

#include "daemon/service.h"
#include "model/server.h"

#define SERVERS_MAX 10000

struct server_bmc;
struct server_work;

struct server {
	struct server *next;
	struct service *service;
	char *name;
	json_t *object; /* as stored */
	enum server_state state;
	struct server_bmc *bmc;   /* NULL: it has no address of one */
	struct server_work *work; /* what is going on; work.c */
};

struct servers {
	struct service *service;
	struct server *first; /* by name */
	size_t count;
};

int servers_load(struct service *service, struct error *e) must_use;
void servers_free(struct service *service);

/* NULL if there is none. */
struct server *server_find(struct service *service, const char *name);
int server_get(
	struct service *service, const char *name, struct server **ret, struct error *e) must_use;
/* The one whose deploy agent, or whose boot, has that; NULL. */
struct server *server_of_token(struct service *service, const char *token);
struct server *server_of_mac(struct service *service, const char *mac);
/* The one that belongs to the instance; NULL. */
struct server *server_of_instance(struct service *service, const char *project, const char *name);

/* `object` is stolen; it is stored. -EEXIST. */
int server_add(struct service *service, const char *name, json_t *object, struct server **ret,
	struct error *e) must_use;
/* Out of the table and the store. Its BMC and its work are gone already. */
int server_forget(struct server *server, struct error *e) must_use;
int server_save(struct server *server, struct error *e) must_use;
/* As server_save(); a failure is logged. */
void server_keep(struct server *server);

/* Takes an address on the provisioning network if it has none, and tells DHCP. */
int server_take_host(struct server *server, struct error *e) must_use;

const char *server_text(const struct server *server, const char *field); /* or NULL */
bool server_has_failed(const struct server *server);
bool server_is_in_maintenance(const struct server *server);

/* As the API shows it: without secrets. A new object. */
json_t *server_json(const struct server *server) must_use;

/* A lifecycle event about it: "server-updated". */
void server_event(const struct server *server, const char *action);
