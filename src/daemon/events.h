/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.h - tells clients (websockets of /1.0/events) and our own modules what happened.
 */
#pragma once

#include <jansson.h>

#include "base/log.h"
#include "daemon/service.h"

enum event_type {
	EVENT_OPERATION = 1 << 0,
	EVENT_LOGGING = 1 << 1,
	EVENT_LIFECYCLE = 1 << 2,
};

struct events;
struct websocket;

struct events *events_new(struct service *service) must_use;
void events_free(struct events *events);

/*
 * An object changed: `action` as "instance-started", `source` its URL without the project
 * ("/1.0/instances/c1"), `context` more about it or NULL (stolen). `project` NULL: of the server.
 */
void events_lifecycle(struct service *service, const char *action, const char *project,
	const char *source, json_t *context);
/* As events_lifecycle() with a source that is formatted; names in it must be encoded already. */
void events_lifecycle_f(struct service *service, const char *action, const char *project,
	json_t *context, const char *format, ...) printf_like(5, 6);

/* Steals `metadata`. For operation.c. */
void events_send(
	struct service *service, enum event_type type, const char *project, json_t *metadata);

/* True if somebody would get it: an event that costs much to make need not be made otherwise. */
bool events_are_heard(const struct service *service, enum event_type type);

/* Tells a module of each lifecycle event: `action`, `project` ("" for the server) and `source`. */
typedef void events_call(void *data, const char *action, const char *project, const char *source);
void events_listen(struct service *service, events_call *call, void *data);

/* A client's websocket; it is the events' own from now on. `project` NULL: of all. */
void events_add_client(
	struct service *service, struct websocket *websocket, uint32_t types, const char *project);
