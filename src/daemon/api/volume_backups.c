/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_backups.c - backups of custom volumes: a tar of the content, kept until it is deleted.
 *
 * The archive has backup/index.yaml and, below backup/volume, the volume's files, or backup/volume.img. Its file is
 * DIR/backups/PROJECT/POOL/VOLUME/NAME; the volume's record names it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/job.h"
#include "daemon/names.h"
#include "daemon/operation.h"
#include "daemon/storage/storage.h"
#include "daemon/storage/volume_request.h"
#include "daemon/storage/volumes.h"
#include "model/json.h"

#define NEVER "0001-01-01T00:00:00Z"

static char *backup_path(const struct volume_ref *ref, const char *name)
{
	cleanup(free) char *dir = volume_backups_place(ref);
	return alloc_printf("%s/%s", dir, name);
}

static json_t *shown(const char *name, const json_t *backup)
{
	return json_pack("{sssssssbsb}", "name", name, "created_at",
		json_text(backup, "created_at") ?: NEVER, "expires_at",
		json_text(backup, "expires_at") ?: NEVER, "volume_only", 1, "optimized_storage", 0);
}

static int list_backups(struct service *service, struct request *request, struct error *e)
{
	struct volume_ref ref;
	json_t *record;
	int r = volume_of_request(service, request, true, &ref, &record, e);
	if (r < 0)
		return r;
	json_t *list = json_array();
	const char *name;
	json_t *backup;
	json_t *backups = json_object_get(record, "backups");
	json_object_foreach(backups, name, backup)
	{
		json_array_append_new(list, shown(name, backup));
	}
	cleanup(free) char *base =
		alloc_printf("/1.0/storage-pools/%s/volumes/custom/%s/backups", ref.pool, ref.name);
	return reply_collection(request, list, base, "name", e);
}

struct backing_up {
	struct service *service;
	struct operation *operation;
	char *pool, *project, *name, *backup, *expires;
	int fd;
};

static struct volume_ref ref_of(const struct backing_up *work)
{
	return (struct volume_ref){ .pool = work->pool,
		.type = VOLUME_TYPE_CUSTOM,
		.project = work->project,
		.name = work->name };
}

static void work_free(struct backing_up *work)
{
	if (work->fd >= 0)
		close(work->fd);
	free(work->pool);
	free(work->project);
	free(work->name);
	free(work->backup);
	free(work->expires);
	free(work);
}

/* The file gets its name, then the record does. */
static int keep(struct backing_up *work, struct error *e)
{
	struct volume_ref ref = ref_of(work);
	json_t *record = volume_record(work->service->storage, &ref);
	if (!record)
		return error_set(e, -ENOENT, "the volume is gone");
	cleanup(free) char *dir = volume_backups_place(&ref);
	cleanup(free) char *path = backup_path(&ref, work->backup);
	char from[40];
	snprintf(from, sizeof(from), "/proc/self/fd/%d", work->fd);
	int r = file_make_dirs(work->service->dir, dir, 0700);
	if (r < 0)
		return error_code(e, r, "make %s", dir);
	if (linkat(AT_FDCWD, from, work->service->dir, path, AT_SYMLINK_FOLLOW) < 0)
		return error_errno(e, "keep the backup %s", work->backup);
	json_t *backups = json_object_get(record, "backups");
	if (!backups) {
		backups = json_object();
		json_object_set_new(record, "backups", backups);
	}
	char now[TEXT_TIME_SIZE];
	json_object_set_new(backups, work->backup,
		json_pack("{ssss}", "created_at", text_format_time(loop_wall_clock(), now),
			"expires_at", work->expires));
	return volume_record_put(work->service->storage, &ref, record, e);
}

static void on_progress(void *data, json_t *progress)
{
	struct backing_up *work = data;
	char size[TEXT_SIZE_MAX];
	text_format_bytes((uint64_t)json_integer_value(json_object_get(progress, "done")), size);
	operation_progress(work->operation, "create_backup", size, -1, 0);
}

static void on_packed(void *data, int code, json_t *result, const struct error *e)
{
	struct backing_up *work = data;
	struct error why = *e;
	(void)result;
	if (code == 0)
		code = keep(work, &why);
	operation_end(work->operation, code, &why);
	work_free(work);
}

static json_t *index_of(const struct volume_ref *ref, const json_t *record)
{
	cleanup(json_decref) json_t *index = json_pack("{sssssssbs{s{sssssssssO}}}", "name",
		ref->name, "pool", ref->pool, "type", "custom", "optimized", 0, "config", "volume",
		"name", ref->name, "type", "custom", "content_type", volume_content(record),
		"description", json_text(record, "description") ?: "", "config",
		json_object_get(record, "config"));
	cleanup(free) char *text = json_dumps(index, JSON_INDENT(1));
	return json_string(text);
}

