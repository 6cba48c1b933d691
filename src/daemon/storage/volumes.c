/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volumes.c - records of volumes, and the steps that change volumes.
 */
#include "daemon/storage/volumes.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "daemon/api.h"
#include "daemon/job.h"
#include "daemon/projects.h"
#include "model/json.h"

#define COLLECTION "volume"

static const struct {
	const char *name;   /* in the API */
	const char *folder; /* in a pool */
} types[] = {
	[VOLUME_TYPE_CONTAINER] = { "container", "containers" },
	[VOLUME_TYPE_MACHINE] = { "virtual-machine", "virtual-machines" },
	[VOLUME_TYPE_CUSTOM] = { "custom", "custom" },
};

const char *volume_type_name(enum volume_type type)
{
	return types[type].name;
}

int volume_type_read(const char *name, enum volume_type *ret, struct error *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (text_equal(types[i].name, name)) {
			*ret = (enum volume_type)i;
			return 0;
		}
	return error_set(
		e, -EINVAL, "type: \"%s\" is none of container, virtual-machine, custom", name);
}

char *volume_place(const struct volume_ref *ref)
{
	const char *folder = types[ref->type].folder;
	if (ref->snapshot)
		return alloc_printf(
			"%s-snapshots/%s/%s/%s", folder, ref->project, ref->name, ref->snapshot);
	return alloc_printf("%s/%s/%s", folder, ref->project, ref->name);
}

char *volume_snapshots_place(const struct volume_ref *ref)
{
	return alloc_printf("%s-snapshots/%s/%s", types[ref->type].folder, ref->project, ref->name);
}

char *volume_backups_place(const struct volume_ref *ref)
{
	/* No instance has such a name, whose archives are in backups/PROJECT/INSTANCE. */
	return alloc_printf("backups/%s/.volumes/%s/%s", ref->project, ref->pool, ref->name);
}

char *volume_url(const struct volume_ref *ref)
{
	cleanup(free) char *base =
		alloc_printf("/1.0/storage-pools/%s/volumes/%s", ref->pool, types[ref->type].name);
	return url_for(base, ref->name, ref->project);
}

static char *record_key(const struct volume_ref *ref)
{
	return alloc_printf(
		"%s/%s/%s/%s", ref->project, ref->pool, types[ref->type].name, ref->name);
}

/* The name in the store, where the project is a key of its own. */
static char *store_name(const struct volume_ref *ref)
{
	return alloc_printf("%s/%s/%s", ref->pool, types[ref->type].name, ref->name);
}

json_t *volume_record(const struct storage *storage, const struct volume_ref *ref)
{
	cleanup(free) char *key = record_key(ref);
	return json_object_get(storage->volumes, key);
}

int volume_find(
	struct storage *storage, const struct volume_ref *ref, json_t **ret, struct error *e)
{
	json_t *record = volume_record(storage, ref);
	if (!record || text_equal(json_text(record, "state"), "removing"))
		return error_set(e, -ENOENT, "the volume \"%s\" does not exist in the pool \"%s\"",
			ref->name, ref->pool);
	if (ref->snapshot)
		record = json_object_get(json_object_get(record, "snapshots"), ref->snapshot);
	if (!record)
		return error_set(e, -ENOENT, "the volume \"%s\" has no snapshot \"%s\"", ref->name,
			ref->snapshot);
	*ret = record;
	return 0;
}

int volume_record_put(
	struct storage *storage, const struct volume_ref *ref, json_t *record, struct error *e)
{
	cleanup(free) char *name = store_name(ref);
	cleanup(free) char *key = record_key(ref);
	/* Ours is the second reference if it is the record that stands there already. */
	if (json_object_get(storage->volumes, key) == record)
		json_incref(record);
	int r = store_put(storage->service->store, COLLECTION, ref->project, name, record, e);
	if (r < 0)
		json_decref(record);
	else
		json_object_set_new(storage->volumes, key, record);
	return r;
}

void volume_record_keep(struct storage *storage, const struct volume_ref *ref, json_t *record)
{
	cleanup(free) char *key = record_key(ref);
	json_object_set(storage->volumes, key, record);
}

