/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start.c - pools opened at start and what a killed daemon left half done put right; pools made and
 * removed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/job.h"
#include "daemon/storage/pools.h"
#include "daemon/storage/replace.h"
#include "daemon/storage/storage.h"
#include "model/json.h"

#define DEFAULT_POOL_NAME "default"

static struct storage_pool *pool_new(struct storage *storage, const char *name, json_t *record)
{
	struct storage_pool *pool = alloc(struct storage_pool);
	pool->name = alloc_text(name);
	pool->record = record;
	struct storage_pool **end = &storage->pools;
	while (*end)
		end = &(*end)->next;
	*end = pool;
	return pool;
}

static void storage_pool_free(struct storage_pool *pool)
{
	free(pool->name);
	json_decref(pool->record);
	pool_free(pool->pool);
	free(pool);
}

static void drop_pool(struct storage *storage, struct storage_pool *pool)
{
	for (struct storage_pool **at = &storage->pools; *at; at = &(*at)->next)
		if (*at == pool) {
			*at = pool->next;
			break;
		}
	storage_pool_free(pool);
}

static void swept(void *data, int code, json_t *result, const struct error *e)
{
	(void)data;
	(void)result;
	if (code < 0)
		log_warning("sweep a pool: %s", e->text);
}

/* What was removed or copied when we were killed lies in these. */
static void sweep(struct storage *storage, struct storage_pool *pool)
{
	cleanup(close) int home = open(pool->pool->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct error e = {};
	static const char *const places[] = { ".half", ".removed" };
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		cleanup(free) char *old = alloc_printf("%s.old", places[i]);
		/* Aside first, so that new work is not swept. */
		bool is_there = faccessat(home, old, F_OK, 0) == 0 ||
			renameat(home, places[i], home, old) == 0;
		(void)!mkdirat(home, places[i], 0700);
		if (!is_there)
			continue;
		const struct job_options options = {
			.task = json_pack("{sss[s]}", "task", "remove", "names", old),
			.fds = { home },
			.fd_count = 1,
			.done = swept,
		};
		if (job_start(storage->service, &options, NULL, &e) < 0)
			log_warning("sweep the pool %s: %s", pool->name, e.text);
	}
}

static int open_pool(void *data, const char *project, const char *name, const json_t *object)
{
	struct storage *storage = data;
	(void)project;
	struct storage_pool *pool =
		pool_new(storage, name, json_deep_copy((json_t *)(uintptr_t)object));
	const char *driver_name = json_text(object, "driver");
	const struct pool_driver *driver = driver_name ? pools_find_driver(driver_name) : NULL;
	cleanup(free) char *home = pool_home(storage, name);
	int r = driver ? pools_open(driver, home, &pool->pool, &pool->why)
		       : error_set(&pool->why, -EINVAL, "there is no driver \"%s\"", driver_name);
	/* One pool that is gone must not stop the others, nor the instances on them. */
	if (r < 0)
		log_error("open storage pool name=%s: %s", name, pool->why.text);
	else if (driver->name[0] != 'b')
		sweep(storage, pool);
	return 0;
}

static void removed(void *data, int code, const struct error *e)
{
	(void)data;
	if (code < 0)
		log_warning("remove what was left half done: %s", e->text);
}

static void remove_again(struct storage *storage, const struct volume_ref *ref)
{
	struct error e = {};
	if (storage_volume_delete(storage, ref, removed, NULL, &e) < 0)
		log_warning("remove what was left half done: %s", e.text);
}

static void mend_snapshots(struct storage *storage, const struct volume_ref *ref, json_t *record)
{
	const char *name;
	json_t *snapshot;
	void *next;
	json_t *snapshots = json_object_get(record, "snapshots");
	json_object_foreach_safe(snapshots, next, name, snapshot)
	{
		struct volume_ref one = *ref;
		one.snapshot = name;
		if (json_text(snapshot, "state"))
			remove_again(storage, &one);
	}
}

