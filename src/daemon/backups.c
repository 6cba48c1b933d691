/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backups.c - an instance as one archive, and back.
 *
 * Archives are written and read by jobs. A running instance is packed from a snapshot that is made for it,
 * so that the archive is of one moment.
 */
#include "daemon/backups.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/create.h"
#include "daemon/events.h"
#include "daemon/images.h"
#include "daemon/job.h"
#include "daemon/remove.h"
#include "daemon/snapshots.h"
#include "daemon/storage.h"
#include "model/json.h"

#define BACKUPS_MAX     100 /* of one instance */
#define INDEX_BYTES_MAX MIB
#define NEVER           "0001-01-01T00:00:00Z"

struct packing {
	struct service *service;
	char *project, *instance, *name;
	char *snapshot; /* made for it; NULL if it did not run */
	json_t *record;
	char *compression;
	int code;
	struct error error;
	backup_done *done;
	void *data;
};

static char *backups_path(const char *project, const char *instance)
{
	return alloc_printf("backups/%s/%s", project, instance);
}

static char *part_name(const char *name)
{
	return alloc_printf(".%s.part", name);
}

static int backups_open_dir(struct service *service, const char *project, const char *instance,
	int *ret, struct error *e)
{
	cleanup(free) char *path = backups_path(project, instance);
	int r = file_make_dirs(service->dir, path, 0700);
	if (r < 0)
		return error_code(e, r, "make %s", path);
	int fd = openat(service->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "open %s", path);
	*ret = fd;
	return 0;
}

static size_t backup_index(const struct instance *instance, const char *name)
{
	size_t i = 0;
	while (i < json_array_size(instance->backups) &&
		!text_equal(json_text(json_array_get(instance->backups, i), "name"), name))
		i++;
	return i;
}

int backup_get(const struct instance *instance, const char *name, json_t **ret, struct error *e)
{
	json_t *backup = json_array_get(instance->backups, backup_index(instance, name));
	if (!backup)
		return error_set(e, -ENOENT, "Backup \"%s/%.80s\" not found", instance->name, name);
	*ret = backup;
	return 0;
}

static void backup_event(
	const struct instance *instance, const char *action, const char *name, json_t *context)
{
	cleanup(free) char *url =
		alloc_printf("/1.0/instances/%s/backups/%s", instance->name, name);
	events_lifecycle(instance->service, action, instance->project, url, context);
}

static int backup_store(const struct instance *instance, const json_t *record, struct error *e)
{
	cleanup(free) char *key = alloc_printf("%s/%s", instance->name, json_text(record, "name"));
	return store_put(instance->service->store, "backup", instance->project, key, record, e);
}

static int name_choose(
	const struct instance *instance, const char *name, char **ret, struct error *e)
{
	cleanup(free) char *chosen = name && name[0] ? alloc_text(name) : NULL;
	for (int i = 0; !chosen && i <= BACKUPS_MAX; i++) {
		cleanup(free) char *next = alloc_printf("backup%d", i);
		if (backup_index(instance, next) == json_array_size(instance->backups))
			chosen = TAKE_PTR(next);
	}
	int r = chosen ? spec_check_snapshot_name(chosen, e) : -EEXIST;
	if (r < 0)
		return r;
	if (backup_index(instance, chosen) < json_array_size(instance->backups))
		return error_set(
			e, -EEXIST, "Backup \"%s/%s\" already exists", instance->name, chosen);
	if (json_array_size(instance->backups) >= BACKUPS_MAX)
		return error_set(
			e, -EBUSY, "There are %d backups, which is the limit", BACKUPS_MAX);
	*ret = TAKE_PTR(chosen);
	return 0;
}

static void packing_free(struct packing *packing)
{
	free(packing->project);
	free(packing->instance);
	free(packing->name);
	free(packing->snapshot);
	free(packing->compression);
	json_decref(packing->record);
	free(packing);
}

static void packing_over(void *data, int code, const struct error *e)
{
	struct packing *packing = data;
	if (code < 0 && packing->code == 0)
		log_warning("the snapshot of a backup is left: %s", e->text);
	packing->done(packing->data, packing->code, &packing->error);
	packing_free(packing);
}

