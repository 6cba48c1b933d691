/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backups.c - /1.0/instances/{name}/backups, and POST /1.0/instances with an archive.
 */
#include <errno.h>
#include <sys/stat.h>

#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/api/request_instance.h"
#include "daemon/instance/backups.h"
#include "daemon/task.h"
#include "model/json.h"

static json_t *resources(const struct instance *instance, const char *backup)
{
	json_t *all = instance_resources(instance);
	/* The clients take the name behind "/1.0/backups/", though nothing stands there. */
	json_object_set_new(
		all, "backups", json_pack("[o]", json_sprintf("/1.0/backups/%s", backup)));
	return all;
}

static int list_backups(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	cleanup(free) char *base = alloc_printf("/1.0/instances/%s/backups", instance->name);
	return reply_collection(request, json_deep_copy(instance->backups), base, "name", e);
}

static int options_read(const json_t *body, struct backup_options *ret, struct error *e)
{
	bool is_only = false, is_container_only = false, is_optimized = false;
	int r = json_read_text(body, "", "name", &ret->name, e);
	if (r == 0)
		r = json_read_text(body, "", "expires_at", &ret->expires_at, e);
	if (r == 0)
		r = json_read_text(body, "", "compression_algorithm", &ret->compression, e);
	if (r == 0)
		r = json_read_bool(body, "", "instance_only", &is_only, e);
	if (r == 0)
		r = json_read_bool(body, "", "container_only", &is_container_only, e);
	if (r == 0)
		r = json_read_bool(body, "", "optimized_storage", &is_optimized, e);
	if (r < 0)
		return r;
	if (is_optimized)
		return error_set(e, -EINVAL, "optimized_storage: archives are always plain tars");
	ret->instance_only = is_only || is_container_only;
	return 0;
}

static int create_backup(struct service *service, struct request *request, struct error *e)
{
	struct backup_options options = {};
	cleanup(free) char *name = NULL;
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = options_read(request_json(request), &options, e);
	if (r < 0)
		return r;
	if (request_waits(request, instance))
		return 0;
	struct task *task = task_new(service);
	r = backup_create(instance, &options, task_done, task, &name, e);
	return task_reply(task, r, request,
		&(struct operation_options){ .description = "Backing up instance",
			.project = instance->project,
			.resources = resources(instance, name ?: "") });
}

static int get_backup(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	json_t *backup = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = backup_get(instance, request_param(request, "backup"), &backup, e);
	return r < 0 ? r : reply_object(request, json_deep_copy(backup));
}

static int reply_done(struct service *service, struct request *request,
	const struct instance *instance, const char *backup, const char *description)
{
	struct task *task = task_new(service);
	task_done(task, 0, NULL);
	return task_reply(task, 0, request,
		&(struct operation_options){ .description = description,
			.project = instance->project,
			.resources = resources(instance, backup) });
}

static int post_backup(struct service *service, struct request *request, struct error *e)
{
	const char *name = NULL;
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = json_require_text(request_json(request), "", "name", &name, e);
	if (r == 0)
		r = backup_rename(instance, request_param(request, "backup"), name, e);
	return r < 0 ? r : reply_done(service, request, instance, name, "Renaming backup");
}

static int delete_backup(struct service *service, struct request *request, struct error *e)
{
	const char *name = request_param(request, "backup");
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = backup_delete(instance, name, e);
	return r < 0 ? r : reply_done(service, request, instance, name, "Deleting backup");
}

static int get_export(struct service *service, struct request *request, struct error *e)
{
	const char *name = request_param(request, "backup");
	struct instance *instance = NULL;
	struct stat status;
	cleanup(close) int fd = -1;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = backup_open(instance, name, &fd, e);
	if (r < 0)
		return r;
	if (fstat(fd, &status) < 0)
		return error_errno(e, "look at the archive");
	return reply_file(request, TAKE_FD(fd), (uint64_t)status.st_size, name);
}

int request_import(struct service *service, struct request *request, struct error *e)
{
	const struct http_part *part = request_file(request);
	if (!part || part->size_bytes == 0)
		return error_set(e, -EINVAL, "the body must be an archive of an instance");
	struct task *task = task_new(service);
	int r = backup_import(service, request_project(request), part->fd,
		request_x_header(request, "name"), request_x_header(request, "pool"), task_done,
		task, e);
	return task_reply(task, r, request,
		&(struct operation_options){
			.description = "Restoring backup", .project = request_project(request) });
}

#define BACKUPS "/1.0/instances/{name}/backups"

const struct route backups_routes[] = {
	{ "GET", BACKUPS, REQUEST_NONE, list_backups, 0 },
	{ "POST", BACKUPS, REQUEST_JSON, create_backup, 0 },
	{ "GET", BACKUPS "/{backup}", REQUEST_NONE, get_backup, 0 },
	{ "POST", BACKUPS "/{backup}", REQUEST_JSON, post_backup, 0 },
	{ "DELETE", BACKUPS "/{backup}", REQUEST_NONE, delete_backup, 0 },
	{ "GET", BACKUPS "/{backup}/export", REQUEST_NONE, get_export, 0 },
	{},
};
