/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage.c - volumes made, copied, restored, resized and removed.
 */
#include "daemon/storage/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/image/images.h"
#include "daemon/storage/volumes.h"
#include "disk/block.h"
#include "model/json.h"

static json_t *now_text(void)
{
	char now[TEXT_TIME_SIZE];
	return json_string(text_format_time(loop_wall_clock(), now));
}

static uint64_t record_size(const json_t *record)
{
	return (uint64_t)json_integer_value(json_object_get(record, "size"));
}

/* The size that a volume gets which asked for none. */
static uint64_t usual_size(const struct storage_pool *pool, uint64_t size_bytes)
{
	const char *usual = json_text(json_object_get(pool->record, "config"), "volume.size");
	if (size_bytes == 0 && usual && *usual)
		(void)!text_to_bytes(usual, &size_bytes);
	return size_bytes;
}

static int check_room(
	const struct storage_pool *pool, enum volume_use use, uint64_t size_bytes, struct error *e)
{
	if (size_bytes == 0)
		return 0;
	/* A disk has the size of its file. */
	if (!(pool->pool->can & POOL_CAN_LIMIT) && use != VOLUME_BLOCK)
		return error_set(e, -EINVAL,
			"the pool \"%s\" can't hold a size: it is of plain directories on a file "
			"system without project quotas; a btrfs or loop pool can",
			pool->name);
	struct pool_space space;
	int r = pool->pool->driver->space(pool->pool, &space, e);
	if (r < 0)
		return r;
	char has[TEXT_SIZE_MAX];
	if (size_bytes > space.total_bytes)
		return error_set(e, -ENOSPC, "the pool \"%s\" has only %s in all", pool->name,
			text_format_bytes(space.total_bytes, has));
	return 0;
}

static int check_size(
	const struct storage_pool *pool, enum volume_use use, uint64_t size_bytes, struct error *e)
{
	int r = check_room(pool, use, size_bytes, e);
	return r < 0 ? error_prefix(e, r, "size") : 0;
}

int storage_volume_check(struct storage *storage, const struct volume_ref *ref, uint64_t size_bytes,
	const char *device, struct error *e)
{
	struct storage_pool *pool;
	int r = pool_find(storage, ref->pool, &pool, e);
	if (r < 0)
		return error_prefix(e, r, "devices.%s.pool", device);
	r = check_room(pool, volume_use_of(storage, ref), size_bytes, e);
	return r < 0 ? error_prefix(e, r, "devices.%s.size", device) : 0;
}

bool storage_volume_exists(struct storage *storage, const struct volume_ref *ref)
{
	json_t *record;
	return volume_find(storage, ref, &record, NULL) == 0;
}

/* A record that is not there may be written; the store says what went wrong, the caller already did. */
static void forget(struct storage *storage, const struct volume_ref *ref)
{
	struct error e = {};
	if (volume_record_remove(storage, ref, &e) < 0)
		log_error(
			"volume record stays pool=%s volume=%s: %s", ref->pool, ref->name, e.text);
}

/* A volume, or a snapshot in its volume's record, is whole now or is none. */
static void end_of_making(struct volume_work *work, int code)
{
	struct volume_ref ref = volume_work_ref(work);
	json_t *record = volume_record(work->storage, &ref);
	json_t *snapshots = json_object_get(record, "snapshots");
	if (!record)
		return;
	if (code < 0 && !ref.snapshot) {
		forget(work->storage, &ref);
		return;
	}
	if (ref.snapshot && code < 0)
		json_object_del(snapshots, ref.snapshot);
	json_t *made = ref.snapshot ? json_object_get(snapshots, ref.snapshot) : record;
	/* Nothing to write if the record stood whole from the beginning. */
	if (code == 0 && json_object_del(made, "state") < 0)
		return;
	struct error e = {};
	int r = volume_record_put(work->storage, &ref, record, &e);
	if (r < 0 && work->code == 0) {
		work->code = r;
		work->why = e;
	}
}