/* The archive is there, or is not; the snapshot that it was made of goes. */
static void packing_end(struct packing *packing, int code, const struct error *e)
{
	struct error error = {};
	struct instance *instance =
		instance_find(packing->service, packing->project, packing->instance);
	packing->code = code;
	if (e)
		packing->error = *e;
	int r = -ENOENT;
	if (instance && packing->snapshot)
		r = snapshot_delete(instance, packing->snapshot, packing_over, packing, &error);
	if (r < 0)
		packing_over(packing, packing->snapshot ? r : 0, &error);
}

static int archive_keep(struct packing *packing, struct error *e)
{
	struct instance *instance = NULL;
	cleanup(close) int dir = -1;
	cleanup(free) char *part = part_name(packing->name);
	int r = instance_get(packing->service, packing->project, packing->instance, &instance, e);
	if (r == 0)
		r = backups_open_dir(
			packing->service, packing->project, packing->instance, &dir, e);
	if (r < 0)
		return r;
	if (renameat(dir, part, dir, packing->name) < 0)
		return error_errno(e, "keep the archive");
	r = backup_store(instance, packing->record, e);
	if (r < 0)
		return r;
	json_array_append(instance->backups, packing->record);
	backup_event(instance, "instance-backup-created", packing->name, NULL);
	return 0;
}

static void packed(void *data, int code, json_t *result, const struct error *e)
{
	struct packing *packing = data;
	struct error error = {};
	(void)result;
	if (code == 0) {
		e = &error;
		code = archive_keep(packing, &error);
	}
	packing_end(packing, code, e);
}

/* What the instance was asked to be; what belongs to it alone is chosen anew at the import. */
static char *index_text(const struct instance *instance)
{
	static const char *const fields[] = { "name", "type", "description", "architecture",
		"config", "devices", "profiles", "ephemeral" };
	json_t *index = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		json_object_set(index, fields[i], json_object_get(instance->object, fields[i]));
	char *text = json_dumps(index, JSON_INDENT(1) | JSON_SORT_KEYS);
	json_decref(index);
	return text;
}

static int pack(struct packing *packing, struct instance *instance, struct error *e)
{
	struct volume_ref ref;
	json_t *root = NULL;
	cleanup(close) int dir = -1, archive = -1;
	cleanup(free) char *part = part_name(packing->name);
	instance_volume(instance, packing->snapshot, &ref);
	int r = storage_root_plan(packing->service->storage, &ref, &root, e);
	if (r < 0)
		return r;
	cleanup(free) char *text = index_text(instance);
	cleanup(json_decref) json_t *task = json_pack("{s:s, s:s, s:[{s:s, s:s}], s:[{s:s, s:o}]}",
		"task", "pack", "compression", packing->compression, "files", "name",
		"backup/meta/index.yaml", "text", text, "trees", "prefix", "backup/container",
		"root", root);
	r = backups_open_dir(packing->service, packing->project, packing->instance, &dir, e);
	if (r < 0)
		return r;
	archive = openat(dir, part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (archive < 0)
		return error_errno(e, "make the archive");
	return job_start(packing->service,
		&(struct job_options){ .task = TAKE_PTR(task),
			.fds = { archive },
			.fd_count = 1,
			.done = packed,
			.data = packing },
		NULL, e);
}

static void snapshot_taken(void *data, int code, const struct error *e)
{
	struct packing *packing = data;
	struct error error = {};
	struct instance *instance =
		instance_find(packing->service, packing->project, packing->instance);
	if (code == 0 && !instance)
		code = error_set(&error, -ENOENT, "The instance is gone");
	if (code == 0)
		code = pack(packing, instance, &error);
	if (code < 0)
		packing_end(packing, code, error.text[0] ? &error : e);
}

static int options_check(const struct instance *instance, const char *compression, struct error *e)
{
	static const char *const known[] = { "gzip", "zstd", "xz", "none" };
	(void)instance;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (text_equal(compression, known[i]))
			return 0;
	}
	return error_set(e, -EINVAL,
		"compression_algorithm: \"%.40s\" is none of gzip, zstd, xz, none", compression);
}

