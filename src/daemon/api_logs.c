/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_logs.c - /1.0/instances/{name}/logs: what the runner and recorded commands wrote; and metadata, which
 * came with the image.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "abi/runner.h"
#include "daemon/api.h"
#include "daemon/collections.h"
#include "daemon/instances.h"
#include "model/json.h"

#define RECORDS "exec-output"

static int request_instance(
	struct service *service, struct request *request, struct instance **ret, struct error *e)
{
	return instance_get(
		service, request_project(request), request_param(request, "name"), ret, e);
}

static int list_logs(struct service *service, struct request *request, struct error *e)
{
	static const char *const files[] = { "runner.log", RUNNER_CONSOLE_FILE };
	struct instance *instance = NULL;
	cleanup(close) int dir = -1;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = instance_open_dir(instance, &dir, e);
	if (r < 0)
		return r;
	json_t *urls = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (faccessat(dir, files[i], F_OK, 0) == 0)
			json_array_append_new(urls,
				json_sprintf(
					"/1.0/instances/%s/logs/%s", instance->name, files[i]));
	}
	return reply_sync(request, urls);
}

/* A name of a file in one directory, not of the directory itself or one above. */
static int file_name_check(const char *name, struct error *e)
{
	if (strchr(name, '/') || name[0] == '.' || name[0] == '\0')
		return error_set(e, -EINVAL, "\"%.80s\" is no name of a log", name);
	return 0;
}

static int reply_log(struct request *request, int dir, const char *name, struct error *e)
{
	struct stat status;
	cleanup(close) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return error_set(e, -ENOENT, "Log \"%.80s\" not found", name);
	if (fd < 0 || fstat(fd, &status) < 0)
		return error_errno(e, "open %s", name);
	if (!S_ISREG(status.st_mode))
		return error_set(e, -ENOENT, "Log \"%.80s\" not found", name);
	return reply_file(request, TAKE_FD(fd), (uint64_t)status.st_size, NULL);
}

static int get_log(struct service *service, struct request *request, struct error *e)
{
	const char *name = request_param(request, "file");
	struct instance *instance = NULL;
	cleanup(close) int dir = -1;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = file_name_check(name, e);
	if (r == 0 && !text_equal(name, "runner.log") && !text_equal(name, RUNNER_CONSOLE_FILE))
		r = error_set(e, -ENOENT, "Log \"%.80s\" not found", name);
	if (r == 0)
		r = instance_open_dir(instance, &dir, e);
	return r < 0 ? r : reply_log(request, dir, name, e);
}

static int records_open(const struct instance *instance, int *ret, struct error *e)
{
	cleanup(close) int dir = -1;
	int r = instance_open_dir(instance, &dir, e);
	if (r < 0)
		return r;
	int fd = openat(dir, RECORDS, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? error_set(e, -ENOENT, "nothing was recorded")
				       : error_errno(e, "open " RECORDS);
	*ret = fd;
	return 0;
}

static int list_records(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	int fd;
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	json_t *urls = json_array();
	r = records_open(instance, &fd, e);
	DIR *dir = r == 0 ? fdopendir(fd) : NULL;
	for (const struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
		if (entry->d_name[0] != '.')
			json_array_append_new(urls,
				json_sprintf("/1.0/instances/%s/logs/" RECORDS "/%s",
					instance->name, entry->d_name));
	}
	if (dir)
		closedir(dir);
	return reply_sync(request, urls);
}

static int get_record(struct service *service, struct request *request, struct error *e)
{
	const char *name = request_param(request, "file");
	struct instance *instance = NULL;
	cleanup(close) int dir = -1;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = file_name_check(name, e);
	if (r == 0)
		r = records_open(instance, &dir, e);
	return r < 0 ? r : reply_log(request, dir, name, e);
}

static int delete_record(struct service *service, struct request *request, struct error *e)
{
	const char *name = request_param(request, "file");
	struct instance *instance = NULL;
	cleanup(close) int dir = -1;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = file_name_check(name, e);
	if (r == 0)
		r = records_open(instance, &dir, e);
	if (r < 0)
		return r;
	if (unlinkat(dir, name, 0) < 0)
		return errno == ENOENT ? error_set(e, -ENOENT, "Log \"%.80s\" not found", name)
				       : error_errno(e, "remove %s", name);
	return reply_sync(request, NULL);
}

static int get_metadata(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	const char *key;
	json_t *value;
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	json_t *properties = json_object();
	json_object_foreach(json_object_get(instance->object, "config"), key, value)
	{
		if (text_starts(key, "image."))
			json_object_set(properties, key + strlen("image."), value);
	}
	return reply_object(request,
		json_pack("{s:O, s:i, s:i, s:o, s:{}}", "architecture",
			json_object_get(instance->object, "architecture"), "creation_date", 0,
			"expiry_date", 0, "properties", properties, "templates"));
}

static int get_templates(struct service *service, struct request *request, struct error *e)
{
	const char *path = request_query(request, "path");
	struct instance *instance = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	if (path && path[0])
		return error_set(e, -ENOENT, "Template \"%.80s\" not found", path);
	return reply_sync(request, json_array());
}

static int refuse_metadata(struct service *service, struct request *request, struct error *e)
{
	(void)service;
	(void)request;
	return error_set(e, -EOPNOTSUPP,
		"An instance's metadata is its image's; templates are not run here");
}

#define LOGS     "/1.0/instances/{name}/logs"
#define METADATA "/1.0/instances/{name}/metadata"

const struct route logs_routes[] = {
	{ "GET", LOGS, REQUEST_NONE, list_logs, 0 },
	{ "GET", LOGS "/" RECORDS, REQUEST_NONE, list_records, 0 },
	{ "GET", LOGS "/" RECORDS "/{file}", REQUEST_NONE, get_record, 0 },
	{ "DELETE", LOGS "/" RECORDS "/{file}", REQUEST_NONE, delete_record, 0 },
	{ "GET", LOGS "/{file}", REQUEST_NONE, get_log, 0 },
	{ "GET", METADATA, REQUEST_NONE, get_metadata, 0 },
	{ "PUT", METADATA, REQUEST_JSON, refuse_metadata, 0 },
	{ "GET", METADATA "/templates", REQUEST_NONE, get_templates, 0 },
	{ "POST", METADATA "/templates", REQUEST_FILE, refuse_metadata, 0 },
	{ "DELETE", METADATA "/templates", REQUEST_NONE, refuse_metadata, 0 },
	{},
};
