/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instances.c - /1.0/instances and /1.0/instances/{name}.
 */
#include <errno.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/api/request_instance.h"
#include "daemon/instance/change.h"
#include "daemon/instance/create.h"
#include "daemon/instance/lifecycle.h"
#include "daemon/instance/remove.h"
#include "daemon/instance/rename.h"
#include "daemon/instance/snapshots.h"
#include "daemon/instance/state.h"
#include "daemon/server/usage.h"
#include "daemon/task.h"
#include "model/json.h"

#define NAME_TRIES 16

struct listing {
	const struct request *request;
	struct instance **instances;
	size_t count;
};

static void add_to_listing(void *data, struct instance *instance)
{
	struct listing *listing = data;
	const char *alias = listing->request->alias;
	if (alias && !text_equal(alias, instance->kind->name))
		return;
	listing->instances[listing->count++] = instance;
}

static int instance_compare(const void *a, const void *b)
{
	const struct instance *const *left = a, *const *right = b;
	int order = strcmp((*left)->name, (*right)->name);
	return order ? order : strcmp((*left)->project, (*right)->project);
}

/* A long list as text at once; with a filter as JSON, which is asked for seldom. */
static int reply_listing(struct request *request, const struct listing *listing, struct error *e)
{
	unsigned int recursion = request_recursion(request);
	const char *filter = request_query(request, "filter");
	cleanup(state_reader_done) struct state_reader reader = {};
	struct text text = {};
	if (recursion > 1)
		state_reader_init(&reader);
	text_add_char(&text, '[');
	for (size_t i = 0; i < listing->count; i++) {
		if (i)
			text_add_char(&text, ',');
		instance_add_text(
			listing->instances[i], recursion > 1 ? &reader : NULL, false, &text);
	}
	text_add_char(&text, ']');
	size_t length = text.length;
	cleanup(free) char *list = text_take(&text);
	if (recursion > 0 && (!filter || !filter[0]))
		return reply_text(request, TAKE_PTR(list), length);
	json_t *objects = json_loads(list, 0, NULL);
	return reply_collection(request, objects, "/1.0/instances", "name", e);
}

static int list_instances(struct service *service, struct request *request, struct error *e)
{
	struct listing listing = { .request = request,
		.instances = alloc_array(service->instances->count + 1, struct instance *) };
	instances_each(service, request_all_projects(request) ? NULL : request_project(request),
		add_to_listing, &listing);
	if (listing.count)
		qsort(listing.instances, listing.count, sizeof(struct instance *),
			instance_compare);
	int r = reply_listing(request, &listing, e);
	free(listing.instances);
	return r;
}

/* For a request without a name. */
static void name_make(struct service *service, const char *project, json_t *body)
{
	for (int i = 0; i < NAME_TRIES; i++) {
		cleanup(free) char *hex = text_random_hex(4);
		cleanup(free) char *name = alloc_printf("i-%s", hex);
		if (instance_find(service, project, name))
			continue;
		json_set_text(body, "name", name);
		return;
	}
}

struct making {
	struct task *task;
	bool is_started;
};

static void is_made(void *data, struct instance *instance, int code, const struct error *e)
{
	struct making *making = data;
	struct error error = {};
	if (code < 0 || !making->is_started) {
		task_done(making->task, code, e);
	} else {
		int r = lifecycle_start(instance, task_done, making->task, &error);
		if (r < 0) {
			error_prefix(&error, r, "The instance was created, but not started");
			task_done(making->task, r, &error);
		}
	}
	free(making);
}

static int create_instance(struct service *service, struct request *request, struct error *e)
{
	const char *project = request_project(request);
	json_t *body = request_json(request);
	struct instance *instance = NULL;
	bool is_started = false;
	if (!body)
		return request_import(service, request, e);
	struct instance *original = instance_original(service, project, body);
	if (original && request_waits(request, original))
		return 0;
	if (request->alias && !json_text(body, "type"))
		json_set_text(body, "type", request->alias);
	const char *name = json_text(body, "name");
	if (!name || !name[0])
		name_make(service, project, body);
	int r = json_read_bool(body, "", "start", &is_started, e);
	if (r < 0)
		return r;
	struct making *making = alloc(struct making);
	*making = (struct making){ task_new(service), is_started };
	struct task *task = making->task;
	r = instance_create(service, project, body, is_made, making, &instance, e);
	if (r < 0)
		free(making);
	name = json_text(body, "name");
	return task_reply(task, r, request,
		&(struct operation_options){ .description = "Creating instance",
			.project = project,
			.resources = json_pack("{s:[o], s:[o]}", "instances",
				json_sprintf("/1.0/instances/%s", name ?: ""), "containers",
				json_sprintf("/1.0/containers/%s", name ?: "")) });
}

