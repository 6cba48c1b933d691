/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backups.c - an instance as one archive, and back.
 *
 * Archives are written and read by jobs. A running instance is packed from a snapshot that is made for it,
 * so that the archive is of one moment.
 */
#include "daemon/instance/backups.h"
#include "daemon/instance/backup_index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/events.h"
#include "daemon/instance/snapshots.h"
#include "daemon/instance/turn.h"
#include "daemon/instance/volume.h"
#include "daemon/job.h"
#include "daemon/storage/storage.h"
#include "model/json.h"

#define BACKUPS_MAX      100 /* of one instance */
#define SNAPSHOT_LIFE_NS (UINT64_C(24) * 3600 * NS_PER_SEC)
#define NEVER            "0001-01-01T00:00:00Z"

struct packing {
	struct service *service;
	char *project, *instance, *name;
	char *snapshot; /* made for it; NULL if it did not run */
	bool with_snapshots;
	bool is_claimed, is_counted; /* the instance keeps its snapshots meanwhile */
	json_t *record;
	char *compression;
	int archive; /* has no name before it is whole */
	int code;
	struct error error;
	backup_done *done;
	void *data;
};

static char *backups_path(const char *project, const char *instance)
{
	return alloc_printf("backups/%s/%s", project, instance);
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
	if (packing->archive >= 0)
		close(packing->archive);
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
	if (instance && packing->is_claimed)
		instance_release(instance);
	if (instance && packing->is_counted)
		instance_export_ended(instance);
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
	char from[40];
	int r = instance_get(packing->service, packing->project, packing->instance, &instance, e);
	if (r == 0)
		r = backups_open_dir(
			packing->service, packing->project, packing->instance, &dir, e);
	if (r < 0)
		return r;
	snprintf(from, sizeof(from), "/proc/self/fd/%d", packing->archive);
	if (linkat(AT_FDCWD, from, dir, packing->name, AT_SYMLINK_FOLLOW) < 0)
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

static void add_file(json_t *files, const char *name, char *text)
{
	if (text)
		json_array_append_new(files, json_pack("{s:s, s:s}", "name", name, "text", text));
	free(text);
}

/* The templates' files, one each, beside metadata.yaml. */
static void add_templates(json_t *files, const struct instance *instance)
{
	const char *path;
	json_t *template;
	add_file(files, "backup/container/metadata.yaml", backup_metadata_write(instance));
	json_object_foreach(json_object_get(instance->object, "templates"), path, template)
	{
		const char *file = json_text(template, "template");
		cleanup(free) char *name =
			file ? alloc_printf("backup/container/templates/%s", file) : NULL;
		if (name)
			add_file(files, name, alloc_text(json_text(template, "content") ?: ""));
	}
}

static json_t *files_of(const struct packing *packing, const struct instance *instance)
{
	json_t *files = json_array();
	char *index, *config;
	bool is_machine = instance->kind->can & KIND_IS_MACHINE;
	backup_index_write(instance, packing->with_snapshots, packing->snapshot, &index, &config);
	add_file(files, "backup/index.yaml", index);
	add_file(files,
		is_machine ? "backup/virtual-machine/backup.yaml" : "backup/container/backup.yaml",
		config);
	add_templates(files, instance);
	return files;
}

/* `snapshot` NULL: the root itself, from the snapshot that was made of it. */
static int add_tree(json_t *trees, struct packing *packing, struct instance *instance,
	const char *snapshot, struct error *e)
{
	struct volume_ref ref;
	json_t *root = NULL;
	instance_volume(instance, snapshot ?: packing->snapshot, &ref);
	int r = storage_root_plan(packing->service->storage, &ref, &root, e);
	if (r < 0)
		return r;
	/* A machine's snapshots are disks; what they stand on goes with the root. */
	if (snapshot && (instance->kind->can & KIND_IS_MACHINE))
		json_object_del(root, "layers");
	cleanup(free) char *prefix = backup_prefix(instance->kind, false, snapshot);
	json_array_append_new(trees, json_pack("{s:s, s:o}", "prefix", prefix, "root", root));
	return 0;
}

static int trees_of(
	struct packing *packing, struct instance *instance, json_t *trees, struct error *e)
{
	const json_t *snapshots = packing->with_snapshots ? instance->snapshots : NULL;
	for (size_t i = 0; i < json_array_size(snapshots); i++) {
		const char *name = json_text(json_array_get(snapshots, i), "name");
		if (text_equal(name, packing->snapshot))
			continue;
		int r = add_tree(trees, packing, instance, name, e);
		if (r < 0)
			return r;
	}
	return add_tree(trees, packing, instance, NULL, e);
}

static int pack(struct packing *packing, struct instance *instance, struct error *e)
{
	cleanup(json_decref) json_t *trees = json_array();
	cleanup(close) int dir = -1;
	int r = trees_of(packing, instance, trees, e);
	if (r == 0)
		r = backups_open_dir(
			packing->service, packing->project, packing->instance, &dir, e);
	if (r < 0)
		return r;
	packing->archive = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (packing->archive < 0)
		return error_errno(e, "make the archive");
	json_t *task = json_pack("{s:s, s:s, s:o, s:O}", "task", "pack", "compression",
		packing->compression, "files", files_of(packing, instance), "trees", trees);
	return job_start(packing->service,
		&(struct job_options){ .task = task,
			.fds = { packing->archive },
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
	if (code == 0) {
		instance->exports++;
		packing->is_counted = true;
		code = pack(packing, instance, &error);
	}
	if (code < 0)
		packing_end(packing, code, error.text[0] ? &error : e);
}

static int options_check(const struct instance *instance, const char *compression, struct error *e)
{
	static const char *const known[] = { "gzip", "zstd", "xz", "none" };
	if (instance->kind->can & KIND_IS_SERVER)
		return error_set(e, -EOPNOTSUPP,
			"The disk of a server is not on this host: take a snapshot, and publish that");
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
		.archive = -1,
		.with_snapshots = !options->instance_only,
		.done = done,
		.data = data };
	packing->record = json_pack("{s:s, s:s, s:s, s:b, s:b, s:b}", "name", name, "created_at",
		text_format_time(loop_wall_clock(), now), "expires_at",
		options->expires_at && options->expires_at[0] ? options->expires_at : NEVER,
		"instance_only", options->instance_only, "container_only", options->instance_only,
		"optimized_storage", false);
	if (instance->live) {
		cleanup(free) char *hex = text_random_hex(4);
		cleanup(free) char *snapshot = alloc_printf("backup-%s", hex);
		char expiry[TEXT_TIME_SIZE];
		/* If this daemon is killed before it can remove it. */
		text_format_time(loop_wall_clock() + SNAPSHOT_LIFE_NS, expiry);
		r = snapshot_create(instance, snapshot, expiry, false, snapshot_taken, packing,
			&packing->snapshot, e);
	} else {
		r = instance_claim(instance, "exporting", e);
		packing->is_claimed = r == 0;
		if (r == 0)
			r = pack(packing, instance, e);
		if (r < 0 && packing->is_claimed)
			instance_release(instance);
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