static int create_backup(struct service *service, struct request *request, struct error *e)
{
	struct volume_ref ref;
	json_t *record;
	json_t *plan;
	const json_t *body = request_json(request);
	const char *asked = "", *compression = "gzip", *expires = NEVER;
	int r = volume_of_request(service, request, true, &ref, &record, e);
	if (r == 0)
		r = json_read_text(body, "", "name", &asked, e);
	if (r == 0 && *asked)
		r = name_check("name", asked, e);
	if (r == 0)
		r = json_read_text(body, "", "compression_algorithm", &compression, e);
	if (r == 0)
		r = json_read_text(body, "", "expires_at", &expires, e);
	cleanup(free) char *random = text_random_hex(4);
	cleanup(free) char *name = *asked ? alloc_text(asked) : alloc_printf("backup-%s", random);
	if (r == 0 && json_object_get(json_object_get(record, "backups"), name))
		r = error_set(e, -EEXIST, "the volume has a backup \"%s\"", name);
	if (r == 0)
		r = storage_volume_plan(service->storage, &ref, &plan, e);
	if (r < 0)
		return r;
	struct backing_up *work = alloc(struct backing_up);
	*work = (struct backing_up){ .service = service,
		.pool = alloc_text(ref.pool),
		.project = alloc_text(ref.project),
		.name = alloc_text(ref.name),
		.backup = TAKE_PTR(name),
		.expires = alloc_text(expires),
		.fd = openat(service->tmp_dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) };
	cleanup(free) char *url = alloc_printf("/1.0/storage-pools/%s/volumes/custom/%s/backups/%s",
		ref.pool, ref.name, work->backup);
	cleanup(free) char *short_url = alloc_printf("/1.0/backups/%s", work->backup);
	work->operation = operation_new(service,
		&(struct operation_options){ .class = OPERATION_TASK,
			.description = "Backing up storage volume",
			.project = request_project(request),
			.resources = json_pack(
				"{s[s]s[s]}", "storage_volumes", url, "backups", short_url) });
	const struct job_options options = {
		.task = json_pack("{sssss[{ssso}]s[{ssso}]}", "task", "pack", "compression",
			*compression ? compression : "gzip", "files", "name", "backup/index.yaml",
			"text", index_of(&ref, record), "trees", "prefix", "backup/volume",
			"volume", plan),
		.fds = { work->fd },
		.fd_count = 1,
		.progress = on_progress,
		.done = on_packed,
		.data = work,
	};
	r = job_start(service, &options, NULL, e);
	if (r < 0) {
		operation_failed(work->operation, r, e);
		work_free(work);
		return r;
	}
	return reply_operation(request, work->operation);
}

static int find(struct service *service, const struct request *request, struct volume_ref *ret,
	json_t **ret_record, json_t **ret_backup, struct error *e)
{
	const char *name = request_param(request, "backup");
	int r = volume_of_request(service, request, true, ret, ret_record, e);
	if (r < 0)
		return r;
	*ret_backup = json_object_get(json_object_get(*ret_record, "backups"), name);
	return *ret_backup ? 0 : error_set(e, -ENOENT, "the volume has no backup \"%s\"", name);
}

static int get_backup(struct service *service, struct request *request, struct error *e)
{
	struct volume_ref ref;
	json_t *record, *backup;
	int r = find(service, request, &ref, &record, &backup, e);
	return r < 0 ? r : reply_object(request, shown(request_param(request, "backup"), backup));
}

static int export_backup(struct service *service, struct request *request, struct error *e)
{
	struct volume_ref ref;
	json_t *record, *backup;
	int r = find(service, request, &ref, &record, &backup, e);
	if (r < 0)
		return r;
	cleanup(free) char *path = backup_path(&ref, request_param(request, "backup"));
	cleanup(close) int fd = openat(service->dir, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat status;
	if (fd < 0 || fstat(fd, &status) < 0)
		return error_errno(e, "open %s", path);
	return reply_file(request, TAKE_FD(fd), (uint64_t)status.st_size, "backup.tar.gz");
}

static int delete_backup(struct service *service, struct request *request, struct error *e)
{
	struct volume_ref ref;
	json_t *record, *backup;
	const char *name = request_param(request, "backup");
	int r = find(service, request, &ref, &record, &backup, e);
	if (r < 0)
		return r;
	json_object_del(json_object_get(record, "backups"), name);
	r = volume_record_put(service->storage, &ref, record, e);
	if (r < 0)
		return r;
	cleanup(free) char *path = backup_path(&ref, name);
	struct operation *operation = operation_new(service,
		&(struct operation_options){ .class = OPERATION_TASK,
			.description = "Deleting storage volume backup",
			.project = request_project(request) });
	if (unlinkat(service->dir, path, 0) < 0 && errno != ENOENT) {
		r = error_errno(e, "remove %s", path);
		operation_failed(operation, r, e);
		return r;
	}
	r = reply_operation(request, operation);
	operation_done(operation, NULL);
	return r;
}

#define BACKUPS "/1.0/storage-pools/{pool}/volumes/{type}/{name}/backups"

const struct route volume_backups_routes[] = {
	{ "GET", BACKUPS, REQUEST_NONE, list_backups },
	{ "POST", BACKUPS, REQUEST_JSON, create_backup },
	{ "GET", BACKUPS "/{backup}", REQUEST_NONE, get_backup },
	{ "DELETE", BACKUPS "/{backup}", REQUEST_NONE, delete_backup },
	{ "GET", BACKUPS "/{backup}/export", REQUEST_NONE, export_backup },
	{ NULL },
};