int backup_create(struct instance *instance, const struct backup_options *options,
	backup_done *done, void *data, char **ret, struct error *e)
{
	const char *compression =
		options->compression && options->compression[0] ? options->compression : "gzip";
	cleanup(free) char *name = NULL;
	char now[TEXT_TIME_SIZE];
	int r = options_check(instance, compression, e);
	if (r == 0)
		r = name_choose(instance, options->name, &name, e);
	if (r < 0)
		return r;
	struct packing *packing = alloc(struct packing);
	*packing = (struct packing){ .service = instance->service,
		.project = alloc_text(instance->project),
		.instance = alloc_text(instance->name),
		.name = alloc_text(name),
		.compression = alloc_text(compression),
		.done = done,
		.data = data };
	packing->record = json_pack("{s:s, s:s, s:s, s:b, s:b, s:b}", "name", name, "created_at",
		text_format_time(loop_wall_clock(), now), "expires_at",
		options->expires_at && options->expires_at[0] ? options->expires_at : NEVER,
		"instance_only", true, "container_only", true, "optimized_storage", false);
	if (instance->live) {
		cleanup(free) char *hex = text_random_hex(4);
		cleanup(free) char *snapshot = alloc_printf("backup-%s", hex);
		r = snapshot_create(instance, snapshot, NULL, false, snapshot_taken, packing,
			&packing->snapshot, e);
	} else {
		r = pack(packing, instance, e);
	}
	if (r < 0)
		packing_free(packing);
	else
		*ret = TAKE_PTR(name);
	return r;
}

int backup_delete(struct instance *instance, const char *name, struct error *e)
{
	json_t *backup = NULL;
	cleanup(close) int dir = -1;
	cleanup(free) char *key = alloc_printf("%s/%s", instance->name, name);
	int r = backup_get(instance, name, &backup, e);
	if (r == 0)
		r = backups_open_dir(instance->service, instance->project, instance->name, &dir, e);
	if (r < 0)
		return r;
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return error_errno(e, "remove the archive");
	r = store_remove(instance->service->store, "backup", instance->project, key, e);
	if (r < 0 && r != -ENOENT)
		return r;
	cleanup(free) char *kept = alloc_text(name);
	json_array_remove(instance->backups, backup_index(instance, name));
	backup_event(instance, "instance-backup-deleted", kept, NULL);
	return 0;
}

int backup_rename(
	struct instance *instance, const char *name, const char *new_name, struct error *e)
{
	json_t *backup = NULL;
	cleanup(close) int dir = -1;
	cleanup(free) char *chosen = NULL;
	cleanup(free) char *from = alloc_printf("%s/%s", instance->name, name);
	cleanup(free) char *to = alloc_printf("%s/%s", instance->name, new_name);
	int r = backup_get(instance, name, &backup, e);
	if (r == 0)
		r = name_choose(instance, new_name, &chosen, e);
	if (r == 0)
		r = backups_open_dir(instance->service, instance->project, instance->name, &dir, e);
	if (r == 0)
		r = store_rename(
			instance->service->store, "backup", instance->project, from, to, e);
	if (r < 0)
		return r;
	if (renameat(dir, name, dir, new_name) < 0)
		return error_errno(e, "rename the archive");
	json_set_text(backup, "name", new_name);
	r = backup_store(instance, backup, e);
	backup_event(instance, "instance-backup-renamed", new_name, NULL);
	return r;
}

int backup_open(const struct instance *instance, const char *name, int *ret, struct error *e)
{
	json_t *backup = NULL;
	cleanup(close) int dir = -1;
	int r = backup_get(instance, name, &backup, e);
	if (r == 0)
		r = backups_open_dir(instance->service, instance->project, instance->name, &dir, e);
	if (r < 0)
		return r;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return error_errno(e, "open the archive");
	*ret = fd;
	backup_event(instance, "instance-backup-retrieved", name, NULL);
	return 0;
}

/* From an archive to an instance: its index is read, the instance made, its root filled. */
struct import {
	struct service *service;
	char *project, *name, *pool;
	char *stage;   /* in tmp/ */
	json_t *index; /* what the instance shall be */
	char *layer;   /* of a microVM: what its disk stands on */
	int archive;
	struct instance *instance;
	int code;
	struct error error;
	backup_done *done;
	void *data;
};

