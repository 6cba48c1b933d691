/* SPDX-License-Identifier: Apache-2.0 */
/*
 * warnings.c - warnings in the store, one for each type, project and entity.
 */
#include "daemon/warnings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "model/json.h"

#define WARNINGS_MAX 1000

struct search {
	const char *type, *project, *entity;
	size_t count;
	json_t *found; /* owned */
	json_t *oldest;
};

static int look_at(void *data, const char *project, const char *name, const json_t *object)
{
	(void)project, (void)name;
	struct search *search = data;
	json_t *warning = json_mutable(object);
	search->count++;
	if (!search->found && text_equal(json_text(object, "type"), search->type) &&
		text_equal(json_text(object, "project"), search->project) &&
		text_equal(json_text(object, "entity_url"), search->entity))
		search->found = json_incref(warning);
	if (!search->oldest ||
		strcmp(json_text(object, "last_seen_at"),
			json_text(search->oldest, "last_seen_at")) < 0) {
		json_decref(search->oldest);
		search->oldest = json_incref(warning);
	}
	return 0;
}

static void look(struct service *service, struct search *search)
{
	struct error e = {};
	if (store_each(service->store, "warning", "", look_at, search, &e) < 0)
		log_error("%s", e.text);
}

static void put(struct service *service, const json_t *warning)
{
	struct error e = {};
	if (store_put(service->store, "warning", "", json_text(warning, "uuid"), warning, &e) < 0)
		log_error("a warning was not stored: %s", e.text);
}

void service_warning(struct service *service, const char *type, const char *severity,
	const char *project, const char *entity, const char *format, ...)
{
	char message[512];
	va_list args;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	log_warning("%s: %s", type, message);

	struct search search = {
		.type = type,
		.project = project ? project : "",
		.entity = entity ? entity : "",
	};
	look(service, &search);
	cleanup(json_decref) json_t *warning = search.found;
	cleanup(json_decref) json_t *oldest = search.oldest;
	char now[TEXT_TIME_SIZE];
	text_format_time(loop_wall_clock(), now);
	if (!warning) {
		/* They come from the host and from guests: there must be an end to them. */
		if (search.count >= WARNINGS_MAX &&
			store_remove(
				service->store, "warning", "", json_text(oldest, "uuid"), NULL) < 0)
			return;
		char uuid[TEXT_UUID_SIZE];
		text_random_uuid(uuid);
		warning = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:s}", "uuid", uuid, "location",
			"none", "project", search.project, "type", type, "severity", severity,
			"entity_url", search.entity, "count", 0, "first_seen_at", now);
	}
	json_int_t count = json_integer_value(json_object_get(warning, "count"));
	json_object_set_new(warning, "count", json_integer(count + 1));
	json_set_text(warning, "last_seen_at", now);
	json_object_set_new(warning, "last_message",
		json_string(message) ?: json_string("the message is no text"));
	if (!text_equal(json_text(warning, "status"), "acknowledged"))
		json_set_text(warning, "status", "new");
	put(service, warning);
}

void service_warning_resolve(
	struct service *service, const char *type, const char *project, const char *entity)
{
	struct search search = {
		.type = type,
		.project = project ? project : "",
		.entity = entity ? entity : "",
	};
	look(service, &search);
	cleanup(json_decref) json_t *warning = search.found;
	json_decref(search.oldest);
	if (!warning || text_equal(json_text(warning, "status"), "resolved"))
		return;
	json_set_text(warning, "status", "resolved");
	put(service, warning);
}