static json_t *new_record(uint64_t size_bytes, const json_t *layers)
{
	return json_pack("{sIso*s{}sss{}so}", "size", (json_int_t)size_bytes, "layers",
		layers ? json_deep_copy(layers) : NULL, "config", "description", "", "snapshots",
		"created_at", now_text());
}

int storage_volume_create(struct storage *storage, const struct volume_ref *ref,
	const struct volume_options *options, storage_done *done, void *data, struct error *e)
{
	struct storage_pool *pool;
	int r = pool_find(storage, ref->pool, &pool, e);
	uint64_t size_bytes = r < 0 ? 0 : usual_size(pool, options->size_bytes);
	enum volume_use use = options->is_block ? VOLUME_BLOCK : volume_use_of(storage, ref);
	if (size_bytes == 0 && use == VOLUME_BLOCK)
		size_bytes = BLOCK_DEFAULT_BYTES;
	if (r == 0)
		r = check_size(pool, use, size_bytes, e);
	if (r < 0)
		return r;
	if (volume_record(storage, ref))
		return error_set(e, -EEXIST, "the volume \"%s\" exists in the pool \"%s\"",
			ref->name, ref->pool);
	struct volume_work *work = volume_work_new(storage, pool, ref, end_of_making, done, data);
	cleanup(free) char *place = volume_place(ref);
	work->use = use;
	volume_work_add(work, "create", place, NULL, size_bytes);
	if (options->fill)
		volume_work_fill(work, options->fill, place, size_bytes);
	json_t *record = new_record(size_bytes, options->layers);
	if (options->is_block)
		json_set_text(record, "content", "block");
	if (volume_work_is_slow(work))
		json_set_text(record, "state", "making");
	r = volume_record_put(storage, ref, record, e);
	if (r < 0) {
		volume_work_drop(work);
		return r;
	}
	volume_work_start(work);
	return 0;
}

static void end_of_removal(struct volume_work *work, int code)
{
	struct volume_ref ref = volume_work_ref(work);
	if (code < 0) {
		log_error(
			"remove volume pool=%s volume=%s: %s", ref.pool, ref.name, work->why.text);
		return;
	}
	if (!ref.snapshot) {
		/* Empty by now, if there ever was one. */
		cleanup(free) char *snapshots = volume_snapshots_place(&ref);
		(void)!unlinkat(work->pool->pool->dir, snapshots, AT_REMOVEDIR);
		forget(work->storage, &ref);
		images_collect(work->storage->service->images);
		return;
	}
	json_t *record = volume_record(work->storage, &ref);
	json_object_del(json_object_get(record, "snapshots"), ref.snapshot);
	struct error e = {};
	if (record && volume_record_put(work->storage, &ref, record, &e) < 0)
		log_error("volume record stays pool=%s volume=%s: %s", ref.pool, ref.name, e.text);
}

static void add_snapshot_removals(
	struct volume_work *work, const struct volume_ref *ref, const json_t *record)
{
	const char *name;
	json_t *snapshot;
	json_t *snapshots = json_object_get(record, "snapshots");
	json_object_foreach(snapshots, name, snapshot)
	{
		struct volume_ref one = *ref;
		one.snapshot = name;
		cleanup(free) char *place = volume_place(&one);
		volume_work_add(work, "remove", place, NULL, 0);
	}
}

