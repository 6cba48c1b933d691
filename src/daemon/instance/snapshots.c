/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshots.c - what an instance was at one moment: its volume and its config, kept under a name.
 */
#include "daemon/instance/snapshots.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/events.h"
#include "daemon/instance/lifecycle.h"
#include "daemon/instance/machine_state.h"
#include "daemon/instance/turn.h"
#include "daemon/instance/volume.h"
#include "daemon/server/disk.h"
#include "daemon/storage/storage.h"
#include "model/json.h"

#define EXPIRY_COUNT_MAX 10000 /* of one unit */
#define PATTERN_USUAL    "snap%d"
#define NEVER            "0001-01-01T00:00:00Z"

/* One piece of work on a snapshot. */
struct work {
	struct instance *instance;
	char *name;
	json_t *object; /* the new snapshot */
	bool is_paused; /* it was frozen for this */
	bool is_stateful;
	bool was_running;
	bool was_ephemeral;
	snapshot_done *done;
	void *data;
};

static struct work *work_new(
	struct instance *instance, const char *name, snapshot_done *done, void *data)
{
	struct work *work = alloc(struct work);
	work->instance = instance;
	work->name = alloc_text(name);
	work->done = done;
	work->data = data;
	return work;
}

static void work_free(struct work *work)
{
	free(work->name);
	json_decref(work->object);
	free(work);
}

static void work_end(struct work *work, int code, const struct error *e)
{
	struct error error = {};
	instance_release(work->instance);
	if (work->is_stateful) {
		machine_state_resume(work->instance);
		if (code < 0)
			machine_state_drop(work->instance, work->name);
	}
	if (work->is_paused && lifecycle_thaw(work->instance, &error) < 0)
		log_error("not unfrozen instance=%s: %s", work->instance->name, error.text);
	work->done(work->data, code, e);
	work_free(work);
}

static size_t snapshot_index(const struct instance *instance, const char *name)
{
	size_t i = 0;
	while (i < json_array_size(instance->snapshots) &&
		!text_equal(json_text(json_array_get(instance->snapshots, i), "name"), name))
		i++;
	return i;
}

json_t *snapshot_find(const struct instance *instance, const char *name)
{
	return json_array_get(instance->snapshots, snapshot_index(instance, name));
}

int snapshot_get(const struct instance *instance, const char *name, json_t **ret, struct error *e)
{
	json_t *snapshot = snapshot_find(instance, name);
	if (!snapshot)
		return error_set(
			e, -ENOENT, "Snapshot \"%s/%.80s\" not found", instance->name, name);
	*ret = snapshot;
	return 0;
}

static int snapshot_store(const struct instance *instance, const json_t *snapshot, struct error *e)
{
	cleanup(free) char *key =
		alloc_printf("%s/%s", instance->name, json_text(snapshot, "name"));
	return store_put(instance->service->store, "snapshot", instance->project, key, snapshot, e);
}

static void snapshot_event(
	const struct instance *instance, const char *action, const char *name, json_t *context)
{
	cleanup(free) char *url =
		alloc_printf("/1.0/instances/%s/snapshots/%s", instance->name, name);
	events_lifecycle(instance->service, action, instance->project, url, context);
}

/* The first name of the pattern that is free: "%d" counts. */
static int name_choose(const struct instance *instance, char **ret, struct error *e)
{
	const char *pattern = instance_config(instance, "snapshots.pattern") ?: PATTERN_USUAL;
	const char *mark = strstr(pattern, "%d");
	for (int i = 0; i <= SNAPSHOTS_MAX; i++) {
		cleanup(free) char *name = mark
			? alloc_printf("%.*s%d%s", (int)(mark - pattern), pattern, i, mark + 2)
			: alloc_text(pattern);
		if (!snapshot_find(instance, name)) {
			*ret = TAKE_PTR(name);
			return 0;
		}
		if (!mark)
			break;
	}
	return error_set(e, -EEXIST, "config.snapshots.pattern: no name is free");
}

/* The field of a date that a unit counts, and how many of it one is. */
static int *unit_field(struct tm *when, char unit, int *ret_factor)
{
	*ret_factor = unit == 'w' ? 7 : 1;
	switch (unit) {
	case 'M':
		return &when->tm_min;
	case 'H':
		return &when->tm_hour;
	case 'd':
	case 'w':
		return &when->tm_mday;
	case 'm':
		return &when->tm_mon;
	case 'y':
		return &when->tm_year;
	default:
		return NULL;
	}
}