int volume_record_remove(struct storage *storage, const struct volume_ref *ref, struct error *e)
{
	cleanup(free) char *name = store_name(ref);
	cleanup(free) char *key = record_key(ref);
	int r = store_remove(storage->service->store, COLLECTION, ref->project, name, e);
	if (r < 0 && r != -ENOENT)
		return r;
	json_object_del(storage->volumes, key);
	return 0;
}

static int load_record(void *data, const char *project, const char *name, const json_t *object)
{
	struct storage *storage = data;
	cleanup(free) char *key = alloc_printf("%s/%s", project, name);
	json_object_set_new(storage->volumes, key, json_deep_copy((json_t *)(uintptr_t)object));
	return 0;
}

int volumes_load(struct storage *storage, struct error *e)
{
	return store_each(storage->service->store, COLLECTION, NULL, load_record, storage, e);
}

void volumes_each(struct storage *storage, volume_call *call, void *data)
{
	const char *key;
	json_t *record;
	void *next;
	json_object_foreach_safe(storage->volumes, next, key, record)
	{
		cleanup(free) char *parts = alloc_text(key);
		char *rest = parts;
		const char *project = strsep(&rest, "/");
		const char *pool = strsep(&rest, "/");
		const char *type = strsep(&rest, "/");
		struct volume_ref ref = { .pool = pool, .project = project, .name = rest };
		if (rest && volume_type_read(type, &ref.type, NULL) == 0)
			call(data, &ref, record);
	}
}

int pool_find(struct storage *storage, const char *name, struct storage_pool **ret, struct error *e)
{
	for (struct storage_pool *pool = storage->pools; pool; pool = pool->next) {
		if (!text_equal(pool->name, name))
			continue;
		if (!pool->pool)
			return error_set(e, -EIO, "the storage pool \"%s\" can't be used: %.300s",
				name, pool->why.text);
		*ret = pool;
		return 0;
	}
	return error_set(e, -ENOENT, "the storage pool \"%s\" does not exist", name);
}

char *pool_home(const struct storage *storage, const char *name)
{
	return alloc_printf("%s/pools/%s", storage->service->dir_path, name);
}

int pool_record_put(struct storage *storage, struct storage_pool *pool, struct error *e)
{
	return store_put(storage->service->store, "pool", "", pool->name, pool->record, e);
}

enum volume_use volume_use_of(const struct storage *storage, const struct volume_ref *ref)
{
	if (ref->type == VOLUME_TYPE_MACHINE)
		return VOLUME_BLOCK;
	if (ref->type == VOLUME_TYPE_CONTAINER)
		return VOLUME_ROOT;
	return text_equal(json_text(volume_record(storage, ref), "content"), "block")
		? VOLUME_BLOCK
		: VOLUME_CONTENT;
}

struct volume_work *volume_work_new(struct storage *storage, struct storage_pool *pool,
	const struct volume_ref *ref, volume_work_end *end, storage_done *done, void *data)
{
	struct volume_work *work = alloc(struct volume_work);
	work->storage = storage;
	work->pool = pool;
	work->pool_name = alloc_text(ref->pool);
	work->project = alloc_text(ref->project);
	work->name = alloc_text(ref->name);
	work->snapshot = alloc_text(ref->snapshot);
	work->type = ref->type;
	work->use = volume_use_of(storage, ref);
	work->steps = json_array();
	work->end = end;
	work->done = done;
	work->data = data;
	return work;
}

struct volume_ref volume_work_ref(const struct volume_work *work)
{
	return (struct volume_ref){ .pool = work->pool_name,
		.type = work->type,
		.project = work->project,
		.name = work->name,
		.snapshot = work->snapshot };
}

void volume_work_drop(struct volume_work *work)
{
	free(work->pool_name);
	free(work->project);
	free(work->name);
	free(work->snapshot);
	json_decref(work->steps);
	free(work);
}

