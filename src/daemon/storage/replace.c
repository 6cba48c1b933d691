/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replace.c - a volume's content replaced as a whole: by what a snapshot holds, or by an image.
 *
 * The new content is made beside the old one; when it is whole, the record says so under "next"; then it takes the
 * old one's place, and the record gets its layers. Wherever a daemon is killed between, the next one finds either
 * the old content with the old layers or the new with the new.
 */
#include "daemon/storage/replace.h"

#include <errno.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/image/images.h"
#include "daemon/storage/storage.h"
#include "daemon/storage/volumes.h"
#include "model/json.h"

struct replacement {
	storage_done *done;
	void *data;
	int code; /* what went wrong */
	struct error why;
};

static char *next_place(const char *place)
{
	return alloc_printf("restoring/%s", place);
}

static struct volume_ref volume_of(const struct volume_ref *ref)
{
	struct volume_ref volume = *ref;
	volume.snapshot = NULL;
	return volume;
}

static void finish(struct replacement *replacement, int code, const struct error *e)
{
	if (replacement->done)
		replacement->done(replacement->data, code, e);
	free(replacement);
}

/* The old content is gone. */
static int adopt(
	struct storage *storage, const struct volume_ref *ref, json_t *record, struct error *e)
{
	json_t *layers = json_object_get(json_object_get(record, "next"), "layers");
	if (json_is_array(layers))
		json_object_set(record, "layers", layers);
	else
		json_object_del(record, "layers");
	json_object_del(record, "next");
	return volume_record_put(storage, ref, record, e);
}

static int forget_next(
	struct storage *storage, const struct volume_ref *ref, json_t *record, struct error *e)
{
	return json_object_del(record, "next") == 0 ? volume_record_put(storage, ref, record, e)
						    : 0;
}

static void end_of_change(struct volume_work *work, int code)
{
	struct volume_ref ref = volume_work_ref(work);
	json_t *record = volume_record(work->storage, &ref);
	if (record && code == 0)
		work->code = adopt(work->storage, &ref, record, &work->why);
	images_collect(work->storage->service->images);
}

static void changed(void *data, int code, const struct error *e)
{
	finish(data, code, e);
}

static void end_of_clean(struct volume_work *work, int code)
{
	(void)code;
	struct volume_ref ref = volume_work_ref(work);
	json_t *record = volume_record(work->storage, &ref);
	struct error e = {};
	if (record && forget_next(work->storage, &ref, record, &e) < 0)
		log_error("volume pool=%s name=%s: %s", ref.pool, ref.name, e.text);
}

static void cleaned(void *data, int code, const struct error *e)
{
	struct replacement *replacement = data;
	if (code < 0)
		log_warning("remove what was made half: %s", e->text);
	finish(replacement, replacement->code, &replacement->why);
}

/* Whole: its record says so before the old content is touched. */
static void end_of_making(struct volume_work *work, int code)
{
	struct volume_ref ref = volume_work_ref(work);
	json_t *record = volume_record(work->storage, &ref);
	if (!record || code < 0)
		return;
	json_set_bool(json_object_get(record, "next"), "is_whole", true);
	work->code = volume_record_put(work->storage, &ref, record, &work->why);
}

struct making {
	struct replacement *replacement;
	struct storage *storage;
	struct storage_pool *pool;
	char *pool_name, *project, *name;
	enum volume_type type;
};

static void making_free(struct making *making)
{
	free(making->pool_name);
	free(making->project);
	free(making->name);
	free(making);
}

static void made(void *data, int code, const struct error *e)
{
	struct making *making = data;
	struct replacement *replacement = making->replacement;
	const struct volume_ref ref = { .pool = making->pool_name,
		.type = making->type,
		.project = making->project,
		.name = making->name };
	cleanup(free) char *place = volume_place(&ref);
	cleanup(free) char *next = next_place(place);
	struct volume_work *work;
	if (code < 0) {
		replacement->code = code;
		replacement->why = *e;
		work = volume_work_new(
			making->storage, making->pool, &ref, end_of_clean, cleaned, replacement);
		if (pool_has_volume(making->pool->pool, next))
			volume_work_add(work, "remove", next, NULL, 0);
	} else {
		work = volume_work_new(
			making->storage, making->pool, &ref, end_of_change, changed, replacement);
		volume_work_add(work, "remove", place, NULL, 0);
		volume_work_add(work, "rename", place, next, 0);
	}
	making_free(making);
	volume_work_start(work);
}