/* "1M 2H 3d 4w 5m 6y": when a snapshot made now expires. */
static int expiry_of(const char *text, char buffer[TEXT_TIME_SIZE], struct error *e)
{
	struct tm when;
	time_t now = time(NULL);
	gmtime_r(&now, &when);
	for (const char *at = text + strspn(text, " "); *at; at += strspn(at, " ")) {
		size_t digits = strspn(at, "0123456789");
		cleanup(free) char *number = alloc_text_n(at, digits);
		uint64_t count;
		int factor;
		int *field = unit_field(&when, at[digits], &factor);
		if (text_to_u64(number, &count) < 0 || count > EXPIRY_COUNT_MAX || !field)
			return error_set(e, -EINVAL,
				"config.snapshots.expiry: \"%.40s\" is none like 2d or 1w 12H",
				text);
		*field += factor * (int)count;
		at += digits + 1;
	}
	text_format_time((uint64_t)timegm(&when) * NS_PER_SEC, buffer);
	return 0;
}

static int object_make(struct instance *instance, const char *name, const char *expires_at,
	json_t **ret, struct error *e)
{
	static const char *const fields[] = { "architecture", "config", "description", "devices",
		"ephemeral", "profiles", "stateful", "last_used_at" };
	const char *expiry = instance_config(instance, "snapshots.expiry");
	char now[TEXT_TIME_SIZE], expires[TEXT_TIME_SIZE] = NEVER;
	if (expires_at && expires_at[0]) {
		snprintf(expires, sizeof(expires), "%s", expires_at);
	} else if (expiry) {
		int r = expiry_of(expiry, expires, e);
		if (r < 0)
			return r;
	}
	json_t *object = json_pack("{s:s, s:s, s:s}", "name", name, "created_at",
		text_format_time(loop_wall_clock(), now), "expires_at", expires);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		json_t *value = json_object_get(instance->object, fields[i]);
		if (value)
			json_object_set_new(object, fields[i], json_deep_copy(value));
	}
	json_object_set_new(object, "expanded_config", json_deep_copy(instance->expanded_config));
	json_object_set_new(object, "expanded_devices", json_deep_copy(instance->expanded_devices));
	json_object_set_new(object, "size", json_integer(-1));
	*ret = object;
	return 0;
}

static void created(void *data, int code, const struct error *e)
{
	struct work *work = data;
	struct instance *instance = work->instance;
	struct error error = {};
	if (instance->kind->can & KIND_IS_SERVER)
		server_disk_empty(instance);
	if (code == 0) {
		e = &error;
		code = snapshot_store(instance, work->object, &error);
	}
	if (code == 0) {
		json_array_append(instance->snapshots, work->object);
		snapshot_event(instance, "instance-snapshot-created", work->name, NULL);
	}
	work_end(work, code, e);
}

/* A running instance is frozen where its pool can't copy what is in use. */
static int pause_if_needed(
	struct work *work, const struct volume_ref *ref, const char *doing, struct error *e)
{
	struct instance *instance = work->instance;
	if (instance->state == INSTANCE_RUNNING &&
		storage_volume_needs_pause(instance->service->storage, ref)) {
		int r = lifecycle_freeze(instance, e);
		if (r < 0)
			return r;
		work->is_paused = true;
	}
	int r = instance_claim(instance, doing, e);
	if (r < 0 && work->is_paused && lifecycle_thaw(instance, NULL) < 0)
		log_error("not unfrozen instance=%s", instance->name);
	return r;
}

/* The machine stands still: its disk is of the same moment. */
static void state_saved(void *data, int code, const struct error *e)
{
	struct work *work = data;
	struct error error = {};
	struct volume_ref from, to;
	if (code < 0) {
		work_end(work, code, e);
		return;
	}
	instance_volume(work->instance, NULL, &from);
	instance_volume(work->instance, work->name, &to);
	code = storage_volume_copy(
		work->instance->service->storage, &from, &to, 0, created, work, &error);
	if (code < 0)
		work_end(work, code, &error);
}