int storage_volume_delete(struct storage *storage, const struct volume_ref *ref, storage_done *done,
	void *data, struct error *e)
{
	struct storage_pool *pool;
	int r = pool_find(storage, ref->pool, &pool, e);
	if (r < 0)
		return r;
	struct volume_work *work = volume_work_new(storage, pool, ref, end_of_removal, done, data);
	json_t *record = volume_record(storage, ref);
	json_t *one = ref->snapshot
		? json_object_get(json_object_get(record, "snapshots"), ref->snapshot)
		: record;
	if (one) {
		if (!ref->snapshot)
			add_snapshot_removals(work, ref, record);
		cleanup(free) char *place = volume_place(ref);
		volume_work_add(work, "remove", place, NULL, 0);
	}
	if (one && volume_work_is_slow(work)) {
		json_set_text(one, "state", "removing");
		r = volume_record_put(storage, ref, record, e);
		if (r < 0) {
			volume_work_drop(work);
			return r;
		}
	}
	volume_work_start(work);
	return 0;
}

/* The record of the copy, or of the volume that gets a snapshot more. */
static int note_copy(struct storage *storage, const json_t *from, const struct volume_ref *to,
	uint64_t size_bytes, bool is_slow, struct error *e)
{
	json_t *record = volume_record(storage, to);
	if (!to->snapshot) {
		if (record)
			return error_set(e, -EEXIST, "the volume \"%s\" exists in the pool \"%s\"",
				to->name, to->pool);
		record = new_record(size_bytes, json_object_get(from, "layers"));
		json_object_update(
			json_object_get(record, "config"), json_object_get(from, "config"));
		if (json_object_get(from, "content"))
			json_object_set(record, "content", json_object_get(from, "content"));
		if (is_slow)
			json_set_text(record, "state", "making");
		return volume_record_put(storage, to, record, e);
	}
	if (!record)
		return error_set(e, -ENOENT, "the volume \"%s\" does not exist", to->name);
	json_t *snapshots = json_object_get(record, "snapshots");
	if (json_object_get(snapshots, to->snapshot))
		return error_set(e, -EEXIST, "the volume \"%s\" has a snapshot \"%s\"", to->name,
			to->snapshot);
	json_t *snapshot = json_pack("{sIsosO*}", "size", (json_int_t)size_bytes, "created_at",
		now_text(), "layers", json_object_get(from, "layers"));
	if (is_slow)
		json_set_text(snapshot, "state", "making");
	json_object_set_new(snapshots, to->snapshot, snapshot);
	int r = volume_record_put(storage, to, record, e);
	if (r < 0)
		json_object_del(snapshots, to->snapshot);
	return r;
}

static int add_transfer(struct volume_work *work, const struct volume_ref *from, const char *place,
	uint64_t size_bytes, struct error *e)
{
	json_t *source;
	int r = storage_volume_plan(work->storage, from, &source, e);
	if (r < 0)
		return r;
	const struct pool *pool = work->pool->pool;
	cleanup(free) char *path = pool_volume_path(pool, place);
	bool is_image = pool->driver->stands_as(pool, place) == VOLUME_IMAGE;
	/* A directory's limit comes last: the same files may weigh a little more where they go. */
	volume_work_add(work, "create", place, NULL,
		is_image || work->use == VOLUME_BLOCK ? size_bytes : 0);
	if (work->use == VOLUME_BLOCK) {
		volume_work_fill(work, json_text(source, "path"), place, size_bytes);
		json_decref(source);
		return 0;
	}
	volume_work_add(work, "transfer", place, NULL, size_bytes);
	json_t *step = json_array_get(work->steps, json_array_size(work->steps) - 1);
	json_object_set_new(step, "source", source);
	json_object_set_new(step, "target",
		json_pack("{ssssss}", "type", is_image ? "image" : "directory", "path", path, "fs",
			"ext4"));
	if (!is_image && size_bytes)
		volume_work_add(work, "resize", place, NULL, size_bytes);
	return 0;
}

