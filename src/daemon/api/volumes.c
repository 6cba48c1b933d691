/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volumes.c - /1.0/storage-pools/{pool}/volumes: all volumes are shown, custom ones made and changed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/deferred.h"
#include "daemon/events.h"
#include "daemon/instance/start_plan.h"
#include "daemon/names.h"
#include "daemon/operation.h"
#include "daemon/projects.h"
#include "daemon/storage/storage.h"
#include "daemon/storage/volume_import.h"
#include "daemon/storage/volume_request.h"
#include "daemon/storage/volumes.h"
#include "http/uri.h"
#include "model/json.h"

static json_t *volume_users(struct service *service, const struct volume_ref *ref)
{
	if (ref->type != VOLUME_TYPE_CUSTOM) {
		cleanup(free) char *url = url_for("/1.0/instances", ref->name, ref->project);
		return json_pack("[s]", url);
	}
	cleanup(free) char *name = alloc_printf("%s/%s", ref->pool, ref->name);
	return used_by_list(service, "storage-volume", ref->project, name);
}

static json_t *shown(struct service *service, const struct volume_ref *ref, const json_t *record)
{
	return json_pack("{sssssssssssssssososs}", "name", ref->name, "type",
		volume_type_name(ref->type), "content_type",
		ref->type == VOLUME_TYPE_MACHINE ? "block" : volume_content(record), "pool",
		ref->pool, "project", ref->project, "location", "none", "description",
		json_text(record, "description") ?: "", "config", volume_config_shown(record),
		"used_by", volume_users(service, ref), "created_at",
		json_text(record, "created_at") ?: "0001-01-01T00:00:00Z");
}

struct listing {
	struct service *service;
	json_t *list;
	const char *pool;
	const char *project; /* NULL: all */
	const char *type;    /* NULL: all */
};

static void add_snapshots(
	struct listing *listing, const struct volume_ref *ref, const json_t *record)
{
	const char *name;
	json_t *snapshot;
	json_t *snapshots = json_object_get(record, "snapshots");
	json_object_foreach(snapshots, name, snapshot)
	{
		cleanup(free) char *full = alloc_printf("%s/%s", ref->name, name);
		struct volume_ref one = *ref;
		json_t *object = shown(listing->service, &one, snapshot);
		json_set_text(object, "name", full);
		json_object_set_new(object, "used_by", json_array());
		json_array_append_new(listing->list, object);
	}
}

static void add_volume(void *data, const struct volume_ref *ref, json_t *record)
{
	struct listing *listing = data;
	if (!text_equal(ref->pool, listing->pool) ||
		(listing->project && !text_equal(ref->project, listing->project)) ||
		(listing->type && !text_equal(volume_type_name(ref->type), listing->type)) ||
		json_text(record, "state"))
		return;
	json_array_append_new(listing->list, shown(listing->service, ref, record));
	if (ref->type == VOLUME_TYPE_CUSTOM)
		add_snapshots(listing, ref, record);
}

/* "TYPE/NAME" is what the URL of a volume ends with. */
static int reply_urls(struct request *request, json_t *list)
{
	json_t *urls = json_array();
	size_t index;
	json_t *volume;
	json_array_foreach(list, index, volume)
	{
		cleanup(free) char *base = alloc_printf("/1.0/storage-pools/%s/volumes/%s",
			json_text(volume, "pool"), json_text(volume, "type"));
		cleanup(free) char *url =
			url_for(base, json_text(volume, "name"), json_text(volume, "project"));
		json_array_append_new(urls, json_string(url));
	}
	json_decref(list);
	return reply_sync(request, urls);
}

static int list_volumes(
	struct service *service, struct request *request, const char *type, struct error *e)
{
	struct storage_pool *pool;
	int r = pool_find(service->storage, request_param(request, "pool"), &pool, e);
	if (r < 0)
		return r;
	struct listing listing = { .service = service,
		.list = json_array(),
		.pool = pool->name,
		.type = type,
		.project = request_all_projects(request)
			? NULL
			: project_of(service, request_project(request), "storage.volumes") };
	volumes_each(service->storage, add_volume, &listing);
	if (request_recursion(request) == 0 && !request_query(request, "filter"))
		return reply_urls(request, listing.list);
	cleanup(free) char *base =
		alloc_printf("/1.0/storage-pools/%s/volumes/%s", pool->name, type ?: "custom");
	return reply_collection(request, listing.list, base, "name", e);
}

