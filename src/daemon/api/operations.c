/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operations.c - /1.0/operations: list, look, wait, connect, cancel.
 */
#include <errno.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/operation.h"

static int find(struct service *service, const struct request *request, struct operation **ret,
	struct error *e)
{
	struct operation *operation = operation_find(service, request_param(request, "id"));
	if (!operation)
		return error_set(e, -ENOENT, "Operation not found");
	*ret = operation;
	return 0;
}

struct listing {
	const struct request *request;
	json_t *by_status;
};

static void add_to_listing(void *data, struct operation *operation)
{
	struct listing *listing = data;
	if (!request_all_projects(listing->request) &&
		!text_equal(operation_project(operation), request_project(listing->request)))
		return;
	if (operation_class(operation) == OPERATION_TOKEN &&
		listing->request->client.access != ACCESS_FULL)
		return;
	json_t *json = operation_json(operation);
	cleanup(free) char *status = alloc_text(json_string_value(json_object_get(json, "status")));
	status[0] = (char)(status[0] | 0x20);
	json_t *list = json_object_get(listing->by_status, status);
	if (!list) {
		list = json_array();
		json_object_set_new(listing->by_status, status, list);
	}
	if (request_recursion(listing->request) > 0) {
		json_array_append_new(list, json);
		return;
	}
	json_decref(json);
	cleanup(free) char *url = alloc_printf("/1.0/operations/%s", operation_id(operation));
	json_array_append_new(list, json_string(url));
}

static int list_operations(struct service *service, struct request *request, struct error *e)
{
	(void)e;
	struct listing listing = { .request = request, .by_status = json_object() };
	operation_each(service, add_to_listing, &listing);
	return reply_sync(request, listing.by_status);
}

static int get_operation(struct service *service, struct request *request, struct error *e)
{
	struct operation *operation = NULL;
	int r = find(service, request, &operation, e);
	return r < 0 ? r : reply_object(request, operation_json(operation));
}

static int delete_operation(struct service *service, struct request *request, struct error *e)
{
	struct operation *operation = NULL;
	int r = find(service, request, &operation, e);
	if (r < 0)
		return r;
	r = operation_cancel(operation, e);
	return r < 0 ? r : reply_sync(request, NULL);
}

/* A client in a long poll. */
struct waiter {
	struct service *service;
	struct request *request;
	struct operation *operation;
	struct source *timer;
	struct operation_wait wait;
};

static void free_waiter(struct waiter *waiter)
{
	source_free(waiter->timer);
	free(waiter);
}

static void on_ended(void *data, struct operation *operation)
{
	struct waiter *waiter = data;
	reply_sync(waiter->request, operation_json(operation));
	free_waiter(waiter);
}

static void on_timeout(void *data)
{
	struct waiter *waiter = data;
	operation_unwait(waiter->operation, &waiter->wait);
	reply_sync(waiter->request, operation_json(waiter->operation));
	free_waiter(waiter);
}

static void on_gone(void *data)
{
	struct waiter *waiter = data;
	operation_unwait(waiter->operation, &waiter->wait);
	free_waiter(waiter);
}

/* Seconds; -1 and nothing: no limit. */
static int read_timeout(const struct request *request, int64_t *ret, struct error *e)
{
	const char *text = request_query(request, "timeout");
	*ret = -1;
	if (!text || !*text)
		return 0;
	int r = text_to_i64(text, ret);
	return r < 0 ? error_set(e, -EINVAL, "timeout: a number of seconds is wanted") : 0;
}

static int wait_operation(struct service *service, struct request *request, struct error *e)
{
	struct operation *operation = NULL;
	int64_t timeout = -1;
	int r = find(service, request, &operation, e);
	if (r == 0)
		r = read_timeout(request, &timeout, e);
	if (r < 0)
		return r;
	if (operation_status(operation) >= OPERATION_SUCCESS || timeout == 0)
		return reply_sync(request, operation_json(operation));
	struct waiter *waiter = alloc(struct waiter);
	*waiter = (struct waiter){
		.service = service,
		.request = request,
		.operation = operation,
		.wait = { .ended = on_ended, .data = waiter },
	};
	/* A limit of more than some years is none. */
	if (timeout > 0 && timeout < INT32_MAX) {
		waiter->timer = loop_add_timer(service->loop, on_timeout, waiter);
		timer_set_after(waiter->timer, (uint64_t)timeout * NS_PER_SEC);
	}
	operation_wait(operation, &waiter->wait);
	request_defer(request, on_gone, waiter);
	return 0;
}

struct connect {
	struct service *service;
	char *id;
	const char *name;
};

static void on_ready(void *data, struct websocket *websocket)
{
	struct connect *connect = data;
	if (websocket)
		operation_connect(connect->service, connect->id, connect->name, websocket);
	free(connect->id);
	free(connect);
}

static int connect_operation(struct service *service, struct request *request, struct error *e)
{
	struct operation *operation = NULL;
	int r = find(service, request, &operation, e);
	if (r < 0)
		return r;
	const char *secret = request_query(request, "secret");
	if (!secret)
		return error_set(e, -EINVAL, "secret: is missing");
	/* Only a handshake may use the secret up. */
	if (!request_header(request, "Sec-WebSocket-Key"))
		return error_set(e, -EINVAL, "this address wants a websocket handshake");
	const char *name = operation_take_secret(operation, secret);
	if (!name)
		return error_set(e, -EACCES, "secret: it opens nothing here");
	struct connect *connect = alloc(struct connect);
	*connect = (struct connect){
		.service = service,
		.id = alloc_text(operation_id(operation)),
		.name = name,
	};
	r = reply_websocket(request, on_ready, connect, e);
	if (r < 0) {
		free(connect->id);
		free(connect);
	}
	return r;
}

const struct route operations_routes[] = {
	{ "GET", "/1.0/operations", REQUEST_NONE, list_operations, 0 },
	{ "GET", "/1.0/operations/{id}", REQUEST_NONE, get_operation, ROUTE_NO_PROJECT },
	{ "DELETE", "/1.0/operations/{id}", REQUEST_NONE, delete_operation, ROUTE_NO_PROJECT },
	{ "GET", "/1.0/operations/{id}/wait", REQUEST_NONE, wait_operation, ROUTE_NO_PROJECT },
	{ "GET", "/1.0/operations/{id}/websocket", REQUEST_NONE, connect_operation,
		ROUTE_NO_PROJECT },
	{},
};