static void import_free(struct import *import)
{
	if (import->stage && file_remove_tree(import->service->tmp_dir, import->stage) < 0)
		log_error("not removed tmp/%s", import->stage);
	if (import->archive >= 0)
		close(import->archive);
	free(import->project);
	free(import->name);
	free(import->pool);
	free(import->stage);
	free(import->layer);
	json_decref(import->index);
	free(import);
}

static void import_end(struct import *import, int code, const struct error *e)
{
	import->done(import->data, code, e);
	import_free(import);
}

static void import_discarded(void *data, int code, const struct error *e)
{
	struct import *import = data;
	if (code < 0)
		log_error("a half imported instance is left: %s", e->text);
	import_end(import, import->code, &import->error);
}

static void root_filled(void *data, int code, json_t *result, const struct error *e)
{
	struct import *import = data;
	struct error error = {};
	(void)result;
	instance_release(import->instance);
	if (code == 0) {
		import_end(import, 0, NULL);
		return;
	}
	import->code = code;
	import->error = *e;
	int r = instance_remove(import->instance, import_discarded, import, &error);
	if (r < 0)
		import_discarded(import, r, &error);
}

static int root_fill(struct import *import, struct error *e)
{
	struct volume_ref ref;
	json_t *volume = NULL;
	instance_volume(import->instance, NULL, &ref);
	if (lseek(import->archive, 0, SEEK_SET) < 0) /* the job before has read it */
		return error_errno(e, "read the archive again");
	int r = instance_claim(import->instance, "importing", e);
	if (r < 0)
		return r;
	r = storage_volume_plan(import->service->storage, &ref, &volume, e);
	if (r == 0)
		r = job_start(import->service,
			&(struct job_options){ .task = json_pack("{s:s, s:s, s:s, s:o}", "task",
						       "unpack", "prefix", "backup/container",
						       "below", "rootfs", "volume", volume),
				.fds = { import->archive },
				.fd_count = 1,
				.done = root_filled,
				.data = import },
			NULL, e);
	if (r < 0)
		instance_release(import->instance);
	return r;
}

static void instance_made(void *data, struct instance *instance, int code, const struct error *e)
{
	struct import *import = data;
	struct error error = {};
	if (code < 0) {
		import_end(import, code, e);
		return;
	}
	import->instance = instance;
	import->code = root_fill(import, &error);
	if (import->code == 0)
		return;
	import->error = error;
	int r = instance_remove(instance, import_discarded, import, &error);
	if (r < 0)
		import_discarded(import, r, &error);
}

/* In another pool: the root is a device of its own then. */
static void pool_apply(json_t *index, const char *pool)
{
	json_t *devices = json_object_get(index, "devices");
	if (!json_is_object(devices)) {
		devices = json_object();
		json_object_set_new(index, "devices", devices);
	}
	json_object_set_new(devices, "root",
		json_pack("{s:s, s:s, s:s}", "type", "disk", "path", "/", "pool", pool));
}

/* A name that no image gives: the archive's word for what it holds is not taken. */
static int layer_use(struct import *import, struct error *e)
{
	struct instance *instance = NULL;
	cleanup(free) char *from = alloc_printf("%s/layer", import->stage);
	cleanup(free) char *to = images_layer_path(import->service->images, import->layer);
	cleanup(json_decref) json_t *layers = json_pack("[s]", import->layer);
	if (renameat(import->service->tmp_dir, from, AT_FDCWD, to) < 0)
		return error_errno(e, "name the layer");
	/* The volume's record names the layer before the next sweep. */
	return instance_create_on(import->service, import->project, import->index, layers,
		instance_made, import, &instance, e);
}

static void layer_unpacked(void *data, int code, json_t *result, const struct error *e)
{
	struct import *import = data;
	struct error error = {};
	(void)result;
	if (code == 0) {
		code = layer_use(import, &error);
		e = &error;
	}
	if (code < 0)
		import_end(import, code, e);
}