static int list_all(struct service *service, struct request *request, struct error *e)
{
	return list_volumes(service, request, NULL, e);
}

static int list_type(struct service *service, struct request *request, struct error *e)
{
	enum volume_type type;
	const char *name = request_param(request, "type");
	if (text_equal(name, "image"))
		return reply_sync(request, json_array());
	int r = volume_type_read(name, &type, e);
	return r < 0 ? r : list_volumes(service, request, name, e);
}

static json_t *changeable(const json_t *record)
{
	return json_pack("{ssso}", "description", json_text(record, "description") ?: "", "config",
		volume_config_shown(record));
}

static int get_volume(struct service *service, struct request *request, struct error *e)
{
	struct volume_ref ref;
	json_t *record;
	int r = volume_of_request(service, request, false, &ref, &record, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *seen = changeable(record);
	return reply_object_seen(request, shown(service, &ref, record), seen);
}

static int get_state(struct service *service, struct request *request, struct error *e)
{
	struct volume_ref ref;
	json_t *record;
	uint64_t used, size;
	int r = volume_of_request(service, request, false, &ref, &record, e);
	if (r < 0)
		return r;
	/* Nobody counts in plain directories without quotas: then there is no number, and no error. */
	if (storage_volume_usage(service->storage, &ref, &used, &size, NULL) < 0)
		return reply_sync(request, json_pack("{sn}", "usage"));
	return reply_sync(request,
		json_pack(
			"{s{sIsI}}", "usage", "used", (json_int_t)used, "total", (json_int_t)size));
}

static void on_deleted(void *data, int code, const struct error *e)
{
	struct deferred *deferred = data;
	const char *backups = json_text(deferred->context, "backups");
	if (code == 0) {
		events_lifecycle(deferred->service, "storage-volume-deleted",
			json_text(deferred->context, "project"), deferred->name, NULL);
		int r = file_remove_tree(deferred->service->dir, backups);
		if (r < 0)
			log_warning("remove %s: %s", backups, strerror(-r));
	}
	deferred_sync(deferred, code, e);
}

static int refuse_used(struct service *service, const struct volume_ref *ref, struct error *e)
{
	cleanup(json_decref) json_t *users = volume_users(service, ref);
	if (json_array_size(users) > 0)
		return error_set(e, -EINVAL, "The storage volume is still in use");
	return 0;
}

static int post_volume(struct service *service, struct request *request, struct error *e)
{
	return request_json(request) ? create_volume(service, request, e)
				     : import_volume(service, request, e);
}

static int delete_volume(struct service *service, struct request *request, struct error *e)
{
	struct volume_ref ref;
	json_t *record;
	int r = volume_of_request(service, request, true, &ref, &record, e);
	if (r == 0)
		r = refuse_used(service, &ref, e);
	if (r < 0)
		return r;
	cleanup(free) char *url = volume_url(&ref);
	struct deferred *deferred = deferred_new(service, request, url);
	cleanup(free) char *backups = volume_backups_place(&ref);
	deferred->context = json_pack("{ssss}", "project", ref.project, "backups", backups);
	r = storage_volume_delete(service->storage, &ref, on_deleted, deferred, e);
	return deferred_started(deferred, r);
}

/* POST on a volume: another name. */
static int rename_volume(struct service *service, struct request *request, struct error *e)
{
	struct volume_ref ref;
	json_t *record;
	const char *name, *pool = "";
	int r = volume_of_request(service, request, true, &ref, &record, e);
	if (r == 0)
		r = json_require_text(request_json(request), "", "name", &name, e);
	if (r == 0)
		r = name_check("name", name, e);
	if (r == 0)
		r = json_read_text(request_json(request), "", "pool", &pool, e);
	if (r == 0 && *pool && !text_equal(pool, ref.pool))
		r = error_set(e, -EINVAL,
			"pool: a volume is moved to another pool by a copy and a delete");
	if (r == 0)
		r = refuse_used(service, &ref, e);
	if (r == 0)
		r = storage_volume_rename(service->storage, &ref, name, NULL, NULL, e);
	if (r < 0)
		return r;
	cleanup(free) char *old_backups = volume_backups_place(&ref);
	ref.name = name;
	cleanup(free) char *backups = volume_backups_place(&ref);
	if (renameat(service->dir, old_backups, service->dir, backups) < 0 && errno != ENOENT)
		log_warning("rename %s: %s", old_backups, strerror(errno));
	volume_tell(service, "storage-volume-renamed", &ref);
	cleanup(free) char *url = volume_url(&ref);
	return reply_created(request, "%s", url);
}

static void on_changed(void *data, int code, const struct error *e)
{
	struct deferred *deferred = data;
	if (code == 0)
		events_lifecycle(deferred->service, json_text(deferred->context, "action"),
			json_text(deferred->context, "project"), deferred->name, NULL);
	deferred_sync(deferred, code, e);
}

/* Those that have it mounted would go on with what is removed. */
static int refuse_mounted(struct service *service, const struct volume_ref *ref, struct error *e)
{
	const struct instance *instance = instance_that_runs_with(service, ref);
	return instance
		? error_set(e, -EBUSY,
			  "The storage volume is used by the running instance \"%s\"; stop it first",
			  instance->name)
		: 0;
}

static int restore(struct service *service, struct request *request, const struct volume_ref *ref,
	const char *snapshot, struct error *e)
{
	struct volume_ref from = *ref;
	int r = refuse_mounted(service, ref, e);
	if (r < 0)
		return r;
	from.snapshot = snapshot;
	cleanup(free) char *url = volume_url(ref);
	struct deferred *deferred = deferred_new(service, request, url);
	deferred->context =
		json_pack("{ssss}", "project", ref->project, "action", "storage-volume-restored");
	r = storage_volume_restore(service->storage, &from, on_changed, deferred, e);
	return deferred_started(deferred, r);
}

static int change_volume(
	struct service *service, struct request *request, bool is_patch, struct error *e)
{
	struct volume_ref ref;
	json_t *record;
	int r = volume_of_request(service, request, true, &ref, &record, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *seen = changeable(record);
	r = request_if_match(request, seen, e);
	if (r < 0)
		return r;
	const char *snapshot = json_text(request_json(request), "restore");
	if (snapshot && *snapshot)
		return restore(service, request, &ref, snapshot, e);
	cleanup(json_decref) json_t *body = is_patch ? json_patched(seen, request_json(request))
						     : json_incref(request_json(request));
	json_t *config = NULL;
	const char *description = json_text(seen, "description");
	uint64_t size_bytes = 0;
	r = json_read_text_map(body, "", "config", &config, e);
	if (r == 0)
		r = json_read_text(body, "", "description", &description, e);
	if (r == 0)
		r = volume_check_config(config, &size_bytes, e);
	if (r < 0)
		return r;
	uint64_t had_bytes = (uint64_t)json_integer_value(json_object_get(record, "size"));
	json_t *changed = json_copy(record);
	json_set_text(changed, "description", description);
	json_object_set_new(changed, "config", config ? json_copy(config) : json_object());
	if (size_bytes == had_bytes) {
		r = volume_record_put(service->storage, &ref, changed, e);
		if (r < 0)
			return r;
		volume_tell(service, "storage-volume-updated", &ref);
		return reply_sync(request, NULL);
	}
	return volume_change_size(service, request, &ref, changed, size_bytes, e);
}

static int put_volume(struct service *service, struct request *request, struct error *e)
{
	return change_volume(service, request, false, e);
}

static int patch_volume(struct service *service, struct request *request, struct error *e)
{
	return change_volume(service, request, true, e);
}

#define VOLUMES "/1.0/storage-pools/{pool}/volumes"

const struct route volumes_routes[] = {
	{ "GET", VOLUMES, REQUEST_NONE, list_all },
	{ "POST", VOLUMES, REQUEST_JSON, post_volume },
	{ "GET", VOLUMES "/{type}", REQUEST_NONE, list_type },
	{ "POST", VOLUMES "/{type}", REQUEST_JSON_OR_FILE, post_volume },
	{ "GET", VOLUMES "/{type}/{name}", REQUEST_NONE, get_volume },
	{ "PUT", VOLUMES "/{type}/{name}", REQUEST_JSON, put_volume },
	{ "PATCH", VOLUMES "/{type}/{name}", REQUEST_JSON, patch_volume },
	{ "POST", VOLUMES "/{type}/{name}", REQUEST_JSON, rename_volume },
	{ "DELETE", VOLUMES "/{type}/{name}", REQUEST_NONE, delete_volume },
	{ "GET", VOLUMES "/{type}/{name}/state", REQUEST_NONE, get_state },
	{ NULL },
};