/* Where the archives of volumes were first, an instance of the pool's name has its own. */
static void move_backups(
	struct storage *storage, const struct volume_ref *ref, const json_t *record)
{
	int dir = storage->service->dir;
	cleanup(free) char *old =
		alloc_printf("backups/%s/%s/%s", ref->project, ref->pool, ref->name);
	cleanup(free) char *place = volume_backups_place(ref);
	cleanup(free) char *parent = alloc_text_n(place, (size_t)(strrchr(place, '/') - place));
	if (json_object_size(json_object_get(record, "backups")) == 0 ||
		faccessat(dir, place, F_OK, 0) == 0)
		return;
	if (file_make_dirs(dir, parent, 0700) < 0 ||
		(renameat(dir, old, dir, place) < 0 && errno != ENOENT))
		log_error("archives stay at %s", old);
}

/* Made or removed half-way: goes. Replaced half-way: the old content stays, or the new one gets its name. */
static void mend_volume(void *data, const struct volume_ref *ref, json_t *record)
{
	struct storage *storage = data;
	struct storage_pool *pool;
	if (pool_find(storage, ref->pool, &pool, NULL) < 0)
		return;
	if (json_text(record, "state")) {
		remove_again(storage, ref);
		return;
	}
	const char *name = json_text(record, RENAMING);
	struct error e = {};
	if (name) {
		storage_rename_mend(storage, pool, ref, name);
		json_object_del(record, RENAMING);
		if (volume_record_put(storage, ref, record, &e) < 0)
			log_error("volume pool=%s name=%s: %s", ref->pool, ref->name, e.text);
	}
	move_backups(storage, ref, record);
	if (storage_replace_mend(storage, pool, ref, record, &e) < 0)
		log_error("volume pool=%s name=%s: %s", ref->pool, ref->name, e.text);
	mend_snapshots(storage, ref, record);
}

static int make_first_pool(struct storage *storage, const char *driver_name, struct error *e)
{
	cleanup(free) char *home = pool_home(storage, DEFAULT_POOL_NAME);
	int r = file_remove_tree(AT_FDCWD, home);
	if (r == 0 && mkdir(home, 0711) < 0)
		r = -errno;
	if (r < 0)
		return error_code(e, r, "make %s", home);
	struct error why_not = {};
	bool is_auto = !driver_name || !*driver_name || text_equal(driver_name, "auto");
	const struct pool_driver *driver =
		is_auto ? pools_choose(home, &why_not) : pools_find_driver(driver_name);
	if (!driver)
		return error_set(e, -EINVAL, "there is no storage driver \"%s\"", driver_name);
	if (why_not.text[0])
		log_info("storage driver=%s because %s", driver->name, why_not.text);
	struct pool *pool;
	r = pools_make(driver, home, &(struct pool_options){}, &pool, e);
	/* It looked well and was not: the plainest always works. */
	if (r < 0 && is_auto) {
		log_warning("make a %s pool: %s", driver->name, e->text);
		driver = pools_find_driver("loop");
		r = pools_make(driver, home, &(struct pool_options){}, &pool, e);
	}
	if (r < 0)
		return r;
	struct storage_pool *first = pool_new(storage, DEFAULT_POOL_NAME,
		json_pack("{sssss{}}", "driver", driver->name, "description", "", "config"));
	first->pool = pool;
	return pool_record_put(storage, first, e);
}

int storage_open(struct service *service, const char *driver, struct storage **ret, struct error *e)
{
	cleanup(storage_close) struct storage *storage = alloc(struct storage);
	storage->service = service;
	storage->volumes = json_object();
	int r = store_each(service->store, "pool", NULL, open_pool, storage, e);
	if (r == 0)
		r = volumes_load(storage, e);
	if (r == 0 && !storage->pools)
		r = make_first_pool(storage, driver, e);
	if (r < 0)
		return r;
	volumes_each(storage, mend_volume, storage);
	*ret = TAKE_PTR(storage);
	return 0;
}

void storage_close(struct storage *storage)
{
	if (!storage)
		return;
	while (storage->pools) {
		struct storage_pool *next = storage->pools->next;
		storage_pool_free(storage->pools);
		storage->pools = next;
	}
	json_decref(storage->volumes);
	free(storage);
}