void volume_work_add(struct volume_work *work, const char *operation, const char *place,
	const char *from, uint64_t size_bytes)
{
	const struct pool *pool = work->pool->pool;
	json_t *step = json_pack("{sssss{ssss}sssIss}", "task", "volume", "operation", operation,
		"pool", "driver", pool->driver->name, "home", pool->home, "volume", place, "size",
		(json_int_t)size_bytes, "use", volume_use_name(work->use));
	if (from)
		json_object_set_new(step, "from", json_string(from));
	json_array_append_new(work->steps, step);
}

void volume_work_fill(
	struct volume_work *work, const char *file, const char *place, uint64_t size_bytes)
{
	cleanup(free) char *path = pool_block_path(work->pool->pool, place);
	volume_work_add(work, "transfer", place, NULL, size_bytes);
	json_t *step = json_array_get(work->steps, json_array_size(work->steps) - 1);
	json_object_set_new(step, "source", json_pack("{ssss}", "type", "block", "path", file));
	json_object_set_new(step, "target", json_pack("{ssss}", "type", "block", "path", path));
}

static uint32_t slow_bit(const char *operation)
{
	static const struct {
		const char *operation;
		uint32_t bit;
	} bits[] = {
		{ "create", POOL_SLOW_CREATE },
		{ "remove", POOL_SLOW_REMOVE },
		{ "copy", POOL_SLOW_COPY },
		{ "resize", POOL_SLOW_RESIZE },
		{ "rename", 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		if (text_equal(bits[i].operation, operation))
			return bits[i].bit;
	return UINT32_MAX; /* always a job */
}

static bool is_slow(const struct volume_work *work, const json_t *step)
{
	uint32_t bit = slow_bit(json_text(step, "operation"));
	return bit == UINT32_MAX || (work->pool->pool->slow & bit);
}

bool volume_work_is_slow(const struct volume_work *work)
{
	size_t index;
	json_t *step;
	json_array_foreach(work->steps, index, step)
	{
		if (is_slow(work, step))
			return true;
	}
	return false;
}

static int carry_out(struct pool *pool, const json_t *step, struct error *e)
{
	const struct pool_driver *driver = pool->driver;
	const char *operation = json_text(step, "operation");
	const char *place = json_text(step, "volume");
	const char *from = json_text(step, "from");
	uint64_t size = (uint64_t)json_integer_value(json_object_get(step, "size"));
	enum volume_use use = volume_use_read(json_text(step, "use"));
	if (text_equal(operation, "create"))
		return driver->create(pool, place, use, size, e);
	if (text_equal(operation, "remove"))
		return driver->remove(pool, place, e);
	if (text_equal(operation, "copy"))
		return driver->copy(pool, from, place, use, size, e);
	if (text_equal(operation, "resize"))
		return driver->resize(pool, place, use, size, e);
	return driver->rename(pool, from, place, e);
}

static void tell(void *data)
{
	struct volume_work *work = data;
	if (work->done)
		work->done(work->data, work->code, &work->why);
	volume_work_drop(work);
}

static void run_steps(struct volume_work *work);

static void step_done(void *data, int code, json_t *result, const struct error *e)
{
	struct volume_work *work = data;
	(void)result;
	if (code < 0) {
		work->code = code;
		work->why = *e;
	}
	run_steps(work);
}

static int start_step(struct volume_work *work, json_t *step)
{
	return job_start(work->storage->service,
		&(struct job_options){ .task = json_incref(step), .done = step_done, .data = work },
		NULL, &work->why);
}

static void run_steps(struct volume_work *work)
{
	while (work->code == 0 && work->next < json_array_size(work->steps)) {
		json_t *step = json_array_get(work->steps, work->next++);
		if (is_slow(work, step)) {
			work->code = start_step(work, step);
			if (work->code == 0)
				return;
		} else {
			work->code = carry_out(work->pool->pool, step, &work->why);
		}
	}
	work->end(work, work->code);
	/* Never in the call that started it. */
	loop_defer(work->storage->service->loop, tell, work);
}

void volume_work_start(struct volume_work *work)
{
	run_steps(work);
}