/* Its disk is in its volume. */
static void disk_saved(void *data, int code, const struct error *e)
{
	struct work *work = data;
	if (code < 0) {
		server_disk_empty(work->instance);
		work_end(work, code, e);
	} else {
		state_saved(data, 0, NULL);
	}
}

/* The name of the snapshot that is being made; if `r` is negative it is not. */
static int begun(struct work *work, int r, char **ret)
{
	if (r < 0)
		work_free(work);
	else
		*ret = alloc_text(work->name);
	return r;
}

static int create_of_server(struct work *work, char **ret, struct error *e)
{
	struct instance *instance = work->instance;
	int r = instance_claim(instance, "snapshotting", e);
	if (r == 0) {
		r = server_disk_save(instance, disk_saved, work, e);
		if (r < 0)
			instance_release(instance);
	}
	return begun(work, r, ret);
}

static int create_stateful(struct work *work, char **ret, struct error *e)
{
	struct instance *instance = work->instance;
	int r = machine_state_check(instance, e);
	if (r == 0)
		r = instance_claim(instance, "snapshotting", e);
	if (r == 0) {
		json_set_bool(work->object, "stateful", true);
		r = machine_state_save(instance, work->name, state_saved, work, e);
		if (r < 0)
			instance_release(instance);
	}
	return begun(work, r, ret);
}

int snapshot_create(struct instance *instance, const char *name, const char *expires_at,
	bool is_stateful, snapshot_done *done, void *data, char **ret, struct error *e)
{
	cleanup(free) char *chosen = name && name[0] ? alloc_text(name) : NULL;
	struct volume_ref from, to;
	int r = chosen ? 0 : name_choose(instance, &chosen, e);
	if (r == 0)
		r = spec_check_snapshot_name(chosen, e);
	if (r < 0)
		return r;
	if (snapshot_find(instance, chosen))
		return error_set(
			e, -EEXIST, "Snapshot \"%s/%s\" already exists", instance->name, chosen);
	if (json_array_size(instance->snapshots) >= SNAPSHOTS_MAX)
		return error_set(
			e, -EBUSY, "There are %d snapshots, which is the limit", SNAPSHOTS_MAX);
	struct work *work = work_new(instance, chosen, done, data);
	instance_volume(instance, NULL, &from);
	instance_volume(instance, work->name, &to);
	r = object_make(instance, chosen, expires_at, &work->object, e);
	work->is_stateful = is_stateful;
	if (r == 0 && is_stateful && (instance->kind->can & KIND_IS_SERVER))
		r = error_set(e, -EINVAL, "stateful: a server's memory can't be saved");
	else if (r == 0 && (instance->kind->can & KIND_IS_SERVER))
		return create_of_server(work, ret, e);
	if (r == 0 && is_stateful)
		return create_stateful(work, ret, e);
	if (r == 0)
		r = pause_if_needed(work, &from, "snapshotting", e);
	if (r < 0) {
		work_free(work);
		return r;
	}
	*ret = alloc_text(chosen);
	r = storage_volume_copy(instance->service->storage, &from, &to, 0, created, work, e);
	if (r < 0) {
		struct error error = {};
		free(TAKE_PTR(*ret));
		instance_release(instance);
		if (work->is_paused && lifecycle_thaw(instance, &error) < 0)
			log_error("not unfrozen instance=%s: %s", instance->name, error.text);
		work_free(work);
	}
	return r;
}

static void deleted(void *data, int code, const struct error *e)
{
	struct work *work = data;
	struct instance *instance = work->instance;
	struct error error = {};
	if (code == 0) {
		cleanup(free) char *key = alloc_printf("%s/%s", instance->name, work->name);
		e = &error;
		code = store_remove(
			instance->service->store, "snapshot", instance->project, key, &error);
	}
	if (code == 0) {
		machine_state_drop(instance, work->name);
		json_array_remove(instance->snapshots, snapshot_index(instance, work->name));
		snapshot_event(instance, "instance-snapshot-deleted", work->name, NULL);
	}
	work_end(work, code, e);
}