static int reply_instance(struct instance *instance, struct request *request)
{
	cleanup(json_decref) json_t *seen = instance_seen(instance);
	json_t *object =
		request_recursion(request) ? instance_full_json(instance) : instance_json(instance);
	return reply_object_seen(request, object, seen);
}

static int get_instance(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	return request_recursion(request) ? server_usage_reply(instance, request, reply_instance)
					  : reply_instance(instance, request);
}

static int change_with(
	struct instance *instance, struct request *request, const json_t *wanted, struct error *e)
{
	struct task *task = task_new(instance->service);
	int r = instance_change(instance, wanted, task_done, task, e);
	return task_reply(task, r, request,
		&(struct operation_options){ .description = "Updating instance",
			.project = instance->project,
			.resources = instance_resources(instance) });
}

static int put_instance(struct service *service, struct request *request, struct error *e)
{
	const json_t *body = request_json(request);
	const char *restore = json_text(body, "restore");
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	if (request_waits(request, instance))
		return 0;
	cleanup(json_decref) json_t *seen = instance_seen(instance);
	r = request_if_match(request, seen, e);
	if (r < 0)
		return r;
	if (!restore || !restore[0])
		return change_with(instance, request, body, e);
	struct task *task = task_new(service);
	r = snapshot_restore(instance, restore, json_is_true(json_object_get(body, "stateful")),
		task_done, task, e);
	return task_reply(task, r, request,
		&(struct operation_options){ .description = "Restoring snapshot",
			.project = instance->project,
			.resources = instance_resources(instance) });
}

static int patch_instance(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	if (request_waits(request, instance))
		return 0;
	cleanup(json_decref) json_t *seen = instance_seen(instance);
	r = request_if_match(request, seen, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *wanted = json_patched(seen, request_json(request));
	return change_with(instance, request, wanted, e);
}

static int post_instance(struct service *service, struct request *request, struct error *e)
{
	static const char *const never[] = { "pool", "project", "target" };
	const json_t *body = request_json(request);
	const char *name = NULL;
	bool is_migration = false;
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = json_read_bool(body, "", "migration", &is_migration, e);
	if (r == 0 && is_migration)
		r = error_set(e, -EINVAL,
			"migration: instances do not move between daemons; export and import it");
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(never); i++) {
		const char *text = json_text(body, never[i]);
		if (text && text[0])
			r = error_set(e, -EINVAL,
				"%s: an instance does not move; copy it and delete the old one",
				never[i]);
	}
	if (r == 0)
		r = json_require_text(body, "", "name", &name, e);
	if (r == 0 && request_waits(request, instance))
		return 0;
	if (r == 0)
		r = instance_rename(instance, name, e);
	if (r < 0)
		return r;
	struct task *task = task_new(service);
	task_done(task, 0, NULL);
	return task_reply(task, 0, request,
		&(struct operation_options){ .description = "Renaming instance",
			.project = instance->project,
			.resources = instance_resources(instance) });
}

static int delete_instance(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	if (request_waits(request, instance))
		return 0;
	struct task *task = task_new(service);
	struct operation_options options = { .description = "Deleting instance",
		.project = request_project(request),
		.resources = instance_resources(instance) };
	r = instance_remove(instance, task_done, task, e);
	return task_reply(task, r, request, &options);
}

const struct route instances_routes[] = {
	{ "GET", "/1.0/instances", REQUEST_NONE, list_instances, 0 },
	{ "POST", "/1.0/instances", REQUEST_JSON_OR_FILE, create_instance, 0 },
	{ "GET", "/1.0/instances/{name}", REQUEST_NONE, get_instance, 0 },
	{ "PUT", "/1.0/instances/{name}", REQUEST_JSON, put_instance, 0 },
	{ "PATCH", "/1.0/instances/{name}", REQUEST_JSON, patch_instance, 0 },
	{ "POST", "/1.0/instances/{name}", REQUEST_JSON, post_instance, 0 },
	{ "DELETE", "/1.0/instances/{name}", REQUEST_NONE, delete_instance, 0 },
	{},
};
