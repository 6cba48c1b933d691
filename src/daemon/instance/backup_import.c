/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backup_import.c - from an archive to an instance: its index is read, the instance made, its root filled.
 *
 * Each snapshot is unpacked into the new volume and a snapshot taken of it, oldest first; the root comes last.
 * Until then the instance is half made: who fails or is killed on the way leaves nothing.
 */
#include "daemon/instance/backups.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/image/images.h"
#include "daemon/instance/backup_index.h"
#include "daemon/instance/create.h"
#include "daemon/instance/volume.h"
#include "daemon/job.h"
#include "daemon/storage/storage.h"
#include "model/json.h"

#define TOLD_BYTES_MAX (16 * MIB)
#define ROOM_BYTES     (8 * MIB) /* what a file system wants for itself */

struct import {
	struct service *service;
	char *project, *name, *pool;
	char *stage; /* in tmp/ */
	struct backup_index index;
	char *layer; /* of a microVM: what its disk stands on */
	int archive;
	int told; /* what the job wrote of the index */
	struct instance *instance;
	struct creation *creation;
	size_t next_snapshot;
	backup_done *done;
	void *data;
};

static void import_free(struct import *import)
{
	if (import->stage && file_remove_tree(import->service->tmp_dir, import->stage) < 0)
		log_error("not removed tmp/%s", import->stage);
	if (import->archive >= 0)
		close(import->archive);
	if (import->told >= 0)
		close(import->told);
	free(import->project);
	free(import->name);
	free(import->pool);
	free(import->stage);
	free(import->layer);
	backup_index_done(&import->index);
	free(import);
}

static void import_end(struct import *import, int code, const struct error *e)
{
	import->done(import->data, code, e);
	import_free(import);
}

static void instance_made(void *data, struct instance *instance, int code, const struct error *e)
{
	(void)instance;
	import_end(data, code, e);
}

static void fill_next(struct import *import);

static void snapshot_made(void *data, int code, const struct error *e)
{
	struct import *import = data;
	struct instance *instance = import->instance;
	struct error error = {};
	json_t *snapshot = json_array_get(import->index.snapshots, import->next_snapshot);
	if (code == 0) {
		cleanup(free) char *key =
			alloc_printf("%s/%s", instance->name, json_text(snapshot, "name"));
		code = store_put(instance->service->store, "snapshot", instance->project, key,
			snapshot, &error);
		e = &error;
	}
	if (code < 0) {
		creation_filled(import->creation, code, e);
		return;
	}
	json_array_append(instance->snapshots, snapshot);
	import->next_snapshot++;
	fill_next(import);
}

static void filled(void *data, int code, json_t *result, const struct error *e)
{
	struct import *import = data;
	struct error error = {};
	struct volume_ref from, to;
	const json_t *snapshot = json_array_get(import->index.snapshots, import->next_snapshot);
	(void)result;
	if (code < 0 || !snapshot) {
		creation_filled(import->creation, code, e);
		return;
	}
	instance_volume(import->instance, NULL, &from);
	instance_volume(import->instance, json_text(snapshot, "name"), &to);
	code = storage_volume_copy(
		import->service->storage, &from, &to, 0, snapshot_made, import, &error);
	if (code < 0)
		creation_filled(import->creation, code, &error);
}

/* The next snapshot, or after the last the root. */
static void fill_next(struct import *import)
{
	struct volume_ref ref;
	struct error e = {};
	json_t *volume = NULL;
	const json_t *snapshot = json_array_get(import->index.snapshots, import->next_snapshot);
	cleanup(free) char *prefix = backup_prefix(import->instance->kind, import->index.is_old,
		snapshot ? json_text(snapshot, "name") : NULL);
	instance_volume(import->instance, NULL, &ref);
	int r = storage_volume_plan(import->service->storage, &ref, &volume, &e);
	if (r == 0 && lseek(import->archive, 0, SEEK_SET) < 0) /* the job before has read it */
		r = error_errno(&e, "read the archive again");
	if (r == 0)
		r = job_start(import->service,
			&(struct job_options){
				.task = json_pack("{s:s, s:s, s:s, s:b, s:O}", "task", "unpack",
					"prefix", prefix, "below", "rootfs", "clean",
					import->next_snapshot > 0, "volume", volume),
				.fds = { import->archive },
				.fd_count = 1,
				.done = filled,
				.data = import },
			NULL, &e);
	json_decref(volume);
	if (r < 0)
		creation_filled(import->creation, r, &e);
}

/* What a snapshot's profiles made of it is shown; a profile that is gone since adds nothing. */
static void snapshots_expand(struct import *import)
{
	size_t i;
	json_t *snapshot;
	json_array_foreach(import->index.snapshots, i, snapshot)
	{
		const json_t *own = json_object_get(snapshot, "config");
		const json_t *devices = json_object_get(snapshot, "devices");
		json_t *config = NULL, *all = NULL;
		if (instances_expand_of(import->service, import->project,
			    json_object_get(snapshot, "profiles"), own, devices, &config, &all,
			    NULL) < 0) {
			config = json_deep_copy(own);
			all = json_deep_copy(devices);
		}
		json_object_set_new(snapshot, "expanded_config", config);
		json_object_set_new(snapshot, "expanded_devices", all);
	}
}