int snapshot_delete(struct instance *instance, const char *name, snapshot_done *done, void *data,
	struct error *e)
{
	json_t *snapshot = NULL;
	struct volume_ref ref;
	int r = snapshot_get(instance, name, &snapshot, e);
	if (r == 0)
		r = instance_check_exports(instance, e);
	if (r == 0)
		r = instance_claim(instance, "deleting a snapshot", e);
	if (r < 0)
		return r;
	struct work *work = work_new(instance, name, done, data);
	instance_volume(instance, work->name, &ref);
	r = storage_volume_delete(instance->service->storage, &ref, deleted, work, e);
	if (r < 0) {
		instance_release(instance);
		work_free(work);
	}
	return r;
}

int snapshot_rename(
	struct instance *instance, const char *name, const char *new_name, struct error *e)
{
	json_t *snapshot = NULL;
	struct volume_ref ref;
	int r = snapshot_get(instance, name, &snapshot, e);
	if (r == 0)
		r = spec_check_snapshot_name(new_name, e);
	if (r < 0)
		return r;
	if (snapshot_find(instance, new_name))
		return error_set(
			e, -EEXIST, "Snapshot \"%s/%s\" already exists", instance->name, new_name);
	r = instance_check_exports(instance, e);
	if (r == 0)
		r = instance_claim(instance, "renaming a snapshot", e);
	if (r < 0)
		return r;
	instance_volume(instance, name, &ref);
	r = storage_volume_rename(instance->service->storage, &ref, new_name, NULL, NULL, e);
	if (r == 0) {
		cleanup(free) char *from = alloc_printf("%s/%s", instance->name, name);
		cleanup(free) char *to = alloc_printf("%s/%s", instance->name, new_name);
		r = store_rename(
			instance->service->store, "snapshot", instance->project, from, to, e);
	}
	if (r == 0) {
		cleanup(free) char *old = alloc_text(name);
		machine_state_rename(instance, old, new_name);
		json_set_text(snapshot, "name", new_name);
		r = snapshot_store(instance, snapshot, e);
		snapshot_event(instance, "instance-snapshot-renamed", new_name,
			json_pack("{s:s}", "old_name", old));
	}
	instance_release(instance);
	return r;
}

int snapshot_update(
	struct instance *instance, const char *name, const char *expires_at, struct error *e)
{
	json_t *snapshot = NULL;
	int r = snapshot_get(instance, name, &snapshot, e);
	if (r < 0)
		return r;
	json_set_text(snapshot, "expires_at", expires_at && expires_at[0] ? expires_at : NEVER);
	r = snapshot_store(instance, snapshot, e);
	if (r == 0)
		snapshot_event(instance, "instance-snapshot-updated", name, NULL);
	return r;
}

static void restore_started(void *data, int code, const struct error *e)
{
	struct work *work = data;
	work->done(work->data, code, e);
	work_free(work);
}

/* The config comes back with the volume; what belongs to this instance alone stays. */
static int config_restore(struct instance *instance, const json_t *snapshot, struct error *e)
{
	static const char *const fields[] = { "architecture", "devices", "description",
		"profiles" };
	json_t *own = json_object_get(instance->object, "config");
	json_t *config = json_deep_copy(json_object_get(snapshot, "config"));
	const char *key;
	json_t *value;
	void *next;
	json_object_foreach_safe(config, next, key, value)
	{
		if (text_starts(key, "volatile."))
			json_object_del(config, key);
	}
	json_object_foreach(own, key, value)
	{
		if (text_starts(key, "volatile."))
			json_object_set(config, key, value);
	}
	json_object_set_new(instance->object, "config", config);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		json_t *kept = json_object_get(snapshot, fields[i]);
		if (kept)
			json_object_set_new(instance->object, fields[i], json_deep_copy(kept));
	}
	int r = instance_expand(instance, e);
	return r < 0 ? r : instance_save(instance, e);
}

static void restored(void *data, int code, const struct error *e)
{
	struct work *work = data;
	struct instance *instance = work->instance;
	struct error error = {};
	json_set_bool(instance->object, "ephemeral", work->was_ephemeral);
	if (code == 0) {
		e = &error;
		code = config_restore(instance, snapshot_find(instance, work->name), &error);
	}
	if (code == 0 && work->is_stateful)
		code = machine_state_take(instance, work->name, &error);
	else if (code == 0)
		machine_state_forget(instance);
	instance_release(instance);
	if (code == 0)
		instance_event(
			instance, "instance-restored", json_pack("{s:s}", "snapshot", work->name));
	if (code == 0 && (work->was_running || work->is_stateful)) {
		code = lifecycle_start(instance, restore_started, work, &error);
		if (code == 0)
			return;
	}
	work->done(work->data, code, e);
	work_free(work);
}