static int layer_unpack(struct import *import, struct error *e)
{
	cleanup(free) char *path =
		alloc_printf("%s/tmp/%s/layer", import->service->dir_path, import->stage);
	import->layer = text_random_hex(32);
	if (mkdir(path, 0755) < 0 || lseek(import->archive, 0, SEEK_SET) < 0)
		return error_errno(e, "make room for the layer");
	return job_start(import->service,
		&(struct job_options){
			.task = json_pack("{s:s, s:s, s:{s:s, s:s}}", "task", "unpack", "prefix",
				"backup/container", "volume", "type", "directory", "path", path),
			.fds = { import->archive },
			.fd_count = 1,
			.done = layer_unpacked,
			.data = import },
		NULL, e);
}

static int index_use(struct import *import, struct error *e)
{
	cleanup(free) char *path = alloc_printf("%s/index.yaml", import->stage);
	cleanup(free) char *text = NULL;
	cleanup(json_decref) json_t *index = NULL;
	size_t length;
	struct instance *instance = NULL;
	int r = file_read(import->service->tmp_dir, path, INDEX_BYTES_MAX, &text, &length, e);
	if (r < 0)
		return error_set(e, -EINVAL, "the archive is no backup that berth made");
	r = json_parse(text, length, &index, e);
	if (r < 0)
		return error_prefix(e, r, "the backup's index.yaml");
	if (!json_is_object(index))
		return error_set(e, -EINVAL, "the backup's index.yaml: is no object");
	if (import->name && import->name[0])
		json_set_text(index, "name", import->name);
	if (import->pool && import->pool[0])
		pool_apply(index, import->pool);
	json_object_set_new(index, "source", json_pack("{s:s}", "type", "none"));
	import->index = TAKE_PTR(index);
	if (text_equal(json_text(import->index, "type"), "microvm"))
		return layer_unpack(import, e);
	return instance_create(import->service, import->project, import->index, instance_made,
		import, &instance, e);
}

static void index_unpacked(void *data, int code, json_t *result, const struct error *e)
{
	struct import *import = data;
	struct error error = {};
	(void)result;
	if (code == 0) {
		code = index_use(import, &error);
		e = &error;
	}
	if (code < 0)
		import_end(import, code, e);
}

int backup_import(struct service *service, const char *project, int fd, const char *name,
	const char *pool, backup_done *done, void *data, struct error *e)
{
	cleanup(free) char *hex = text_random_hex(8);
	struct import *import = alloc(struct import);
	*import = (struct import){ .service = service,
		.project = alloc_text(project),
		.name = alloc_text(name),
		.pool = alloc_text(pool),
		.stage = alloc_printf("import-%s", hex),
		.archive = fcntl(fd, F_DUPFD_CLOEXEC, 3),
		.done = done,
		.data = data };
	cleanup(free) char *path = alloc_printf("%s/tmp/%s", service->dir_path, import->stage);
	int r = file_make_dirs(service->tmp_dir, import->stage, 0700);
	if (r < 0)
		error_code(e, r, "make tmp/%s", import->stage);
	else if (import->archive < 0)
		r = error_errno(e, "keep the archive");
	if (r == 0)
		r = job_start(service,
			&(struct job_options){ .task = json_pack("{s:s, s:s, s:{s:s, s:s}}", "task",
						       "unpack", "prefix", "backup/meta", "volume",
						       "type", "directory", "path", path),
				.fds = { import->archive },
				.fd_count = 1,
				.done = index_unpacked,
				.data = import },
			NULL, e);
	if (r < 0)
		import_free(import);
	return r;
}

static void expire_one(void *data, struct instance *instance)
{
	const char *now = data;
	for (size_t i = json_array_size(instance->backups); i > 0; i--) {
		const json_t *backup = json_array_get(instance->backups, i - 1);
		const char *expires = json_text(backup, "expires_at");
		struct error e = {};
		if (!expires || !expires[0] || text_starts(expires, "0001-") ||
			strncmp(expires, now, strlen("2000-01-01T00:00:00")) > 0)
			continue;
		cleanup(free) char *name = alloc_text(json_text(backup, "name"));
		if (backup_delete(instance, name, &e) < 0)
			log_error("an expired backup is left instance=%s: %s", instance->name,
				e.text);
	}
}

void backups_expire(struct service *service)
{
	char now[TEXT_TIME_SIZE];
	text_format_time(loop_wall_clock(), now);
	instances_each(service, NULL, expire_one, now);
}
