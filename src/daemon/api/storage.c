/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage.c - /1.0/storage-pools.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/deferred.h"
#include "daemon/events.h"
#include "daemon/names.h"
#include "daemon/storage/pools.h"
#include "model/json.h"

static struct storage_pool *pool_named(struct storage *storage, const char *name)
{
	for (struct storage_pool *pool = storage->pools; pool; pool = pool->next)
		if (text_equal(pool->name, name))
			return pool;
	return NULL;
}

static void add_volume_user(void *data, const struct volume_ref *ref, json_t *record)
{
	json_t *list = data;
	(void)record;
	const char *wanted = json_string_value(json_array_get(list, 0));
	if (!text_equal(ref->pool, wanted) || ref->type != VOLUME_TYPE_CUSTOM)
		return;
	cleanup(free) char *url = volume_url(ref);
	json_array_append_new(list, json_string(url));
}

/* Instances and profiles say so themselves; custom volumes are ours. */
static json_t *pool_users(struct storage *storage, const char *name)
{
	json_t *users = used_by_list(storage->service, "storage-pool", "default", name);
	cleanup(json_decref) json_t *volumes = json_pack("[s]", name);
	volumes_each(storage, add_volume_user, volumes);
	json_array_remove(volumes, 0);
	json_array_extend(users, volumes);
	return users;
}

static json_t *shown_pool(struct storage *storage, const struct storage_pool *pool)
{
	json_t *shown = json_deep_copy(pool->record);
	json_set_text(shown, "name", pool->name);
	json_set_text(shown, "status", pool->pool ? "Created" : "Unavailable");
	json_object_set_new(shown, "locations", json_pack("[s]", "none"));
	json_object_set_new(shown, "used_by", pool_users(storage, pool->name));
	return shown;
}

static int list_pools(struct service *service, struct request *request, struct error *e)
{
	json_t *list = json_array();
	for (struct storage_pool *pool = service->storage->pools; pool; pool = pool->next)
		json_array_append_new(list, shown_pool(service->storage, pool));
	return reply_collection(request, list, "/1.0/storage-pools", "name", e);
}

static int find(struct service *service, const struct request *request, struct storage_pool **ret,
	struct error *e)
{
	const char *name = request_param(request, "pool");
	*ret = pool_named(service->storage, name);
	if (!*ret)
		return error_set(e, -ENOENT, "the storage pool \"%s\" does not exist", name);
	return 0;
}

static int get_pool(struct service *service, struct request *request, struct error *e)
{
	struct storage_pool *pool;
	int r = find(service, request, &pool, e);
	if (r < 0)
		return r;
	return reply_object_seen(request, shown_pool(service->storage, pool), pool->record);
}

static int check_size_text(const json_t *config, const char *key, uint64_t *ret, struct error *e)
{
	const char *text = json_text(config, key);
	if (!text || !*text)
		return 0;
	if (text_to_bytes(text, ret) < 0)
		return error_set(e, -EINVAL, "config.%s: \"%s\" is no size", key, text);
	return 0;
}

/* "size" of the pool and "volume.size" of what is made in it; user.* is the user's. */
static int check_config(const json_t *config, uint64_t *ret_size, struct error *e)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)config, key, value)
	{
		if (!text_equal(key, "size") && !text_equal(key, "volume.size") &&
			!text_starts(key, "user.") && !text_starts(key, "volatile.") &&
			!(text_equal(key, "source") && !*json_string_value(value)))
			return error_set(e, -EINVAL, "config.%s: unknown key", key);
	}
	uint64_t usual = 0;
	int r = check_size_text(config, "size", ret_size, e);
	return r < 0 ? r : check_size_text(config, "volume.size", &usual, e);
}

static void tell(struct service *service, const char *action, const char *name)
{
	cleanup(free) char *url = url_for("/1.0/storage-pools", name, NULL);
	events_lifecycle(service, action, NULL, url, NULL);
}

static void on_created(void *data, int code, const struct error *e)
{
	struct deferred *deferred = data;
	if (code == 0)
		tell(deferred->service, "storage-pool-created", deferred->name);
	cleanup(free) char *url = url_for("/1.0/storage-pools", deferred->name, NULL);
	deferred_created(deferred, code, e, url);
}