static void put_back(void *data, int code, const struct error *e)
{
	struct work *work = data;
	server_disk_empty(work->instance);
	restored(work, code, e);
}

/* The volume is what the snapshot holds; a server's disk is not yet. */
static void volume_restored(void *data, int code, const struct error *e)
{
	struct work *work = data;
	struct error error = {};
	if (code == 0 && (work->instance->kind->can & KIND_IS_SERVER)) {
		e = &error;
		code = server_disk_put_back(work->instance, put_back, work, &error);
		if (code == 0)
			return;
	}
	restored(work, code, e);
}

static int restore_begin(struct work *work, struct error *e)
{
	struct instance *instance = work->instance;
	struct volume_ref ref;
	int r = instance_claim(instance, "restoring", e);
	if (r < 0)
		return r;
	instance_volume(instance, work->name, &ref);
	r = storage_volume_restore(instance->service->storage, &ref, volume_restored, work, e);
	if (r < 0)
		instance_release(instance);
	return r;
}

static void restore_stopped(void *data, int code, const struct error *e)
{
	struct work *work = data;
	struct error error = {};
	if (code == 0) {
		e = &error;
		code = restore_begin(work, &error);
	}
	if (code < 0) {
		json_set_bool(work->instance->object, "ephemeral", work->was_ephemeral);
		work->done(work->data, code, e);
		work_free(work);
	}
}

int snapshot_restore(struct instance *instance, const char *name, bool is_stateful,
	snapshot_done *done, void *data, struct error *e)
{
	const char *slash = strrchr(name, '/');
	json_t *snapshot = NULL;
	int r = snapshot_get(instance, slash ? slash + 1 : name, &snapshot, e);
	if (r == 0)
		r = instance_check_exports(instance, e);
	if (r < 0)
		return r;
	if (is_stateful && !machine_state_exists(instance, slash ? slash + 1 : name))
		return error_set(e, -EINVAL, "stateful: the snapshot has no state");
	if ((instance->kind->can & KIND_IS_SERVER) && instance->state != INSTANCE_STOPPED)
		return error_set(e, -EBUSY, "The instance is running; stop it first");
	struct work *work = work_new(instance, slash ? slash + 1 : name, done, data);
	work->is_stateful = is_stateful;
	work->was_ephemeral = instance_is_ephemeral(instance);
	work->was_running = instance->live != NULL;
	if (work->was_running) {
		json_set_bool(instance->object, "ephemeral", false);
		r = lifecycle_stop(instance, true, 0, restore_stopped, work, e);
	} else {
		r = restore_begin(work, e);
	}
	if (r < 0) {
		json_set_bool(instance->object, "ephemeral", work->was_ephemeral);
		work_free(work);
	}
	return r;
}

static void expired_deleted(void *data, int code, const struct error *e)
{
	(void)data;
	if (code < 0)
		log_error("an expired snapshot is left: %s", e->text);
}

/* One a turn: the instance is busy with it then. */
static void expire_one(void *data, struct instance *instance)
{
	const char *now = data;
	for (size_t i = 0;
		i < json_array_size(instance->snapshots) && !instance->doing && !instance->exports;
		i++) {
		const json_t *snapshot = json_array_get(instance->snapshots, i);
		const char *expires = json_text(snapshot, "expires_at");
		struct error e = {};
		if (!expires || !expires[0] || text_starts(expires, "0001-") ||
			strncmp(expires, now, strlen("2000-01-01T00:00:00")) > 0)
			continue;
		cleanup(free) char *name = alloc_text(json_text(snapshot, "name"));
		int r = snapshot_delete(instance, name, expired_deleted, NULL, &e);
		if (r < 0)
			expired_deleted(NULL, r, &e);
		return;
	}
}

void snapshots_expire(struct service *service)
{
	char now[TEXT_TIME_SIZE];
	text_format_time(loop_wall_clock(), now);
	instances_each(service, NULL, expire_one, now);
}