static void fill(void *data, struct instance *instance, struct creation *creation)
{
	struct import *import = data;
	import->instance = instance;
	import->creation = creation;
	snapshots_expand(import);
	fill_next(import);
}

static int make_instance(struct import *import, json_t *layers, struct error *e)
{
	struct instance *instance = NULL;
	const struct create_more more = {
		.layers = layers, .templates = import->index.templates, .fill = fill
	};
	return instance_create_with(import->service, import->project, import->index.body, &more,
		instance_made, import, &instance, e);
}

/* In another pool: the root is a device of its own then. */
static void pool_apply(json_t *body, const char *pool)
{
	json_object_set_new(json_object_get(body, "devices"), "root",
		json_pack("{s:s, s:s, s:s}", "type", "disk", "path", "/", "pool", pool));
}

/*
 * A container's size counts what it has beyond its image, and in an archive there is no image: who fills his size would
 * not get his backup back. So the root is as much larger as the archive's.
 */
static int room_make(struct import *import, struct error *e)
{
	json_t *body = import->index.body, *config = NULL, *all = NULL;
	cleanup(devices_done) struct devices devices = {};
	uint64_t needed = import->index.root_bytes + import->index.root_bytes / 16 + ROOM_BYTES;
	int r = instances_expand_of(import->service, import->project,
		json_object_get(body, "profiles"), json_object_get(body, "config"),
		json_object_get(body, "devices"), &config, &all, e);
	if (r < 0)
		return r;
	r = devices_read(all, &devices, e);
	const struct disk_device *root = r < 0 ? NULL : devices_root(&devices);
	if (root && root->size_bytes && root->size_bytes < needed) {
		json_t *own = json_deep_copy(json_object_get(all, root->device));
		json_object_set_new(own, "size",
			json_sprintf("%jdMiB", (intmax_t)((root->size_bytes + needed) / MIB + 1)));
		json_object_set_new(json_object_get(body, "devices"), root->device, own);
	}
	json_decref(config);
	json_decref(all);
	return r;
}

/* A name that no image gives: the archive's word for what it holds is not taken. */
static int layer_use(struct import *import, struct error *e)
{
	cleanup(free) char *from = alloc_printf("%s/layer", import->stage);
	cleanup(free) char *to = images_layer_path(import->service->images, import->layer);
	cleanup(json_decref) json_t *layers = json_pack("[s]", import->layer);
	if (renameat(import->service->tmp_dir, from, AT_FDCWD, to) < 0)
		return error_errno(e, "name the layer");
	/* The volume's record names the layer before the next sweep. */
	return make_instance(import, layers, e);
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
				import->index.is_old ? "backup/container"
						     : "backup/virtual-machine",
				"volume", "type", "directory", "path", path),
			.fds = { import->archive },
			.fd_count = 1,
			.done = layer_unpacked,
			.data = import },
		NULL, e);
}

static int index_use(struct import *import, struct error *e)
{
	cleanup(json_decref) json_t *told = NULL;
	int r = backup_told_read(import->told, TOLD_BYTES_MAX, &told, e);
	if (r == 0)
		r = backup_index_read(told, &import->index, e);
	if (r < 0)
		return r;
	json_t *body = import->index.body;
	if (import->name && import->name[0])
		json_set_text(body, "name", import->name);
	if (import->pool && import->pool[0])
		pool_apply(body, import->pool);
	json_object_set_new(body, "source", json_pack("{s:s}", "type", "none"));
	if (text_equal(json_text(body, "type"), "microvm"))
		return layer_unpack(import, e);
	if (text_equal(json_text(body, "type"), "container")) {
		r = room_make(import, e);
		if (r < 0)
			return r;
	}
	return make_instance(import, NULL, e);
}

static void index_told(void *data, int code, json_t *result, const struct error *e)
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
		.told = memfd_create("index", MFD_CLOEXEC),
		.done = done,
		.data = data };
	cleanup(close) int stage = -1;
	int r = file_make_dirs(service->tmp_dir, import->stage, 0700);
	if (r == 0)
		stage = openat(service->tmp_dir, import->stage, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r < 0)
		error_code(e, r, "make tmp/%s", import->stage);
	else if (stage < 0 || import->archive < 0 || import->told < 0)
		r = error_errno(e, "keep the archive");
	if (r == 0)
		r = job_start(service,
			&(struct job_options){ .task = json_pack("{s:s}", "task", "backup-index"),
				.fds = { import->archive, stage, import->told },
				.fd_count = 3,
				.done = index_told,
				.data = import },
			NULL, e);
	if (r < 0)
		import_free(import);
	return r;
}
