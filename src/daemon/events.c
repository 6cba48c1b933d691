/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.c - one text a event, sent to each client that wants it.
 *
 * A client that does not keep up is dropped when its queue is full: an event that is lost silently would
 * leave it waiting for ever.
 */
#include "daemon/events.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "http/websocket.h"

#define LISTENERS_MAX 16

struct client {
	struct events *events;
	struct websocket *websocket;
	uint32_t types;
	char *project; /* NULL: of all */
	struct client *before, *after;
};

struct events {
	struct service *service;
	struct client *clients;
	struct {
		events_call *call;
		void *data;
	} listeners[LISTENERS_MAX];
	size_t listener_count;
	bool is_sending;
};

static void on_log(void *data, enum log_level level, const char *line);

struct events *events_new(struct service *service)
{
	struct events *events = alloc(struct events);
	events->service = service;
	return events;
}

static void drop(struct client *client)
{
	struct events *events = client->events;
	*(client->before ? &client->before->after : &events->clients) = client->after;
	if (client->after)
		client->after->before = client->before;
	websocket_free(client->websocket);
	free(client->project);
	free(client);
	if (!events_are_heard(events->service, EVENT_LOGGING))
		log_set_tap(NULL, NULL);
}

void events_free(struct events *events)
{
	if (!events)
		return;
	for (struct client *client = events->clients, *next; client; client = next) {
		next = client->after;
		drop(client);
	}
	log_set_tap(NULL, NULL);
	free(events);
}

bool events_are_heard(const struct service *service, enum event_type type)
{
	for (const struct client *client = service->events->clients; client; client = client->after)
		if (client->types & (uint32_t)type)
			return true;
	return false;
}

static const char *type_name(enum event_type type)
{
	switch (type) {
	case EVENT_OPERATION:
		return "operation";
	case EVENT_LOGGING:
		return "logging";
	case EVENT_LIFECYCLE:
		break;
	}
	return "lifecycle";
}

static char *event_text(enum event_type type, const char *project, json_t *metadata)
{
	char time[TEXT_TIME_SIZE];
	json_t *event = json_pack("{s:s,s:s,s:o,s:s}", "type", type_name(type), "timestamp",
		text_format_time(loop_wall_clock(), time), "metadata", metadata, "location",
		"none");
	if (project)
		json_object_set_new(event, "project", json_string(project));
	char *text = json_dumps(event, JSON_COMPACT);
	json_decref(event);
	return text;
}

void events_send(
	struct service *service, enum event_type type, const char *project, json_t *metadata)
{
	struct events *events = service->events;
	if (events->is_sending || !events_are_heard(service, type)) {
		json_decref(metadata);
		return;
	}
	cleanup(free) char *text = event_text(type, project, metadata);
	if (!text)
		return;
	/* A line that is logged while we send must not come back here. */
	events->is_sending = true;
	size_t length = strlen(text);
	for (struct client *client = events->clients, *next; client; client = next) {
		next = client->after;
		bool is_wanted = (client->types & (uint32_t)type) &&
			(!project || !client->project || text_equal(project, client->project));
		if (is_wanted && websocket_send(client->websocket, true, text, length) < 0)
			drop(client);
	}
	events->is_sending = false;
}

void events_lifecycle(struct service *service, const char *action, const char *project,
	const char *source, json_t *context)
{
	struct events *events = service->events;
	for (size_t i = 0; i < events->listener_count; i++)
		events->listeners[i].call(
			events->listeners[i].data, action, project ? project : "", source);
	if (!events_are_heard(service, EVENT_LIFECYCLE)) {
		json_decref(context);
		return;
	}
	json_t *metadata = json_pack("{s:s}", "action", action);
	if (!project || text_equal(project, "default")) {
		json_object_set_new(metadata, "source", json_string(source));
	} else {
		cleanup(free) char *url = alloc_printf("%s?project=%s", source, project);
		json_object_set_new(metadata, "source", json_string(url));
	}
	if (context)
		json_object_set_new(metadata, "context", context);
	events_send(service, EVENT_LIFECYCLE, project, metadata);
}

void events_lifecycle_f(struct service *service, const char *action, const char *project,
	json_t *context, const char *format, ...)
{
	char source[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(source, sizeof(source), format, args);
	va_end(args);
	events_lifecycle(service, action, project, source, context);
}

void events_listen(struct service *service, events_call *call, void *data)
{
	struct events *events = service->events;
	assert(events->listener_count < LISTENERS_MAX);
	events->listeners[events->listener_count].call = call;
	events->listeners[events->listener_count++].data = data;
}

static void on_log(void *data, enum log_level level, const char *line)
{
	static const char *const names[] = {
		[LOG_LEVEL_ERROR] = "error",
		[LOG_LEVEL_WARNING] = "warning",
		[LOG_LEVEL_INFO] = "info",
		[LOG_LEVEL_DEBUG] = "debug",
	};
	struct events *events = data;
	events_send(events->service, EVENT_LOGGING, NULL,
		json_pack("{s:s%,s:s,s:{}}", "message", line, strlen(line), "level", names[level],
			"context"));
}

static void on_closed(void *data)
{
	drop(data);
}

static const struct websocket_calls client_calls = { .closed = on_closed };

void events_add_client(
	struct service *service, struct websocket *websocket, uint32_t types, const char *project)
{
	struct events *events = service->events;
	struct client *client = alloc(struct client);
	client->events = events;
	client->websocket = websocket;
	client->types = types;
	client->project = alloc_text(project);
	client->after = events->clients;
	if (client->after)
		client->after->before = client;
	events->clients = client;
	websocket_set_calls(websocket, &client_calls, client);
	if (types & EVENT_LOGGING)
		log_set_tap(on_log, events);
}
