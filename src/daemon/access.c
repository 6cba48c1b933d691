/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access.c - what a client of the TLS port may ask.
 */
#include "daemon/access.h"

#include <errno.h>
#include <string.h>

#include "daemon/operation.h"
#include "daemon/projects.h"
#include "daemon/trust.h"
#include "model/json.h"

enum rule {
	RULE_READ,      /* anybody who is trusted may look */
	RULE_PROJECT,   /* within the client's projects */
	RULE_BODY,      /* so, and the body must ask for nothing of the host */
	RULE_OPERATION, /* {id} is of one of the client's projects */
	RULE_NAMED,     /* {name} is one of the client's projects; to look */
	RULE_OWN,       /* {fingerprint} is the client's own; to look */
};

/* By the start of a route's path; the longest that fits counts. What is not here is refused. */
static const struct {
	const char *start;
	enum rule rule;
	const char *feature; /* where the project's objects may live in the default one */
} rules[] = {
	{ "/", RULE_READ, NULL },
	{ "/1.0", RULE_READ, NULL },
	{ "/1.0/berth/doctor", RULE_READ, NULL },
	{ "/1.0/berth/plan", RULE_BODY, NULL },
	{ "/1.0/certificates", RULE_READ, NULL },
	{ "/1.0/certificates/{fingerprint}", RULE_OWN, NULL },
	{ "/1.0/events", RULE_PROJECT, NULL },
	{ "/1.0/images", RULE_PROJECT, "images" },
	{ "/1.0/instances", RULE_BODY, NULL },
	{ "/1.0/networks", RULE_READ, NULL },
	{ "/1.0/operations", RULE_PROJECT, NULL },
	{ "/1.0/operations/{id}", RULE_OPERATION, NULL },
	{ "/1.0/profiles", RULE_BODY, "profiles" },
	{ "/1.0/projects", RULE_READ, NULL },
	{ "/1.0/projects/{name}", RULE_NAMED, NULL },
	{ "/1.0/resources", RULE_READ, NULL },
	{ "/1.0/storage-pools", RULE_READ, NULL },
	{ "/1.0/storage-pools/{pool}/volumes", RULE_PROJECT, "storage.volumes" },
};

void access_read(struct service *service, struct request *request)
{
	const struct tls_peer *peer = http_request_remote(request->http);
	struct client *client = &request->client;
	const json_t *certificate = peer && peer->certificate && peer->fingerprint[0]
		? trust_find(service, peer->fingerprint)
		: NULL;
	*client = (struct client){ .access = ACCESS_NONE };
	if (!certificate)
		return;
	client->fingerprint = alloc_text(peer->fingerprint);
	if (text_equal(json_text(certificate, "type"), "metrics"))
		client->access = ACCESS_METRICS;
	else if (json_is_true(json_object_get(certificate, "restricted")))
		client->access = ACCESS_RESTRICTED;
	else
		client->access = ACCESS_FULL;
	client->projects = json_incref(json_object_get(certificate, "projects"));
}

bool client_has_project(const struct client *client, const char *project)
{
	size_t i;
	json_t *name;
	if (client->access == ACCESS_FULL)
		return true;
	json_array_foreach(client->projects, i, name)
	{
		if (client->access == ACCESS_RESTRICTED &&
			text_equal(json_string_value(name), project))
			return true;
	}
	return false;
}

static int refused(struct error *e)
{
	return error_set(e, -EACCES, "not authorized");
}

static int rule_of(const struct route *route)
{
	int found = -1;
	size_t best = 0;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		size_t length = strlen(rules[i].start);
		bool fits = strncmp(route->path, rules[i].start, length) == 0 &&
			(route->path[length] == '\0' || (route->path[length] == '/' && length > 4));
		if (fits && length >= best) {
			best = length;
			found = (int)i;
		}
	}
	return found;
}

/* Objects that the project shares with the default one may be seen by whoever may see the project. */
static int check_project(struct service *service, const struct request *request, bool is_read,
	const char *feature, struct error *e)
{
	const char *project = request_project(request);
	if (request_all_projects(request) || !client_has_project(&request->client, project))
		return refused(e);
	if (is_read || !feature)
		return 0;
	const char *home = project_of(service, project, feature);
	return client_has_project(&request->client, home) ? 0 : refused(e);
}

