/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_request.c - custom volumes made, copied, resized.
 */
#include "daemon/storage/volume_request.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "daemon/deferred.h"
#include "daemon/events.h"
#include "daemon/names.h"
#include "daemon/operation.h"
#include "daemon/projects.h"
#include "daemon/storage/storage.h"
#include "daemon/storage/volumes.h"
#include "model/json.h"

int volume_check_config(const json_t *config, uint64_t *ret_size, struct error *e)
{
	static const char *const known[] = { "size", "security.shifted", "security.unmapped",
		"snapshots.expiry", "snapshots.pattern", "snapshots.schedule" };
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)config, key, value)
	{
		bool is_known = text_starts(key, "user.") || text_starts(key, "volatile.");
		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			is_known |= text_equal(key, known[i]);
		if (!is_known)
			return error_set(e, -EINVAL, "config.%s: unknown key", key);
	}
	const char *schedule = json_text(config, "snapshots.schedule");
	if (schedule && *schedule)
		return error_set(e, -EINVAL,
			"config.snapshots.schedule: snapshots are not made by themselves");
	const char *size = json_text(config, "size");
	if (size && *size && text_to_bytes(size, ret_size) < 0)
		return error_set(e, -EINVAL, "config.size: \"%s\" is no size", size);
	return 0;
}

const char *volume_content(const json_t *record)
{
	return text_equal(json_text(record, "content"), "block") ? "block" : "filesystem";
}

json_t *volume_config_shown(const json_t *record)
{
	json_t *config = json_copy(json_object_get(record, "config"));
	json_int_t size = json_integer_value(json_object_get(record, "size"));
	if (!config)
		config = json_object();
	if (size && !json_object_get(config, "size"))
		json_object_set_new(config, "size", json_sprintf("%" JSON_INTEGER_FORMAT, size));
	return config;
}

int volume_of_request(struct service *service, const struct request *request, bool must_be_custom,
	struct volume_ref *ret, json_t **ret_record, struct error *e)
{
	struct volume_ref ref = { .pool = request_param(request, "pool"),
		.name = request_param(request, "name") };
	int r = volume_type_read(request_param(request, "type"), &ref.type, e);
	if (r < 0)
		return r;
	if (must_be_custom && ref.type != VOLUME_TYPE_CUSTOM)
		return error_set(e, -EINVAL,
			"a volume of the type %s is changed through its instance",
			volume_type_name(ref.type));
	ref.project = ref.type == VOLUME_TYPE_CUSTOM
		? project_of(service, request_project(request), "storage.volumes")
		: request_project(request);
	*ret = ref;
	struct storage_pool *pool;
	r = pool_find(service->storage, ref.pool, &pool, e);
	return r < 0 ? r : volume_find(service->storage, &ref, ret_record, e);
}

void volume_tell(struct service *service, const char *action, const struct volume_ref *ref)
{
	cleanup(free) char *url = volume_url(ref);
	events_lifecycle(service, action, ref->project, url, NULL);
}

struct change {
	struct deferred *deferred;
	json_t *record;
	char *pool, *project, *name;
};

static void change_free(struct change *change)
{
	json_decref(change->record);
	free(change->pool);
	free(change->project);
	free(change->name);
	free(change);
}

static void on_resized(void *data, int code, const struct error *e)
{
	struct change *change = data;
	struct service *service = change->deferred->service;
	struct volume_ref ref = { .pool = change->pool,
		.type = VOLUME_TYPE_CUSTOM,
		.project = change->project,
		.name = change->name };
	struct error why = *e;
	json_t *now = volume_record(service->storage, &ref);
	if (code == 0 && now) {
		json_object_set(now, "config", json_object_get(change->record, "config"));
		json_object_set(now, "description", json_object_get(change->record, "description"));
		code = volume_record_put(service->storage, &ref, now, &why);
	}
	if (code == 0)
		volume_tell(service, "storage-volume-updated", &ref);
	deferred_sync(change->deferred, code, &why);
	change_free(change);
}

int volume_change_size(struct service *service, struct request *request,
	const struct volume_ref *ref, json_t *record, uint64_t size_bytes, struct error *e)
{
	struct change *change = alloc(struct change);
	*change = (struct change){ .deferred = deferred_new(service, request, ref->name),
		.record = record,
		.pool = alloc_text(ref->pool),
		.project = alloc_text(ref->project),
		.name = alloc_text(ref->name) };
	struct deferred *deferred = change->deferred;
	int r = storage_volume_resize(service->storage, ref, size_bytes, on_resized, change, e);
	if (r < 0) {
		change_free(change);
		error_prefix(e, r, "config");
	}
	return deferred_started(deferred, r);
}

