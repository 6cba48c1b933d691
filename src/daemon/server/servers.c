/* SPDX-License-Identifier: Apache-2.0 */
/*
 * servers.c - the table of servers.
 */
#include "daemon/server/servers.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/events.h"
#include "daemon/server/netboot.h"
#include "model/json.h"

#define COLLECTION "server"

static void insert(struct servers *servers, struct server *server)
{
	struct server **at = &servers->first;
	while (*at && strcmp((*at)->name, server->name) < 0)
		at = &(*at)->next;
	server->next = *at;
	*at = server;
	servers->count++;
}

static struct server *server_new(struct service *service, const char *name, json_t *object)
{
	struct server *server = alloc(struct server);
	*server = (struct server){ .service = service, .name = alloc_text(name), .object = object };
	if (server_state_read(json_text(object, "state"), &server->state) < 0)
		server->state = SERVER_ENROLLED;
	insert(service->servers, server);
	return server;
}

static void server_free(struct server *server)
{
	free(server->name);
	json_decref(server->object);
	free(server);
}

static int load_one(void *data, const char *project, const char *name, const json_t *object)
{
	struct service *service = data;
	(void)project;
	server_new(service, name, json_deep_copy(object));
	return 0;
}

int servers_load(struct service *service, struct error *e)
{
	service->servers = alloc(struct servers);
	service->servers->service = service;
	return store_each(service->store, COLLECTION, "", load_one, service, e);
}

void servers_free(struct service *service)
{
	struct servers *servers = TAKE_PTR(service->servers);
	if (!servers)
		return;
	while (servers->first) {
		struct server *server = servers->first;
		servers->first = server->next;
		server_free(server);
	}
	free(servers);
}

struct server *server_find(struct service *service, const char *name)
{
	for (struct server *at = service->servers->first; at; at = at->next)
		if (text_equal(at->name, name))
			return at;
	return NULL;
}

int server_get(struct service *service, const char *name, struct server **ret, struct error *e)
{
	struct server *server = server_find(service, name);
	if (!server)
		return error_set(e, -ENOENT, "server \"%.64s\" does not exist", name);
	*ret = server;
	return 0;
}

/* How long it takes tells nothing but the length, which is no secret. */
static bool is_same(const char *a, const char *b)
{
	size_t length = strlen(a);
	unsigned char differs = 0;
	if (length != strlen(b))
		return false;
	for (size_t i = 0; i < length; i++)
		differs |= (unsigned char)(a[i] ^ b[i]);
	return differs == 0;
}

struct server *server_of_token(struct service *service, const char *token)
{
	struct server *found = NULL;
	/* All are looked at: how long it takes tells nothing. */
	for (struct server *at = service->servers->first; at; at = at->next) {
		const char *own = json_text(json_object_get(at->object, "boot"), "token");
		if (own && own[0] && is_same(own, token))
			found = at;
	}
	return found;
}

static bool has_mac(const struct server *server, const char *mac)
{
	const json_t *nics = json_object_get(json_object_get(server->object, "inventory"), "nics");
	const char *own = server_text(server, "mac");
	if (own && strcasecmp(own, mac) == 0)
		return true;
	for (size_t i = 0; i < json_array_size(nics); i++) {
		const char *one = json_text(json_array_get(nics, i), "mac");
		if (one && strcasecmp(one, mac) == 0)
			return true;
	}
	return false;
}

struct server *server_of_mac(struct service *service, const char *mac)
{
	for (struct server *at = service->servers->first; at; at = at->next)
		if (has_mac(at, mac))
			return at;
	return NULL;
}

struct server *server_of_instance(struct service *service, const char *project, const char *name)
{
	for (struct server *at = service->servers->first; at; at = at->next) {
		const json_t *owner = json_object_get(at->object, "owner");
		if (text_equal(json_text(owner, "project"), project) &&
			text_equal(json_text(owner, "instance"), name))
			return at;
	}
	return NULL;
}

