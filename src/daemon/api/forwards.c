/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forwards.c - /1.0/networks/{name}/forwards: ports of this host that go to instances.
 */
#include <errno.h>

#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/events.h"
#include "daemon/network/forward.h"
#include "daemon/projects.h"
#include "model/json.h"

static int find(struct service *service, const struct request *request, struct network **ret,
	struct error *e)
{
	const char *name = request_param(request, "name");
	*ret = network_find(
		service->networks, project_of(service, request_project(request), "networks"), name);
	if (!*ret)
		return error_set(e, -ENOENT, "network \"%s\" does not exist", name);
	return 0;
}

/* {description, config, ports} of the body in their full form, and the listen address. */
static json_t *stored_form(const json_t *body, const char *listen)
{
	json_t *config = json_object_get(body, "config"), *ports = json_object_get(body, "ports");
	return json_pack("{s:s,s:s,s:O,s:O}", "listen_address", listen, "description",
		json_text(body, "description") ?: "", "config",
		json_is_object(config) ? config : json_object(), "ports",
		json_is_array(ports) ? ports : json_array());
}

static json_t *seen(const json_t *forward)
{
	return json_pack("{s:O,s:O,s:O}", "description", json_object_get(forward, "description"),
		"config", json_object_get(forward, "config"), "ports",
		json_object_get(forward, "ports"));
}

static int list(struct service *service, struct request *request, struct error *e)
{
	struct network *network = NULL;
	json_t *forwards = NULL;
	int r = find(service, request, &network, e);
	if (r == 0)
		r = forwards_list(service->networks, network, &forwards, e);
	if (r < 0)
		return r;
	size_t i;
	json_t *forward;
	json_array_foreach(forwards, i, forward)
	{
		json_set_text(forward, "location", "");
	}
	cleanup(free) char *base = alloc_printf("/1.0/networks/%s/forwards", network->name);
	return reply_collection(request, forwards, base, "listen_address", e);
}

static void tell(struct service *service, const char *action, const struct network *network,
	const char *listen)
{
	events_lifecycle_f(service, action, network->project, NULL, "/1.0/networks/%s/forwards/%s",
		network->name, listen);
}

static int check_body(const json_t *body, struct error *e)
{
	static const char *const known[] = { "listen_address", "description", "config", "ports",
		"location", NULL };
	const char *description;
	json_t *config, *ports;
	int r = json_read_known(body, "", known, e);
	if (r == 0)
		r = json_read_text(body, "", "description", &description, e);
	if (r == 0)
		r = json_read_text_map(body, "", "config", &config, e);
	return r < 0 ? r : json_read_array(body, "", "ports", &ports, e);
}

static int create(struct service *service, struct request *request, struct error *e)
{
	struct network *network = NULL;
	const char *listen = NULL;
	const json_t *body = request_json(request);
	int r = find(service, request, &network, e);
	if (r == 0)
		r = check_body(body, e);
	if (r == 0)
		r = json_require_text(body, "", "listen_address", &listen, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *forward = stored_form(body, listen);
	r = forward_put(service->networks, network, forward, true, e);
	if (r < 0)
		return r;
	tell(service, "network-forward-created", network, listen);
	cleanup(free) char *base = alloc_printf("/1.0/networks/%s/forwards", network->name);
	cleanup(free) char *url = url_for(base, listen, request_project(request));
	return reply_created(request, "%s", url);
}

static int get(struct service *service, struct request *request, struct error *e)
{
	struct network *network = NULL;
	json_t *forward = NULL;
	int r = find(service, request, &network, e);
	if (r == 0)
		r = forward_get(
			service->networks, network, request_param(request, "listen"), &forward, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *can_be_put = seen(forward);
	json_set_text(forward, "location", "");
	return reply_object_seen(request, forward, can_be_put);
}

static int change(struct service *service, struct request *request, bool is_patch, struct error *e)
{
	struct network *network = NULL;
	const char *listen = request_param(request, "listen");
	cleanup(json_decref) json_t *old = NULL;
	int r = find(service, request, &network, e);
	if (r == 0)
		r = forward_get(service->networks, network, listen, &old, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *can_be_put = seen(old);
	r = request_if_match(request, can_be_put, e);
	if (r == 0)
		r = check_body(request_json(request), e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *body = is_patch
		? json_patched(can_be_put, request_json(request))
		: json_incref(request_json(request));
	cleanup(json_decref) json_t *forward = stored_form(body, json_text(old, "listen_address"));
	r = forward_put(service->networks, network, forward, false, e);
	if (r < 0)
		return r;
	tell(service, "network-forward-updated", network, listen);
	return reply_sync(request, NULL);
}

static int put(struct service *service, struct request *request, struct error *e)
{
	return change(service, request, false, e);
}

static int patch(struct service *service, struct request *request, struct error *e)
{
	return change(service, request, true, e);
}

static int delete_forward(struct service *service, struct request *request, struct error *e)
{
	struct network *network = NULL;
	const char *listen = request_param(request, "listen");
	int r = find(service, request, &network, e);
	if (r == 0)
		r = forward_remove(service->networks, network, listen, e);
	if (r < 0)
		return r;
	tell(service, "network-forward-deleted", network, listen);
	return reply_sync(request, NULL);
}

const struct route forwards_routes[] = {
	{ "GET", "/1.0/networks/{name}/forwards", REQUEST_NONE, list, 0 },
	{ "POST", "/1.0/networks/{name}/forwards", REQUEST_JSON, create, 0 },
	{ "GET", "/1.0/networks/{name}/forwards/{listen}", REQUEST_NONE, get, 0 },
	{ "PUT", "/1.0/networks/{name}/forwards/{listen}", REQUEST_JSON, put, 0 },
	{ "PATCH", "/1.0/networks/{name}/forwards/{listen}", REQUEST_JSON, patch, 0 },
	{ "DELETE", "/1.0/networks/{name}/forwards/{listen}", REQUEST_NONE, delete_forward, 0 },
	{},
};