int storage_volume_copy(struct storage *storage, const struct volume_ref *from,
	const struct volume_ref *to, uint64_t size_bytes, storage_done *done, void *data,
	struct error *e)
{
	json_t *source;
	struct storage_pool *pool;
	int r = volume_find(storage, from, &source, e);
	if (r == 0)
		r = pool_find(storage, to->pool, &pool, e);
	enum volume_use use = volume_use_of(storage, from);
	if (r == 0 && !size_bytes)
		size_bytes = record_size(source);
	if (r == 0)
		r = check_size(pool, use, size_bytes, e);
	if (r < 0)
		return r;
	struct volume_work *work = volume_work_new(storage, pool, to, end_of_making, done, data);
	work->use = use;
	cleanup(free) char *place = volume_place(to);
	cleanup(free) char *from_place = volume_place(from);
	if (text_equal(from->pool, to->pool))
		volume_work_add(work, "copy", place, from_place, size_bytes);
	else
		r = add_transfer(work, from, place, size_bytes, e);
	if (r == 0)
		r = note_copy(storage, source, to, size_bytes, volume_work_is_slow(work), e);
	if (r < 0) {
		volume_work_drop(work);
		return r;
	}
	volume_work_start(work);
	return 0;
}

bool storage_volume_needs_pause(struct storage *storage, const struct volume_ref *ref)
{
	struct storage_pool *pool;
	return pool_find(storage, ref->pool, &pool, NULL) == 0 &&
		!(pool->pool->can & POOL_CAN_FREEZE);
}

static int rename_snapshot(struct storage *storage, struct storage_pool *pool,
	const struct volume_ref *ref, const char *name, struct error *e)
{
	json_t *record = volume_record(storage, ref);
	json_t *snapshots = json_object_get(record, "snapshots");
	if (json_object_get(snapshots, name))
		return error_set(
			e, -EEXIST, "the volume \"%s\" has a snapshot \"%s\"", ref->name, name);
	struct volume_ref to = *ref;
	to.snapshot = name;
	cleanup(free) char *from_place = volume_place(ref);
	cleanup(free) char *to_place = volume_place(&to);
	int r = pool->pool->driver->rename(pool->pool, from_place, to_place, e);
	if (r < 0)
		return r;
	json_object_set(snapshots, name, json_object_get(snapshots, ref->snapshot));
	json_object_del(snapshots, ref->snapshot);
	return volume_record_put(storage, ref, record, e);
}

/* The volume and its snapshots, or neither. */
static int rename_places(struct storage_pool *pool, const struct volume_ref *ref,
	const struct volume_ref *to, struct error *e)
{
	cleanup(free) char *from_place = volume_place(ref);
	cleanup(free) char *to_place = volume_place(to);
	cleanup(free) char *from_snapshots = volume_snapshots_place(ref);
	cleanup(free) char *to_snapshots = volume_snapshots_place(to);
	int r = pool->pool->driver->rename(pool->pool, from_place, to_place, e);
	if (r < 0)
		return r;
	int dir = pool->pool->dir;
	if (renameat(dir, from_snapshots, dir, to_snapshots) < 0 && errno != ENOENT) {
		r = error_errno(e, "rename the snapshots of the volume %s", ref->name);
		(void)!pool->pool->driver->rename(pool->pool, to_place, from_place, NULL);
	}
	return r;
}

/* All records at once. */
static int rename_records(struct storage *storage, const struct volume_ref *ref,
	const struct volume_ref *to, storage_more *more, void *data, struct error *e)
{
	json_t *record = json_copy(volume_record(storage, ref));
	struct store *store = storage->service->store;
	json_object_del(record, RENAMING);
	int r = store_begin(store, e);
	if (r < 0) {
		json_decref(record);
		return r;
	}
	r = volume_record_put(storage, to, record, e);
	if (r == 0)
		r = volume_record_remove(storage, ref, e);
	if (r == 0 && more)
		r = more(data, e);
	if (r == 0)
		r = store_commit(store, e);
	if (r < 0)
		store_rollback(store);
	return r;
}

/*
 * First it is noted what is about to happen: a daemon that is killed before all records are written finds the volume
 * under its new name, and gives it the old one again.
 */