/* Work on the next content, of which a step or two are still to be added. `layers` is borrowed. */
static int work_begin(struct storage *storage, struct storage_pool *pool,
	const struct volume_ref *ref, const json_t *layers, storage_done *done, void *data,
	struct volume_work **ret, struct error *e)
{
	json_t *record = volume_record(storage, ref);
	cleanup(free) char *place = volume_place(ref);
	cleanup(free) char *next = next_place(place);
	json_object_set_new(record, "next",
		json_pack("{so*sb}", "layers", layers ? json_deep_copy(layers) : NULL, "is_whole",
			0));
	int r = volume_record_put(storage, ref, record, e);
	if (r < 0)
		return r;
	struct replacement *replacement = alloc(struct replacement);
	*replacement = (struct replacement){ .done = done, .data = data };
	struct making *making = alloc(struct making);
	*making = (struct making){ .replacement = replacement,
		.storage = storage,
		.pool = pool,
		.pool_name = alloc_text(ref->pool),
		.project = alloc_text(ref->project),
		.name = alloc_text(ref->name),
		.type = ref->type };
	struct volume_work *work = volume_work_new(storage, pool, ref, end_of_making, made, making);
	if (pool_has_volume(pool->pool, next))
		volume_work_add(work, "remove", next, NULL, 0);
	*ret = work;
	return 0;
}

static uint64_t size_of(const json_t *record)
{
	return (uint64_t)json_integer_value(json_object_get(record, "size"));
}

int storage_volume_restore(struct storage *storage, const struct volume_ref *ref,
	storage_done *done, void *data, struct error *e)
{
	json_t *snapshot;
	struct storage_pool *pool;
	struct volume_work *work;
	struct volume_ref volume = volume_of(ref);
	int r = volume_find(storage, ref, &snapshot, e);
	if (r == 0)
		r = pool_find(storage, ref->pool, &pool, e);
	if (r < 0)
		return r;
	json_t *record = volume_record(storage, &volume);
	const json_t *layers =
		json_object_get(snapshot, "layers") ?: json_object_get(record, "layers");
	r = work_begin(storage, pool, &volume, layers, done, data, &work, e);
	if (r < 0)
		return r;
	cleanup(free) char *from = volume_place(ref);
	cleanup(free) char *place = volume_place(&volume);
	cleanup(free) char *next = next_place(place);
	volume_work_add(work, "copy", next, from, size_of(record));
	volume_work_start(work);
	return 0;
}

int storage_volume_rebuild(struct storage *storage, const struct volume_ref *ref,
	const struct volume_options *options, storage_done *done, void *data, struct error *e)
{
	json_t *record;
	struct storage_pool *pool;
	struct volume_work *work;
	int r = volume_find(storage, ref, &record, e);
	if (r == 0)
		r = pool_find(storage, ref->pool, &pool, e);
	if (r == 0)
		r = work_begin(storage, pool, ref, options->layers, done, data, &work, e);
	if (r < 0)
		return r;
	cleanup(free) char *place = volume_place(ref);
	cleanup(free) char *next = next_place(place);
	volume_work_add(work, "create", next, NULL, size_of(record));
	if (options->fill)
		volume_work_fill(work, options->fill, next, size_of(record));
	volume_work_start(work);
	return 0;
}

static void left_removed(void *data, int code, const struct error *e)
{
	(void)data;
	if (code < 0)
		log_warning("remove what was made half: %s", e->text);
}

int storage_replace_mend(struct storage *storage, struct storage_pool *pool,
	const struct volume_ref *ref, json_t *record, struct error *e)
{
	cleanup(free) char *place = volume_place(ref);
	cleanup(free) char *next = next_place(place);
	bool is_whole = json_is_true(json_object_get(json_object_get(record, "next"), "is_whole"));
	bool is_there = pool_has_volume(pool->pool, place);
	bool has_next = pool_has_volume(pool->pool, next);
	int r = 0;
	if (!is_there && !has_next)
		return error_set(e, -ENOENT, "its files are not there");
	if (!is_there)
		r = pool->pool->driver->rename(pool->pool, next, place, e);
	if (r == 0 && is_there && has_next) {
		/* The old content is whole: the new one, whole or not, is not wanted. */
		struct volume_work *work =
			volume_work_new(storage, pool, ref, end_of_clean, left_removed, NULL);
		volume_work_add(work, "remove", next, NULL, 0);
		volume_work_start(work);
		return 0;
	}
	if (r < 0 || !json_object_get(record, "next"))
		return r;
	return is_whole ? adopt(storage, ref, record, e) : forget_next(storage, ref, record, e);
}