static int check_rule(struct service *service, const struct request *request, struct error *e)
{
	int index = rule_of(request->route);
	bool is_read = text_equal(request->route->method, "GET");
	if (index < 0)
		return refused(e);
	switch (rules[index].rule) {
	case RULE_READ:
		break;
	case RULE_PROJECT:
	case RULE_BODY:
		return check_project(service, request, is_read, rules[index].feature, e);
	case RULE_OPERATION: {
		const struct operation *operation =
			operation_find(service, request_param(request, "id"));
		bool is_ours = operation && operation_class(operation) != OPERATION_TOKEN &&
			client_has_project(&request->client, operation_project(operation));
		return is_ours ? 0 : error_set(e, -ENOENT, "Operation not found");
	}
	case RULE_NAMED:
		return is_read &&
				client_has_project(&request->client, request_param(request, "name"))
			? 0
			: refused(e);
	case RULE_OWN:
		return is_read &&
				text_starts(request->client.fingerprint,
					request_param(request, "fingerprint"))
			? 0
			: refused(e);
	}
	if (!is_read)
		return refused(e);
	/* What is shown of networks and pools is shown within a project. */
	if (request->route->flags & ROUTE_NO_PROJECT)
		return 0;
	return check_project(service, request, true, NULL, e);
}

/* What anybody may ask who has no certificate yet. */
static bool is_open(const struct route *route)
{
	return (text_equal(route->method, "GET") &&
		       (text_equal(route->path, "/") || text_equal(route->path, "/1.0"))) ||
		(text_equal(route->method, "POST") &&
			text_equal(route->path, "/1.0/certificates")) ||
		/* Has a key of its own, that opens nothing else: api/agent.c. */
		(text_equal(route->method, "GET") && text_equal(route->path, "/1.0/berth/agent"));
}

int access_check(struct service *service, struct request *request, struct error *e)
{
	switch (request->client.access) {
	case ACCESS_FULL:
		return 0;
	case ACCESS_RESTRICTED:
		return check_rule(service, request, e);
	case ACCESS_METRICS:
		if (is_open(request->route) || text_equal(request->route->path, "/1.0/metrics"))
			return text_equal(request->route->method, "GET") ? 0 : refused(e);
		return refused(e);
	case ACCESS_NONE:
		return is_open(request->route) ? 0 : refused(e);
	}
	return refused(e);
}

/* -- the body of a restricted client -------------------------------------------------------------- */

static int check_config(const json_t *config, struct error *e)
{
	static const char *const starts[] = { "raw.", "security.idmap.", "security.syscalls.",
		"linux.kernel_modules", "nvidia.", "volatile.idmap." };
	const char *key;
	json_t *value;
	json_object_foreach(json_mutable(config), key, value)
	{
		const char *text = json_string_value(value);
		bool is_bad = text_equal(key, "security.privileged") && text && *text &&
			!text_equal(text, "false") && !text_equal(text, "0");
		/* Another tenant's, perhaps: its own is the project's. */
		is_bad |= text_equal(key, "user.vlan") && text && *text;
		for (size_t i = 0; i < ARRAY_SIZE(starts); i++)
			is_bad |= text_starts(key, starts[i]) && text && *text;
		if (is_bad)
			return error_set(e, -EACCES,
				"config.%.64s: a client with a restricted certificate may not set it",
				key);
	}
	return 0;
}

/* What stays within berth: a volume of a pool, memory, a card of a managed network. */
static bool is_harmless(const json_t *device)
{
	const char *type = json_text(device, "type"), *source = json_text(device, "source");
	if (text_equal(type, "none"))
		return true;
	if (text_equal(type, "nic"))
		return json_text(device, "network") && !json_text(device, "parent");
	if (!text_equal(type, "disk"))
		return false;
	return json_text(device, "pool") || !source || text_equal(source, "tmpfs:");
}

static int check_devices(const json_t *devices, struct error *e)
{
	const char *name;
	json_t *device;
	json_object_foreach(json_mutable(devices), name, device)
	{
		if (!is_harmless(device))
			return error_set(e, -EACCES,
				"devices.%.64s: a client with a restricted certificate may only have "
				"disks of pools and cards of managed networks",
				name);
	}
	return 0;
}

int access_check_body(struct service *service, struct request *request, struct error *e)
{
	(void)service;
	int index = rule_of(request->route);
	const json_t *body = request_json(request);
	if (request->client.access != ACCESS_RESTRICTED || index < 0 ||
		request->route->body == REQUEST_NONE)
		return 0;
	const json_t *source = json_object_get(body, "source");
	const char *const projects[] = { json_text(body, "project"), json_text(source, "project") };
	for (size_t i = 0; i < ARRAY_SIZE(projects); i++)
		if (projects[i] && *projects[i] &&
			!client_has_project(&request->client, projects[i]))
			return refused(e);
	if (rules[index].rule != RULE_BODY)
		return 0;
	/* An archive may carry any config; a file of an instance carries none. */
	if (!body && text_equal(request->route->path, "/1.0/instances"))
		return error_set(e, -EACCES,
			"a client with a restricted certificate may not import an instance");
	int r = check_config(json_object_get(body, "config"), e);
	return r == 0 ? check_devices(json_object_get(body, "devices"), e) : r;
}