int server_save(struct server *server, struct error *e)
{
	json_set_text(server->object, "state", server_state_name(server->state));
	return store_put(server->service->store, COLLECTION, "", server->name, server->object, e);
}

void server_keep(struct server *server)
{
	struct error e = {};
	if (server_save(server, &e) < 0)
		log_error("not stored server=%s: %s", server->name, e.text);
}

int server_add(struct service *service, const char *name, json_t *object, struct server **ret,
	struct error *e)
{
	int r = 0;
	if (server_find(service, name))
		r = error_set(e, -EEXIST, "server \"%.64s\" exists already", name);
	else if (service->servers->count >= SERVERS_MAX)
		r = error_set(e, -ENOSPC, "there are %d servers already", SERVERS_MAX);
	else
		r = store_add(service->store, COLLECTION, "", name, object, e);
	if (r < 0) {
		json_decref(object);
		return r;
	}
	*ret = server_new(service, name, object);
	return 0;
}

int server_forget(struct server *server, struct error *e)
{
	struct servers *servers = server->service->servers;
	int r = store_remove(server->service->store, COLLECTION, "", server->name, e);
	if (r < 0)
		return r;
	netboot_host_delete(server->service, server->name);
	cleanup(free) char *disc = alloc_printf("metal/media/%s.iso", server->name);
	(void)!unlinkat(server->service->dir, disc, 0);
	for (struct server **at = &servers->first; *at; at = &(*at)->next)
		if (*at == server) {
			*at = server->next;
			break;
		}
	servers->count--;
	server_free(server);
	return 0;
}

static bool host_is_taken(const struct service *service, const char *host)
{
	for (const struct server *at = service->servers->first; at; at = at->next)
		if (text_equal(server_text(at, "host"), host))
			return true;
	return false;
}

static int choose_host(struct server *server, struct error *e)
{
	for (uint32_t n = 0;; n++) {
		cleanup(free) char *host = netboot_address(server->service, n);
		if (!host)
			return error_set(
				e, -ENOSPC, "the provisioning network has no address left");
		if (!host[0] || host_is_taken(server->service, host))
			continue;
		json_set_text(server->object, "host", host);
		return server_save(server, e);
	}
}

int server_take_host(struct server *server, struct error *e)
{
	const char *mac = server_text(server, "mac");
	int r = netboot_check(server->service, e);
	if (r == 0 && !server_text(server, "host"))
		r = choose_host(server, e);
	if (r < 0 || !mac)
		return r;
	return netboot_host_put(server->service, server->name, mac, server_text(server, "host"), e);
}

const char *server_text(const struct server *server, const char *field)
{
	const char *text = json_text(server->object, field);
	return text && text[0] ? text : NULL;
}

bool server_has_failed(const struct server *server)
{
	return server_text(server, "failed") != NULL;
}

bool server_is_in_maintenance(const struct server *server)
{
	return json_is_true(json_object_get(server->object, "maintenance"));
}

json_t *server_json(const struct server *server)
{
	static const char *const hidden[] = { "secret", "boot", "task", "deployment", "agent" };
	json_t *shown = json_deep_copy(server->object);
	const json_t *owner = json_object_get(server->object, "owner");
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		json_object_del(shown, hidden[i]);
	json_set_text(shown, "state", server_state_name(server->state));
	json_set_bool(shown, "has_password", server_text(server, "secret") != NULL);
	json_object_set_new(shown, "used_by", json_array());
	if (json_is_object(owner)) {
		cleanup(free) char *url = alloc_printf("/1.0/instances/%s?project=%s",
			json_text(owner, "instance") ?: "", json_text(owner, "project") ?: "");
		json_array_append_new(json_object_get(shown, "used_by"), json_string(url));
	}
	return shown;
}

void server_event(const struct server *server, const char *action)
{
	events_lifecycle_f(
		server->service, action, NULL, NULL, "/1.0/berth/servers/%s", server->name);
}