static int create_pool(struct service *service, struct request *request, struct error *e)
{
	const json_t *body = request_json(request);
	const char *name, *driver_name = "", *description = "";
	json_t *config = NULL;
	uint64_t size_bytes = 0;
	int r = json_require_text(body, "", "name", &name, e);
	if (r == 0)
		r = name_check("name", name, e);
	if (r == 0)
		r = json_require_text(body, "", "driver", &driver_name, e);
	if (r == 0)
		r = json_read_text(body, "", "description", &description, e);
	if (r == 0)
		r = json_read_text_map(body, "", "config", &config, e);
	if (r == 0)
		r = check_config(config, &size_bytes, e);
	if (r < 0)
		return r;
	const struct pool_driver *driver = pools_find_driver(driver_name);
	if (!driver) {
		cleanup(free) char *names = pools_driver_names();
		return error_set(e, -EINVAL, "driver: \"%s\" is none of %s", driver_name, names);
	}
	cleanup(json_decref) json_t *record = json_pack("{ssssso}", "driver", driver->name,
		"description", description, "config", config ? json_copy(config) : json_object());
	struct deferred *deferred = deferred_new(service, request, name);
	r = pool_create(
		service->storage, name, driver, size_bytes, record, on_created, deferred, e);
	return deferred_started(deferred, r);
}

static int change_pool(
	struct service *service, struct request *request, bool is_patch, struct error *e)
{
	struct storage_pool *pool;
	int r = find(service, request, &pool, e);
	if (r == 0)
		r = request_if_match(request, pool->record, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *body = is_patch
		? json_patched(pool->record, request_json(request))
		: json_incref(request_json(request));
	json_t *config = NULL;
	const char *description = json_text(pool->record, "description");
	uint64_t size_bytes = 0, had_bytes = 0;
	r = json_read_text_map(body, "", "config", &config, e);
	if (r == 0)
		r = json_read_text(body, "", "description", &description, e);
	if (r == 0)
		r = check_config(config, &size_bytes, e);
	if (r < 0)
		return r;
	(void)!check_size_text(json_object_get(pool->record, "config"), "size", &had_bytes, NULL);
	if (size_bytes && size_bytes != had_bytes) {
		r = pool->pool ? pool->pool->driver->grow(pool->pool, size_bytes, e) : -EIO;
		if (r < 0)
			return error_prefix(e, r, "config");
	}
	json_t *record = json_copy(pool->record);
	json_set_text(record, "description", description);
	json_object_set_new(record, "config", config ? json_copy(config) : json_object());
	json_decref(pool->record);
	pool->record = record;
	r = pool_record_put(service->storage, pool, e);
	if (r < 0)
		return r;
	tell(service, "storage-pool-updated", pool->name);
	return reply_sync(request, NULL);
}

static int put_pool(struct service *service, struct request *request, struct error *e)
{
	return change_pool(service, request, false, e);
}

static int patch_pool(struct service *service, struct request *request, struct error *e)
{
	return change_pool(service, request, true, e);
}

static int remove_pool(struct service *service, struct request *request, struct error *e)
{
	const char *name = request_param(request, "pool");
	int r = pool_delete(service->storage, name, e);
	if (r < 0)
		return r;
	tell(service, "storage-pool-deleted", name);
	return reply_sync(request, NULL);
}

static int get_resources(struct service *service, struct request *request, struct error *e)
{
	struct storage_pool *pool;
	struct pool_space space;
	int r = pool_find(service->storage, request_param(request, "pool"), &pool, e);
	if (r == 0)
		r = pool->pool->driver->space(pool->pool, &space, e);
	if (r < 0)
		return r;
	return reply_sync(request,
		json_pack("{s{sIsI}s{sIsI}}", "space", "used", (json_int_t)space.used_bytes,
			"total", (json_int_t)space.total_bytes, "inodes", "used",
			(json_int_t)space.used_inodes, "total", (json_int_t)space.total_inodes));
}

const struct route storage_routes[] = {
	{ "GET", "/1.0/storage-pools", REQUEST_NONE, list_pools },
	{ "POST", "/1.0/storage-pools", REQUEST_JSON, create_pool },
	{ "GET", "/1.0/storage-pools/{pool}", REQUEST_NONE, get_pool },
	{ "PUT", "/1.0/storage-pools/{pool}", REQUEST_JSON, put_pool },
	{ "PATCH", "/1.0/storage-pools/{pool}", REQUEST_JSON, patch_pool },
	{ "DELETE", "/1.0/storage-pools/{pool}", REQUEST_NONE, remove_pool },
	{ "GET", "/1.0/storage-pools/{pool}/resources", REQUEST_NONE, get_resources },
	{ NULL },
};