/* What the new volume's record gets beside what storage.c puts there. */
static void dress(struct service *service, const struct volume_ref *ref, const json_t *body)
{
	json_t *record = volume_record(service->storage, ref);
	json_t *config = json_object_get(body, "config");
	const char *description = json_text(body, "description");
	if (!record)
		return;
	if (json_is_object(config))
		json_object_update(json_object_get(record, "config"), config);
	if (description)
		json_set_text(record, "description", description);
	struct error e = {};
	(void)!volume_record_put(service->storage, ref, record, &e);
}

static void on_created(void *data, int code, const struct error *e)
{
	struct deferred *deferred = data;
	if (code == 0) {
		struct volume_ref ref = { .pool = json_text(deferred->context, "pool"),
			.type = VOLUME_TYPE_CUSTOM,
			.project = json_text(deferred->context, "project"),
			.name = deferred->name };
		volume_tell(deferred->service, "storage-volume-created", &ref);
	}
	/* 200, not 201: so do the servers that clients know. */
	deferred_sync(deferred, code, e);
}

static void on_operation(void *data, int code, const struct error *e)
{
	operation_end(data, code, e);
}

static int copy_volume(struct service *service, struct request *request,
	const struct volume_ref *to, const json_t *body, uint64_t size_bytes, struct error *e)
{
	json_t *source = json_object_get(body, "source");
	const char *name, *pool = to->pool, *project = to->project;
	int r = json_require_text(source, "source", "name", &name, e);
	if (r == 0)
		r = json_read_text(source, "source", "pool", &pool, e);
	if (r == 0)
		r = json_read_text(source, "source", "project", &project, e);
	if (r < 0)
		return r;
	const char *slash = strchr(name, '/');
	cleanup(free) char *volume = alloc_text_n(name, strcspn(name, "/"));
	struct volume_ref from = { .pool = *pool ? pool : to->pool,
		.type = VOLUME_TYPE_CUSTOM,
		.project = *project ? project_of(service, project, "storage.volumes") : to->project,
		.name = volume,
		.snapshot = slash ? slash + 1 : NULL };
	const char *wanted = json_text(body, "content_type");
	const json_t *record = volume_record(service->storage, &from);
	if (record && wanted && *wanted && !text_equal(wanted, volume_content(record)))
		return error_set(e, -EINVAL, "content_type: a copy is of its source's, %s",
			volume_content(record));
	struct operation *operation = operation_new(service,
		&(struct operation_options){ .class = OPERATION_TASK,
			.description = "Copying storage volume",
			.project = request_project(request) });
	r = storage_volume_copy(
		service->storage, &from, to, size_bytes, on_operation, operation, e);
	if (r < 0) {
		operation_failed(operation, r, e);
		return r;
	}
	dress(service, to, body);
	volume_tell(service, "storage-volume-created", to);
	return reply_operation(request, operation);
}

int create_volume(struct service *service, struct request *request, struct error *e)
{
	const json_t *body = request_json(request);
	bool has_type = strstr(request->route->path, "{type}") != NULL;
	const char *name, *type = has_type ? request_param(request, "type") : "custom";
	const char *content = "filesystem";
	json_t *config = NULL, *source = NULL;
	uint64_t size_bytes = 0;
	int r = json_require_text(body, "", "name", &name, e);
	if (r == 0)
		r = name_check("name", name, e);
	if (r == 0)
		r = json_read_text(body, "", "type", &type, e);
	if (r == 0)
		r = json_read_text(body, "", "content_type", &content, e);
	if (r == 0)
		r = json_read_text_map(body, "", "config", &config, e);
	if (r == 0)
		r = json_read_object(body, "", "source", &source, e);
	if (r == 0)
		r = volume_check_config(config, &size_bytes, e);
	if (r < 0)
		return r;
	if (*type && !text_equal(type, "custom"))
		return error_set(e, -EINVAL, "type: only custom volumes are made here");
	if (*content && !text_equal(content, "filesystem") && !text_equal(content, "block"))
		return error_set(e, -EINVAL,
			"content_type: \"%.40s\" is neither filesystem nor block", content);
	struct volume_ref ref = { .pool = request_param(request, "pool"),
		.type = VOLUME_TYPE_CUSTOM,
		.project = project_of(service, request_project(request), "storage.volumes"),
		.name = name };
	const char *from = json_text(source, "type");
	if (text_equal(from, "copy"))
		return copy_volume(service, request, &ref, body, size_bytes, e);
	if (from && *from && !text_equal(from, "none"))
		return error_set(e, -EINVAL, "source.type: \"%s\" is neither copy nor none", from);
	struct deferred *deferred = deferred_new(service, request, name);
	deferred->context = json_pack("{ssss}", "pool", ref.pool, "project", ref.project);
	struct volume_options options = { .size_bytes = size_bytes,
		.is_block = text_equal(content, "block") };
	r = storage_volume_create(service->storage, &ref, &options, on_created, deferred, e);
	if (r == 0)
		dress(service, &ref, body);
	return deferred_started(deferred, r);
}
