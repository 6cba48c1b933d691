/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logs.c - /1.0/instances/{name}/logs: what the runner and recorded commands wrote; and metadata, which
 * came with the image.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "abi/runner.h"
#include "base/file.h"
#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/api/request_instance.h"
#include "daemon/instance/instances.h"
#include "model/json.h"
#include "model/template.h"

#define RECORDS "exec-output"

/* lxc and incus ask for the log of the program that they expect behind the instance. */
static const char *log_named(const char *name)
{
	static const char *const others[] = { "lxc.log", "qemu.log" };
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (text_equal(name, others[i]))
			return "runner.log";
	return name;
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
	const char *name = log_named(request_param(request, "file"));
	struct instance *instance = NULL;
	cleanup(close) int dir = -1;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = file_name_check(name, e);
	/* What `lxc info --show-log` and `incus info --show-log` ask for. */
	if (text_equal(name, "lxc.log") || text_equal(name, "qemu.log"))
		name = "runner.log";
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
	if (r == 0 && !dir)
		close(fd);
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
	json_t *templates = json_object();
	json_object_foreach(json_object_get(instance->object, "templates"), key, value)
	{
		json_t *shown = json_copy(value);
		json_object_del(shown, "content");
		json_object_set_new(templates, key, shown);
	}
	return reply_object(request,
		json_pack("{s:O, s:i, s:i, s:o, s:o}", "architecture",
			json_object_get(instance->object, "architecture"), "creation_date", 0,
			"expiry_date", 0, "properties", properties, "templates", templates));
}

/* Templates are shown by the names of their files; each is one file a path. */
static json_t *template_named(const struct instance *instance, const char *name)
{
	const char *path;
	json_t *template;
	json_object_foreach(json_object_get(instance->object, "templates"), path, template)
	{
		if (text_equal(json_text(template, "template"), name))
			return template;
	}
	return NULL;
}

static int get_templates(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	const char *name = request_query(request, "path"), *path;
	json_t *template;
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	if (name) {
		template = template_named(instance, name);
		if (!template)
			return error_set(e, -ENOENT, "Template not found");
		char *content = alloc_text(json_text(template, "content") ?: "");
		return reply_plain(request, content, strlen(content), "application/octet-stream");
	}
	json_t *names = json_array();
	json_object_foreach(json_object_get(instance->object, "templates"), path, template)
		json_array_append(names, json_object_get(template, "template"));
	return reply_sync(request, names);
}

static int put_template(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	const char *name = request_query(request, "path");
	const struct http_part *file = request_file(request);
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	json_t *template = name ? template_named(instance, name) : NULL;
	if (!template)
		return error_set(e, -ENOENT,
			"Template not found; metadata says first where it goes (PUT .../metadata)");
	if (!file || file->size_bytes > TEMPLATE_BYTES_MAX)
		return error_set(
			e, -EINVAL, "a template has at most %d bytes", (int)TEMPLATE_BYTES_MAX);
	cleanup(free) char *content = alloc_array((size_t)file->size_bytes + 1, char);
	r = file_read_at(file->fd, content, (size_t)file->size_bytes, 0);
	if (r < 0)
		return error_code(e, r, "read the template");
	json_t *text = json_stringn(content, (size_t)file->size_bytes);
	if (!text || strlen(content) != file->size_bytes) {
		json_decref(text);
		return error_set(e, -EINVAL, "a template is a text in UTF-8");
	}
	r = template_check(content, e);
	if (r < 0) {
		json_decref(text);
		return error_prefix(e, r, "%.80s", name);
	}
	json_object_set_new(template, "content", text);
	r = instance_save(instance, e);
	return r < 0 ? r : reply_sync(request, NULL);
}

static int delete_template(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	const char *name = request_query(request, "path"), *path;
	json_t *template;
	void *next;
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	if (!name || !template_named(instance, name))
		return error_set(e, -ENOENT, "Template not found");
	json_object_foreach_safe(
		json_object_get(instance->object, "templates"), next, path, template)
	{
		if (text_equal(json_text(template, "template"), name))
			json_object_del(json_object_get(instance->object, "templates"), path);
	}
	r = instance_save(instance, e);
	return r < 0 ? r : reply_sync(request, NULL);
}

/* Of what metadata says only the templates can be changed: the rest is the image's. */
static int put_metadata(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	json_t *wanted = NULL, *template;
	const char *path;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = json_read_object(request_json(request), "", "templates", &wanted, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *templates = json_object();
	json_object_foreach(wanted, path, template)
	{
		const char *name = json_text(template, "template");
		if (path[0] != '/' || !name || !*name || strchr(name, '/'))
			return error_set(e, -EINVAL,
				"templates.%.80s: an absolute path and the name of a template are "
				"wanted",
				path);
		const json_t *old = template_named(instance, name);
		json_t *copy = json_pack("{s:O?, s:O?, s:O?, s:O, s:O?}", "when",
			json_object_get(template, "when"), "properties",
			json_object_get(template, "properties"), "create_only",
			json_object_get(template, "create_only"), "template",
			json_object_get(template, "template"), "content",
			json_object_get(old, "content"));
		if (!json_text(copy, "content"))
			json_object_set_new(copy, "content", json_string(""));
		json_object_set_new(templates, path, copy);
	}
	json_object_set(instance->object, "templates", templates);
	r = instance_save(instance, e);
	return r < 0 ? r : reply_sync(request, NULL);
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
	{ "PUT", METADATA, REQUEST_JSON, put_metadata, 0 },
	{ "GET", METADATA "/templates", REQUEST_NONE, get_templates, 0 },
	{ "POST", METADATA "/templates", REQUEST_FILE, put_template, 0 },
	{ "DELETE", METADATA "/templates", REQUEST_NONE, delete_template, 0 },
	{},
};