struct pool_work {
	struct storage *storage;
	char *name;
	const struct pool_driver *driver;
	json_t *record;
	storage_done *done;
	void *data;
};

static void pool_made(void *data, int code, json_t *result, const struct error *e)
{
	struct pool_work *work = data;
	struct error why = *e;
	(void)result;
	cleanup(free) char *home = pool_home(work->storage, work->name);
	struct pool *pool = NULL;
	int r = code < 0 ? code : pools_open(work->driver, home, &pool, &why);
	if (r == 0) {
		struct storage_pool *made =
			pool_new(work->storage, work->name, json_incref(work->record));
		made->pool = pool;
		r = pool_record_put(work->storage, made, &why);
		if (r < 0)
			drop_pool(work->storage, made);
	}
	if (r < 0)
		(void)!file_remove_tree(AT_FDCWD, home);
	work->done(work->data, r, &why);
	json_decref(work->record);
	free(work->name);
	free(work);
}

static int check_options(
	const struct pool_driver *driver, const char *home, uint64_t size_bytes, struct error *e)
{
	if (size_bytes && !text_equal(driver->name, "btrfs"))
		return error_set(e, -EINVAL,
			"config.size: a %s pool is as large as the file system it is on",
			driver->name);
	/* Plain directories are taken without sizes, too. */
	return text_equal(driver->name, "dir") ? 0 : driver->probe(home, e);
}

int pool_create(struct storage *storage, const char *name, const struct pool_driver *driver,
	uint64_t size_bytes, json_t *record, storage_done *done, void *data, struct error *e)
{
	for (struct storage_pool *pool = storage->pools; pool; pool = pool->next)
		if (text_equal(pool->name, name))
			return error_set(e, -EEXIST, "the storage pool \"%s\" exists", name);
	cleanup(free) char *pools = alloc_printf("%s/pools", storage->service->dir_path);
	int r = check_options(driver, pools, size_bytes, e);
	if (r < 0)
		return r;
	cleanup(free) char *home = pool_home(storage, name);
	/* Without a record it is what a killed daemon left; or another request is making it. */
	if (mkdir(home, 0711) < 0)
		return error_errno(e, "make %s", home);
	struct pool_work *work = alloc(struct pool_work);
	*work = (struct pool_work){ .storage = storage,
		.name = alloc_text(name),
		.driver = driver,
		.record = json_incref(record),
		.done = done,
		.data = data };
	const struct job_options options = {
		.task = json_pack("{sssss{ssss}sI}", "task", "volume", "operation", "make-pool",
			"pool", "driver", driver->name, "home", home, "size",
			(json_int_t)size_bytes),
		.done = pool_made,
		.data = work,
	};
	r = job_start(storage->service, &options, NULL, e);
	if (r < 0) {
		rmdir(home);
		json_decref(work->record);
		free(work->name);
		free(work);
	}
	return r;
}

struct users {
	const char *pool;
	unsigned count;
};

static void count_user(void *data, const struct volume_ref *ref, json_t *record)
{
	struct users *users = data;
	(void)record;
	users->count += text_equal(ref->pool, users->pool);
}

int pool_delete(struct storage *storage, const char *name, struct error *e)
{
	struct storage_pool *pool = storage->pools;
	while (pool && !text_equal(pool->name, name))
		pool = pool->next;
	if (!pool)
		return error_set(e, -ENOENT, "the storage pool \"%s\" does not exist", name);
	struct users users = { .pool = name };
	volumes_each(storage, count_user, &users);
	cleanup(json_decref) json_t *used_by =
		used_by_list(storage->service, "storage-pool", "default", name);
	if (users.count + json_array_size(used_by) > 0)
		return error_set(e, -EINVAL, "The storage pool is currently in use");
	cleanup(free) char *home = pool_home(storage, name);
	int r = pool->pool ? pool->pool->driver->destroy(pool->pool, e) : 0;
	if (r == 0)
		r = store_remove(storage->service->store, "pool", "", name, e);
	if (r < 0)
		return r;
	drop_pool(storage, pool);
	r = file_remove_tree(AT_FDCWD, home);
	return r < 0 ? error_code(e, r, "remove %s", home) : 0;
}
