/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_snapshots.c - snapshots of custom volumes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/deferred.h"
#include "daemon/events.h"
#include "daemon/names.h"
#include "daemon/operation.h"
#include "daemon/storage/storage.h"
#include "daemon/storage/volume_request.h"
#include "daemon/storage/volumes.h"
#include "model/json.h"

#define NEVER "0001-01-01T00:00:00Z"

static json_t *shown(const json_t *record, const char *name, const json_t *snapshot)
{
	return json_pack("{sssssssssss{}}", "name", name, "description",
		json_text(snapshot, "description") ?: "", "content_type", volume_content(record),
		"created_at", json_text(snapshot, "created_at") ?: NEVER, "expires_at",
		json_text(snapshot, "expires_at") ?: NEVER, "config");
}

static int list_snapshots(struct service *service, struct request *request, struct error *e)
{
	struct volume_ref ref;
	json_t *record;
	int r = volume_of_request(service, request, false, &ref, &record, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *names = storage_volume_snapshots(service->storage, &ref);
	json_t *list = json_array();
	size_t index;
	json_t *name;
	json_array_foreach(names, index, name)
	{
		const char *text = json_string_value(name);
		json_array_append_new(list,
			shown(record, text,
				json_object_get(json_object_get(record, "snapshots"), text)));
	}
	cleanup(free) char *base = alloc_printf("/1.0/storage-pools/%s/volumes/%s/%s/snapshots",
		ref.pool, volume_type_name(ref.type), ref.name);
	return reply_collection(request, list, base, "name", e);
}

/* snap0, snap1, ...: the first that is free. */
static char *next_name(const json_t *record)
{
	const json_t *snapshots = json_object_get(record, "snapshots");
	for (unsigned i = 0;; i++) {
		char *name = alloc_printf("snap%u", i);
		if (!json_object_get(snapshots, name))
			return name;
		free(name);
	}
}

struct making {
	struct service *service;
	struct operation *operation;
	char *pool, *project, *name, *snapshot;
	json_t *extra; /* description, expires_at */
};

static void making_free(struct making *making)
{
	free(making->pool);
	free(making->project);
	free(making->name);
	free(making->snapshot);
	json_decref(making->extra);
	free(making);
}

static void on_made(void *data, int code, const struct error *e)
{
	struct making *making = data;
	struct volume_ref ref = { .pool = making->pool,
		.type = VOLUME_TYPE_CUSTOM,
		.project = making->project,
		.name = making->name };
	struct error why = *e;
	json_t *record = volume_record(making->service->storage, &ref);
	json_t *snapshot = json_object_get(json_object_get(record, "snapshots"), making->snapshot);
	if (code == 0 && snapshot) {
		json_object_update(snapshot, making->extra);
		code = volume_record_put(making->service->storage, &ref, record, &why);
	}
	if (code == 0)
		volume_tell(making->service, "storage-volume-snapshot-created", &ref);
	operation_end(making->operation, code, &why);
	making_free(making);
}

static int create_snapshot(struct service *service, struct request *request, struct error *e)
{
	struct volume_ref ref;
	json_t *record;
	const char *asked = "", *description = "", *expires = NEVER;
	const json_t *body = request_json(request);
	int r = volume_of_request(service, request, true, &ref, &record, e);
	if (r == 0)
		r = json_read_text(body, "", "name", &asked, e);
	if (r == 0 && *asked)
		r = name_check("name", asked, e);
	if (r == 0)
		r = json_read_text(body, "", "description", &description, e);
	if (r == 0)
		r = json_read_text(body, "", "expires_at", &expires, e);
	if (r < 0)
		return r;
	struct making *making = alloc(struct making);
	*making = (struct making){ .service = service,
		.pool = alloc_text(ref.pool),
		.project = alloc_text(ref.project),
		.name = alloc_text(ref.name),
		.snapshot = *asked ? alloc_text(asked) : next_name(record),
		.extra = json_pack("{ssss}", "description", description, "expires_at",
			*expires ? expires : NEVER) };
	cleanup(free) char *url =
		alloc_printf("/1.0/storage-pools/%s/volumes/custom/%s/snapshots/%s", ref.pool,
			ref.name, making->snapshot);
	making->operation = operation_new(service,
		&(struct operation_options){ .class = OPERATION_TASK,
			.description = "Snapshotting storage volume",
			.project = request_project(request),
			.resources = json_pack("{s[s]}", "storage_volume_snapshots", url) });
	struct volume_ref to = ref;
	to.snapshot = making->snapshot;
	r = storage_volume_copy(service->storage, &ref, &to, 0, on_made, making, e);
	if (r < 0) {
		operation_failed(making->operation, r, e);
		making_free(making);
		return r;
	}
	return reply_operation(request, making->operation);
}

static int find(struct service *service, const struct request *request, bool must_be_custom,
	struct volume_ref *ret, json_t **ret_snapshot, struct error *e)
{
	json_t *record;
	int r = volume_of_request(service, request, must_be_custom, ret, &record, e);
	if (r < 0)
		return r;
	ret->snapshot = request_param(request, "snapshot");
	return volume_find(service->storage, ret, ret_snapshot, e);
}

static json_t *changeable(const json_t *snapshot)
{
	return json_pack("{ssss}", "description", json_text(snapshot, "description") ?: "",
		"expires_at", json_text(snapshot, "expires_at") ?: NEVER);
}

static int get_snapshot(struct service *service, struct request *request, struct error *e)
{
	struct volume_ref ref;
	json_t *snapshot;
	int r = find(service, request, false, &ref, &snapshot, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *seen = changeable(snapshot);
	const json_t *record = volume_record(service->storage, &ref);
	return reply_object_seen(request, shown(record, ref.snapshot, snapshot), seen);
}

static int put_snapshot(struct service *service, struct request *request, struct error *e)
{
	struct volume_ref ref;
	json_t *snapshot;
	int r = find(service, request, true, &ref, &snapshot, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *seen = changeable(snapshot);
	const char *description = json_text(seen, "description");
	const char *expires = json_text(seen, "expires_at");
	r = request_if_match(request, seen, e);
	if (r == 0)
		r = json_read_text(request_json(request), "", "description", &description, e);
	if (r == 0)
		r = json_read_text(request_json(request), "", "expires_at", &expires, e);
	if (r < 0)
		return r;
	json_set_text(snapshot, "description", description);
	json_set_text(snapshot, "expires_at", expires);
	ref.snapshot = NULL;
	r = volume_record_put(service->storage, &ref, volume_record(service->storage, &ref), e);
	if (r < 0)
		return r;
	volume_tell(service, "storage-volume-snapshot-updated", &ref);
	return reply_sync(request, NULL);
}

static int rename_snapshot(struct service *service, struct request *request, struct error *e)
{
	struct volume_ref ref;
	json_t *snapshot;
	const char *name;
	int r = find(service, request, true, &ref, &snapshot, e);
	if (r == 0)
		r = json_require_text(request_json(request), "", "name", &name, e);
	if (r == 0)
		r = name_check("name", name, e);
	if (r == 0)
		r = storage_volume_rename(service->storage, &ref, name, NULL, NULL, e);
	if (r < 0)
		return r;
	volume_tell(service, "storage-volume-snapshot-renamed", &ref);
	/* An operation that is over: clients wait for one here. */
	struct operation *operation = operation_new(service,
		&(struct operation_options){ .class = OPERATION_TASK,
			.description = "Renaming storage volume snapshot",
			.project = request_project(request) });
	r = reply_operation(request, operation);
	operation_done(operation, NULL);
	return r;
}

static void on_deleted(void *data, int code, const struct error *e)
{
	operation_end(data, code, e);
}

static int delete_snapshot(struct service *service, struct request *request, struct error *e)
{
	struct volume_ref ref;
	json_t *snapshot;
	int r = find(service, request, true, &ref, &snapshot, e);
	if (r < 0)
		return r;
	struct operation *operation = operation_new(service,
		&(struct operation_options){ .class = OPERATION_TASK,
			.description = "Deleting storage volume snapshot",
			.project = request_project(request) });
	r = storage_volume_delete(service->storage, &ref, on_deleted, operation, e);
	if (r < 0) {
		operation_failed(operation, r, e);
		return r;
	}
	volume_tell(service, "storage-volume-snapshot-deleted", &ref);
	return reply_operation(request, operation);
}

#define SNAPSHOTS "/1.0/storage-pools/{pool}/volumes/{type}/{name}/snapshots"

const struct route volume_snapshots_routes[] = {
	{ "GET", SNAPSHOTS, REQUEST_NONE, list_snapshots },
	{ "POST", SNAPSHOTS, REQUEST_JSON, create_snapshot },
	{ "GET", SNAPSHOTS "/{snapshot}", REQUEST_NONE, get_snapshot },
	{ "PUT", SNAPSHOTS "/{snapshot}", REQUEST_JSON, put_snapshot },
	{ "PATCH", SNAPSHOTS "/{snapshot}", REQUEST_JSON, put_snapshot },
	{ "POST", SNAPSHOTS "/{snapshot}", REQUEST_JSON, rename_snapshot },
	{ "DELETE", SNAPSHOTS "/{snapshot}", REQUEST_NONE, delete_snapshot },
	{ NULL },
};
