/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_import.c - a custom volume from an archive: its index says of what sort it is, then it is made and filled.
 *
 * The layout is that of LXD and Incus: backup/index.yaml, and backup/volume/ or backup/volume.img. Snapshots in an
 * archive are passed over.
 */
#include "daemon/storage/volume_import.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/instance/backup_index.h"
#include "daemon/job.h"
#include "daemon/names.h"
#include "daemon/operation.h"
#include "daemon/projects.h"
#include "daemon/storage/volume_request.h"
#include "daemon/storage/volumes.h"
#include "model/json.h"

#define TOLD_BYTES_MAX MIB

struct filling {
	struct service *service;
	struct operation *operation;
	char *pool, *project, *name;
	char *stage; /* in tmp/ */
	int fd, told;
};

static struct volume_ref filling_ref(const struct filling *filling)
{
	return (struct volume_ref){ .pool = filling->pool,
		.type = VOLUME_TYPE_CUSTOM,
		.project = filling->project,
		.name = filling->name };
}

static void filling_free(struct filling *filling)
{
	if (file_remove_tree(filling->service->tmp_dir, filling->stage) < 0)
		log_error("not removed tmp/%s", filling->stage);
	if (filling->fd >= 0)
		close(filling->fd);
	if (filling->told >= 0)
		close(filling->told);
	free(filling->pool);
	free(filling->project);
	free(filling->name);
	free(filling->stage);
	free(filling);
}

static void filling_failed(struct filling *filling, int code, const struct error *e)
{
	operation_failed(filling->operation, code, e);
	filling_free(filling);
}

static void ignore(void *data, int code, const struct error *e)
{
	(void)data;
	if (code < 0)
		log_error("half a volume is left: %s", e->text);
}

static void on_filled(void *data, int code, json_t *result, const struct error *e)
{
	struct filling *filling = data;
	struct volume_ref ref = filling_ref(filling);
	(void)result;
	/* Half a volume is none. */
	if (code < 0)
		(void)!storage_volume_delete(filling->service->storage, &ref, ignore, NULL, NULL);
	else
		volume_tell(filling->service, "storage-volume-created", &ref);
	operation_end(filling->operation, code, e);
	filling_free(filling);
}

static void on_empty(void *data, int code, const struct error *e)
{
	struct filling *filling = data;
	struct volume_ref ref = filling_ref(filling);
	struct error why = *e;
	json_t *plan = NULL;
	if (code == 0)
		code = storage_volume_plan(filling->service->storage, &ref, &plan, &why);
	if (code == 0 && lseek(filling->fd, 0, SEEK_SET) < 0)
		code = error_errno(&why, "read the archive again");
	if (code == 0)
		code = job_start(filling->service,
			&(struct job_options){ .task = json_pack("{sssOss}", "task", "unpack",
						       "volume", plan, "prefix", "backup/volume"),
				.fds = { filling->fd },
				.fd_count = 1,
				.done = on_filled,
				.data = filling },
			NULL, &why);
	json_decref(plan);
	if (code < 0)
		filling_failed(filling, code, &why);
}

/* Ours have what the volume was at the top, the others' below config.volume. */
static int index_use(struct filling *filling, struct error *e)
{
	cleanup(json_decref) json_t *told = NULL;
	int r = backup_told_read(filling->told, TOLD_BYTES_MAX, &told, e);
	if (r < 0)
		return r;
	const json_t *index = json_object_get(told, "index");
	const json_t *volume = json_object_get(json_object_get(index, "config"), "volume") ?: index;
	const char *type = json_text(index, "type"), *optimized = json_text(index, "optimized");
	const char *content = json_text(volume, "content_type") ?: "filesystem";
	json_t *config = NULL;
	struct volume_options options = { .is_block = text_equal(content, "block") };
	if (type && !text_equal(type, "custom"))
		return error_set(e, -EINVAL, "it is the backup of an instance, not of a volume");
	if (text_equal(optimized, "true"))
		return error_set(e, -EINVAL,
			"it is in its pool's own format; export it again without "
			"--optimized-storage");
	if (!options.is_block && !text_equal(content, "filesystem"))
		return error_set(e, -EINVAL,
			"content_type: \"%.40s\" is neither filesystem nor block", content);
	r = json_read_text_map(volume, "", "config", &config, e);
	if (r == 0)
		r = volume_check_config(config, &options.size_bytes, e);
	if (r < 0)
		return error_prefix(e, r, "the backup's index.yaml");
	struct volume_ref ref = filling_ref(filling);
	r = storage_volume_create(filling->service->storage, &ref, &options, on_empty, filling, e);
	json_t *record = r == 0 ? volume_record(filling->service->storage, &ref) : NULL;
	if (record && config)
		json_object_update(json_object_get(record, "config"), config);
	return r;
}

static void on_told(void *data, int code, json_t *result, const struct error *e)
{
	struct filling *filling = data;
	struct error error = {};
	(void)result;
	if (code == 0) {
		code = index_use(filling, &error);
		e = &error;
	}
	if (code < 0)
		filling_failed(filling, code, e);
}

static int read_start(struct filling *filling, struct error *e)
{
	struct service *service = filling->service;
	cleanup(close) int stage = -1;
	int r = file_make_dirs(service->tmp_dir, filling->stage, 0700);
	if (r == 0)
		stage = openat(
			service->tmp_dir, filling->stage, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r < 0)
		return error_code(e, r, "make tmp/%s", filling->stage);
	if (stage < 0 || filling->fd < 0 || filling->told < 0)
		return error_errno(e, "keep the archive");
	return job_start(service,
		&(struct job_options){ .task = json_pack("{s:s}", "task", "backup-index"),
			.fds = { filling->fd, stage, filling->told },
			.fd_count = 3,
			.done = on_told,
			.data = filling },
		NULL, e);
}

int import_volume(struct service *service, struct request *request, struct error *e)
{
	const char *name = request_x_header(request, "name");
	struct http_part *file = request_file(request);
	const char *project = project_of(service, request_project(request), "storage.volumes");
	if (!name || !file)
		return error_set(e, -EINVAL, "X-LXD-name: the name of the new volume is missing");
	int r = name_check("X-LXD-name", name, e);
	if (r < 0)
		return r;
	cleanup(free) char *hex = text_random_hex(8);
	struct filling *filling = alloc(struct filling);
	*filling = (struct filling){ .service = service,
		.pool = alloc_text(request_param(request, "pool")),
		.project = alloc_text(project),
		.name = alloc_text(name),
		.stage = alloc_printf("volume-%s", hex),
		.fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 3),
		.told = memfd_create("index", MFD_CLOEXEC) };
	filling->operation = operation_new(service,
		&(struct operation_options){ .class = OPERATION_TASK,
			.description = "Restoring storage volume backup",
			.project = request_project(request) });
	r = read_start(filling, e);
	if (r < 0) {
		filling_failed(filling, r, e);
		return r;
	}
	return reply_operation(request, filling->operation);
}