static int rename_volume(struct storage *storage, struct storage_pool *pool,
	const struct volume_ref *ref, const char *name, storage_more *more, void *data,
	struct error *e)
{
	struct volume_ref to = *ref;
	to.name = name;
	if (volume_record(storage, &to))
		return error_set(
			e, -EEXIST, "the volume \"%s\" exists in the pool \"%s\"", name, ref->pool);
	json_t *record = volume_record(storage, ref);
	cleanup(json_decref) json_t *kept = json_copy(record);
	json_set_text(record, RENAMING, name);
	int r = volume_record_put(storage, ref, record, e);
	if (r == 0)
		r = rename_places(pool, ref, &to, e);
	if (r == 0) {
		r = rename_records(storage, ref, &to, more, data, e);
		if (r < 0)
			storage_rename_mend(storage, pool, ref, name);
	}
	if (r < 0) {
		struct error again = {};
		(void)!volume_record_remove(storage, &to, NULL);
		/* Even if the store takes nothing any more; then its note is looked at once more at the next start. */
		volume_record_keep(storage, ref, kept);
		if (volume_record_put(storage, ref, kept, &again) < 0)
			log_error("volume record stays pool=%s volume=%s: %s", ref->pool, ref->name,
				again.text);
	}
	return r;
}

void storage_rename_mend(struct storage *storage, struct storage_pool *pool,
	const struct volume_ref *ref, const char *name)
{
	struct volume_ref to = *ref;
	struct error e = {};
	(void)storage;
	to.name = name;
	cleanup(free) char *from_place = volume_place(&to);
	cleanup(free) char *to_place = volume_place(ref);
	cleanup(free) char *from_snapshots = volume_snapshots_place(&to);
	cleanup(free) char *to_snapshots = volume_snapshots_place(ref);
	int dir = pool->pool->dir;
	int r = pool->pool->driver->rename(pool->pool, from_place, to_place, &e);
	/* It had not begun, or is named back already: then the snapshots may not be. */
	if (r == -ENOENT || r == -EEXIST)
		r = 0;
	if (r == 0 && renameat(dir, from_snapshots, dir, to_snapshots) < 0 && errno != ENOENT)
		r = error_errno(&e, "rename the snapshots of the volume %s", name);
	if (r < 0)
		log_error("volume keeps a new name pool=%s volume=%s: %s", ref->pool, name, e.text);
}

int storage_volume_rename(struct storage *storage, const struct volume_ref *ref, const char *name,
	storage_more *more, void *data, struct error *e)
{
	json_t *record;
	struct storage_pool *pool;
	int r = volume_find(storage, ref, &record, e);
	if (r == 0)
		r = pool_find(storage, ref->pool, &pool, e);
	if (r < 0)
		return r;
	return ref->snapshot ? rename_snapshot(storage, pool, ref, name, e)
			     : rename_volume(storage, pool, ref, name, more, data, e);
}

static void end_of_resize(struct volume_work *work, int code)
{
	struct volume_ref ref = volume_work_ref(work);
	json_t *record = volume_record(work->storage, &ref);
	if (code < 0 || !record)
		return;
	json_object_set(record, "size", json_object_get(json_array_get(work->steps, 0), "size"));
	work->code = volume_record_put(work->storage, &ref, record, &work->why);
}

int storage_volume_resize(struct storage *storage, const struct volume_ref *ref,
	uint64_t size_bytes, storage_done *done, void *data, struct error *e)
{
	json_t *record;
	struct storage_pool *pool;
	int r = volume_find(storage, ref, &record, e);
	if (r == 0)
		r = pool_find(storage, ref->pool, &pool, e);
	if (r == 0)
		r = check_size(pool, volume_use_of(storage, ref), size_bytes, e);
	if (r < 0)
		return r;
	struct volume_work *work = volume_work_new(storage, pool, ref, end_of_resize, done, data);
	cleanup(free) char *place = volume_place(ref);
	volume_work_add(work, "resize", place, NULL, size_bytes);
	volume_work_start(work);
	return 0;
}

