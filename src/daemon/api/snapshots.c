/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshots.c - /1.0/instances/{name}/snapshots.
 */
#include <errno.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/api/request_instance.h"
#include "daemon/instance/snapshots.h"
#include "daemon/task.h"
#include "model/json.h"

static json_t *resources(const struct instance *instance, const char *snapshot)
{
	json_t *all = instance_resources(instance);
	json_t *urls = json_pack(
		"[o]", json_sprintf("/1.0/instances/%s/snapshots/%s", instance->name, snapshot));
	json_object_set(all, "instances_snapshots", urls);
	json_object_set_new(all, "containers_snapshots", urls);
	return all;
}

static int list_snapshots(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	cleanup(free) char *base = alloc_printf("/1.0/instances/%s/snapshots", instance->name);
	return reply_collection(request, json_deep_copy(instance->snapshots), base, "name", e);
}

static int create_snapshot(struct service *service, struct request *request, struct error *e)
{
	const json_t *body = request_json(request);
	const char *name = NULL, *expires_at = NULL;
	bool is_stateful = false;
	cleanup(free) char *chosen = NULL;
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = json_read_text(body, "", "name", &name, e);
	if (r == 0)
		r = json_read_text(body, "", "expires_at", &expires_at, e);
	if (r == 0)
		r = json_read_bool(body, "", "stateful", &is_stateful, e);
	if (r < 0)
		return r;
	if (request_waits(request, instance))
		return 0;
	struct task *task = task_new(service);
	r = snapshot_create(instance, name, expires_at, is_stateful, task_done, task, &chosen, e);
	return task_reply(task, r, request,
		&(struct operation_options){ .description = "Snapshotting instance",
			.project = instance->project,
			.resources = resources(instance, chosen ?: "") });
}

static int get_snapshot(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	json_t *snapshot = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = snapshot_get(instance, request_param(request, "snapshot"), &snapshot, e);
	return r < 0 ? r : reply_object(request, json_deep_copy(snapshot));
}

/* The new state is there at once; the clients wait for an operation all the same. */
static int reply_done(struct service *service, struct request *request,
	const struct instance *instance, const char *snapshot, const char *description)
{
	struct task *task = task_new(service);
	task_done(task, 0, NULL);
	return task_reply(task, 0, request,
		&(struct operation_options){ .description = description,
			.project = instance->project,
			.resources = resources(instance, snapshot) });
}

static int put_snapshot(struct service *service, struct request *request, struct error *e)
{
	const char *name = request_param(request, "snapshot"), *expires_at = NULL;
	struct instance *instance = NULL;
	json_t *snapshot = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = snapshot_get(instance, name, &snapshot, e);
	if (r == 0)
		r = request_if_match(request, snapshot, e);
	if (r == 0)
		r = json_read_text(request_json(request), "", "expires_at", &expires_at, e);
	if (r == 0)
		r = snapshot_update(instance, name, expires_at, e);
	return r < 0 ? r : reply_done(service, request, instance, name, "Updating snapshot");
}

static int post_snapshot(struct service *service, struct request *request, struct error *e)
{
	const char *name = NULL;
	bool is_migration = false;
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = json_read_bool(request_json(request), "", "migration", &is_migration, e);
	if (r == 0 && is_migration)
		r = error_set(e, -EINVAL, "migration: snapshots do not move between daemons");
	if (r == 0)
		r = json_require_text(request_json(request), "", "name", &name, e);
	if (r == 0 && request_waits(request, instance))
		return 0;
	if (r == 0)
		r = snapshot_rename(instance, request_param(request, "snapshot"), name, e);
	return r < 0 ? r : reply_done(service, request, instance, name, "Renaming snapshot");
}

static int delete_snapshot(struct service *service, struct request *request, struct error *e)
{
	const char *name = request_param(request, "snapshot");
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	if (request_waits(request, instance))
		return 0;
	struct task *task = task_new(service);
	r = snapshot_delete(instance, name, task_done, task, e);
	return task_reply(task, r, request,
		&(struct operation_options){ .description = "Deleting snapshot",
			.project = instance->project,
			.resources = resources(instance, name) });
}

#define SNAPSHOTS "/1.0/instances/{name}/snapshots"

const struct route snapshots_routes[] = {
	{ "GET", SNAPSHOTS, REQUEST_NONE, list_snapshots, 0 },
	{ "POST", SNAPSHOTS, REQUEST_JSON, create_snapshot, 0 },
	{ "GET", SNAPSHOTS "/{snapshot}", REQUEST_NONE, get_snapshot, 0 },
	{ "PUT", SNAPSHOTS "/{snapshot}", REQUEST_JSON, put_snapshot, 0 },
	{ "PATCH", SNAPSHOTS "/{snapshot}", REQUEST_JSON, put_snapshot, 0 },
	{ "POST", SNAPSHOTS "/{snapshot}", REQUEST_JSON, post_snapshot, 0 },
	{ "DELETE", SNAPSHOTS "/{snapshot}", REQUEST_NONE, delete_snapshot, 0 },
	{},
};
