/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.c - /1.0/events: a websocket that tells what happens.
 */
#include <errno.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/events.h"

struct subscription {
	struct service *service;
	uint32_t types;
	char *project;
};

static void on_ready(void *data, struct websocket *websocket)
{
	struct subscription *subscription = data;
	if (websocket)
		events_add_client(subscription->service, websocket, subscription->types,
			subscription->project);
	free(subscription->project);
	free(subscription);
}

/* "lifecycle,operation"; without it logging and operation, as ever. */
static int read_types(const char *text, uint32_t *ret, struct error *e)
{
	static const struct {
		const char *name;
		uint32_t type;
	} types[] = {
		{ "operation", EVENT_OPERATION },
		{ "logging", EVENT_LOGGING },
		{ "lifecycle", EVENT_LIFECYCLE },
		/* Events of features that berth does not have never come, but may be asked for. */
		{ "network-acl", 0 },
		{ "ovn", 0 },
	};
	uint32_t result = 0;
	if (!text || !*text)
		text = "operation,logging,lifecycle";
	while (*text) {
		size_t length = strcspn(text, ",");
		size_t i = 0;
		while (i < ARRAY_SIZE(types) &&
			(strlen(types[i].name) != length ||
				memcmp(types[i].name, text, length) != 0))
			i++;
		if (i == ARRAY_SIZE(types))
			return error_set(e, -EINVAL, "type: \"%.*s\" is no type of event",
				(int)(length > 64 ? 64 : length), text);
		result |= types[i].type;
		text += length;
		text += *text == ',';
	}
	*ret = result;
	return 0;
}

static int get_events(struct service *service, struct request *request, struct error *e)
{
	uint32_t types = 0;
	int r = read_types(request_query(request, "type"), &types, e);
	if (r < 0)
		return r;
	/* The log is the host's. */
	if (request->client.access != ACCESS_FULL)
		types &= ~(uint32_t)EVENT_LOGGING;
	struct subscription *subscription = alloc(struct subscription);
	*subscription = (struct subscription){
		.service = service,
		.types = types,
		.project =
			request_all_projects(request) ? NULL : alloc_text(request_project(request)),
	};
	r = reply_websocket(request, on_ready, subscription, e);
	if (r < 0) {
		free(subscription->project);
		free(subscription);
	}
	return r;
}

const struct route events_routes[] = {
	{ "GET", "/1.0/events", REQUEST_NONE, get_events, 0 },
	{},
};