int storage_volume_usage(struct storage *storage, const struct volume_ref *ref, uint64_t *ret_used,
	uint64_t *ret_size, struct error *e)
{
	json_t *record;
	struct storage_pool *pool;
	int r = volume_find(storage, ref, &record, e);
	if (r == 0)
		r = pool_find(storage, ref->pool, &pool, e);
	if (r < 0)
		return r;
	cleanup(free) char *place = volume_place(ref);
	uint64_t used = 0;
	r = pool->pool->driver->used(pool->pool, place, &used, e);
	if (r < 0)
		return r;
	*ret_used = used;
	*ret_size = record_size(record);
	return 0;
}

int storage_volume_plan(
	struct storage *storage, const struct volume_ref *ref, json_t **ret, struct error *e)
{
	json_t *record;
	struct storage_pool *pool;
	int r = volume_find(storage, ref, &record, e);
	if (r == 0)
		r = pool_find(storage, ref->pool, &pool, e);
	if (r < 0)
		return r;
	cleanup(free) char *place = volume_place(ref);
	cleanup(free) char *path = pool_volume_path(pool->pool, place);
	cleanup(free) char *block = pool_block_path(pool->pool, place);
	if (volume_use_of(storage, ref) == VOLUME_BLOCK)
		*ret = json_pack("{ssss}", "type", "block", "path", block);
	else if (pool->pool->driver->stands_as(pool->pool, place) == VOLUME_IMAGE)
		*ret = json_pack("{ssssss}", "type", "image", "path", path, "fs", "ext4");
	else
		*ret = json_pack("{ssss}", "type", "directory", "path", path);
	return 0;
}

int storage_root_plan(
	struct storage *storage, const struct volume_ref *ref, json_t **ret, struct error *e)
{
	json_t *record;
	json_t *volume;
	int r = volume_find(storage, ref, &record, e);
	if (r == 0)
		r = storage_volume_plan(storage, ref, &volume, e);
	if (r < 0)
		return r;
	json_t *paths = json_array();
	size_t index;
	json_t *layer;
	json_array_foreach(json_object_get(record, "layers"), index, layer)
	{
		cleanup(free) char *path =
			images_layer_path(storage->service->images, json_string_value(layer));
		json_array_append_new(paths, json_string(path));
	}
	*ret = json_pack("{soso}", "layers", paths, "volume", volume);
	return 0;
}

struct dated {
	const char *name;
	const char *date;
};

static int compare_dates(const void *a, const void *b)
{
	return strcmp(((const struct dated *)a)->date, ((const struct dated *)b)->date);
}

json_t *storage_volume_snapshots(struct storage *storage, const struct volume_ref *ref)
{
	json_t *snapshots = json_object_get(volume_record(storage, ref), "snapshots");
	size_t count = json_object_size(snapshots), n = 0;
	cleanup(free) struct dated *sorted = alloc_array(count + 1, struct dated);
	const char *name;
	json_t *snapshot;
	json_object_foreach(snapshots, name, snapshot)
	{
		const char *date = json_text(snapshot, "created_at");
		sorted[n++] = (struct dated){ name, date ? date : "" };
	}
	qsort(sorted, n, sizeof(sorted[0]), compare_dates);
	json_t *names = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(names, json_string(sorted[i].name));
	return names;
}

int storage_pool_space(struct storage *storage, const char *name, uint64_t *ret_total,
	uint64_t *ret_free, struct error *e)
{
	struct storage_pool *pool;
	struct pool_space space;
	int r = pool_find(storage, name, &pool, e);
	if (r == 0)
		r = pool->pool->driver->space(pool->pool, &space, e);
	if (r < 0)
		return r;
	*ret_total = space.total_bytes;
	*ret_free = space.total_bytes - space.used_bytes;
	return 0;
}
