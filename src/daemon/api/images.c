/* SPDX-License-Identifier: Apache-2.0 */
/*
 * images.c - /1.0/images and their aliases.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/events.h"
#include "daemon/image/images.h"
#include "daemon/image/request.h"
#include "daemon/image/store.h"
#include "daemon/job.h"
#include "daemon/operation.h"
#include "daemon/projects.h"
#include "model/json.h"

static const char *project_here(struct service *service, const struct request *request)
{
	return project_of(service, request_project(request), "images");
}

static int find(
	struct service *service, const struct request *request, json_t **ret, struct error *e)
{
	return images_find(service->images, request_project(request),
		request_param(request, "fingerprint"), ret, e);
}

struct listing {
	struct images *images;
	json_t *list;
};

static void add_image(void *data, const char *project, json_t *record)
{
	struct listing *listing = data;
	json_array_append_new(listing->list, image_shown(listing->images, project, record));
}

static int list_images(struct service *service, struct request *request, struct error *e)
{
	struct listing listing = { .images = service->images, .list = json_array() };
	images_each(service->images,
		request_all_projects(request) ? NULL : project_here(service, request), add_image,
		&listing);
	return reply_collection(request, listing.list, "/1.0/images", "fingerprint", e);
}

/* What a client can change, and so what its If-Match is about. */
static json_t *changeable(const json_t *record)
{
	static const char *const fields[] = { "auto_update", "properties", "public", "expires_at",
		"profiles" };
	json_t *seen = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		json_object_set(seen, fields[i], json_object_get(record, fields[i]));
	return seen;
}

static int get_image(struct service *service, struct request *request, struct error *e)
{
	json_t *record;
	int r = find(service, request, &record, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *seen = changeable(record);
	return reply_object_seen(request,
		image_shown(service->images, project_here(service, request), record), seen);
}

static int change_image(
	struct service *service, struct request *request, bool is_patch, struct error *e)
{
	json_t *record;
	int r = find(service, request, &record, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *seen = changeable(record);
	r = request_if_match(request, seen, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *body = is_patch ? json_patched(seen, request_json(request))
						     : json_incref(request_json(request));
	bool is_public = false, is_updated = false;
	json_t *properties = NULL, *profiles = NULL;
	const char *expires = json_text(record, "expires_at");
	r = json_read_bool(body, "", "public", &is_public, e);
	if (r == 0)
		r = json_read_bool(body, "", "auto_update", &is_updated, e);
	if (r == 0 && is_updated)
		r = error_set(e, -EINVAL, "auto_update: images do not change by themselves here");
	if (r == 0)
		r = json_read_text_map(body, "", "properties", &properties, e);
	if (r == 0)
		r = json_read_text_array(body, "", "profiles", &profiles, e);
	if (r == 0)
		r = json_read_text(body, "", "expires_at", &expires, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *changed = json_copy(record);
	json_set_bool(changed, "public", is_public);
	json_set_text(changed, "expires_at", expires);
	json_object_set_new(
		changed, "properties", properties ? json_copy(properties) : json_object());
	if (profiles)
		json_object_set(changed, "profiles", profiles);
	r = image_record_put(
		service->images, project_here(service, request), json_incref(changed), e);
	if (r < 0)
		return r;
	cleanup(free) char *url =
		url_for("/1.0/images", json_text(changed, "fingerprint"), request_project(request));
	events_lifecycle(service, "image-updated", request_project(request), url, NULL);
	return reply_sync(request, NULL);
}

static int put_image(struct service *service, struct request *request, struct error *e)
{
	return change_image(service, request, false, e);
}

static int patch_image(struct service *service, struct request *request, struct error *e)
{
	return change_image(service, request, true, e);
}

static int delete_image(struct service *service, struct request *request, struct error *e)
{
	json_t *record;
	int r = find(service, request, &record, e);
	if (r < 0)
		return r;
	cleanup(free) char *fingerprint = alloc_text(json_text(record, "fingerprint"));
	r = image_remove(service->images, project_here(service, request), fingerprint, e);
	if (r < 0)
		return r;
	cleanup(free) char *url = url_for("/1.0/images", fingerprint, request_project(request));
	struct operation *operation = operation_new(service,
		&(struct operation_options){ .class = OPERATION_TASK,
			.description = "Deleting image",
			.project = request_project(request),
			.resources = json_pack("{s[s]}", "images", url) });
	r = reply_operation(request, operation);
	operation_done(operation, NULL);
	return r;
}

static const char *ending_of(int fd)
{
	static const struct {
		const char *bytes;
		size_t length;
		const char *ending;
	} known[] = {
		{ "\x1f\x8b", 2, ".tar.gz" },
		{ "\xfd"
		  "7zXZ",
			5, ".tar.xz" },
		{ "\x28\xb5\x2f\xfd", 4, ".tar.zst" },
		{ "BZh", 3, ".tar.bz2" },
		{ "hsqs", 4, ".squashfs" },
		{ "QFI\xfb", 4, ".img" },
	};
	char start[8] = {};
	if (pread(fd, start, sizeof(start), 0) < 0)
		return "";
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (memcmp(start, known[i].bytes, known[i].length) == 0)
			return known[i].ending;
	return ".tar";
}

static int open_file(struct images *images, const json_t *files, size_t index, struct error *e)
{
	const char *name = json_string_value(json_array_get(files, index));
	int fd = openat(images->files, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? error_errno(e, "open the image's file %s", name) : fd;
}

/* Two files as one body: the job copies (or shares) the bytes, which takes its time. */
struct export
{
	struct request *request; /* NULL: the client is gone */
	int out;
	char *boundary;
};

static void export_gone(void *data)
{
	struct export *export = data;
	export->request = NULL;
}

static void on_joined(void *data, int code, json_t *result, const struct error *e)
{
	struct export *export = data;
	struct stat status;
	(void)result;
	struct error why = *e;
	if (code == 0 && fstat(export->out, &status) < 0)
		code = error_errno(&why, "stat the export");
	if (export->request && code < 0) {
		reply_error(export->request, code, &why);
	} else if (export->request) {
		cleanup(free) char *type =
			alloc_printf("multipart/form-data; boundary=%s", export->boundary);
		http_reply_file(export->request->http, 200, type, TAKE_FD(export->out), 0,
			(uint64_t)status.st_size);
	}
	if (export->out >= 0)
		close(export->out);
	free(export->boundary);
	free(export);
}

static int export_split(
	struct service *service, struct request *request, const json_t *record, struct error *e)
{
	const json_t *files = json_object_get(record, "files");
	const char *fingerprint = json_text(record, "fingerprint");
	cleanup(close) int metadata = open_file(service->images, files, 0, e);
	cleanup(close) int rootfs = metadata < 0 ? -1 : open_file(service->images, files, 1, e);
	if (rootfs < 0)
		return -ENOENT;
	cleanup(close) int out =
		openat(service->tmp_dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (out < 0)
		return error_errno(e, "make a file for the export");
	cleanup(free) char *boundary = text_random_hex(16);
	const char *part =
		text_equal(json_text(record, "type"), "virtual-machine") ? "rootfs.img" : "rootfs";
	json_t *pieces = json_pack("[oioio]",
		json_sprintf(
			"--%s\r\nContent-Disposition: form-data; name=\"metadata\"; "
			"filename=\"meta-%s%s\"\r\nContent-Type: application/octet-stream\r\n\r\n",
			boundary, fingerprint, ending_of(metadata)),
		1,
		json_sprintf("\r\n--%s\r\nContent-Disposition: form-data; name=\"%s\"; "
			     "filename=\"%s%s\"\r\nContent-Type: application/octet-stream\r\n\r\n",
			boundary, part, fingerprint, ending_of(rootfs)),
		2, json_sprintf("\r\n--%s--\r\n", boundary));
	struct export *export = alloc(struct export);
	*export = (struct export){ .request = request, .out = TAKE_FD(out), .boundary = boundary };
	boundary = NULL;
	const struct job_options options = {
		.task = json_pack("{ssso}", "task", "join", "pieces", pieces),
		.fds = { export->out, metadata, rootfs },
		.fd_count = 3,
		.done = on_joined,
		.data = export,
	};
	int r = job_start(service, &options, NULL, e);
	if (r < 0) {
		close(export->out);
		free(export->boundary);
		free(export);
		return r;
	}
	request_defer(request, export_gone, export);
	return 0;
}

static int export_image(struct service *service, struct request *request, struct error *e)
{
	json_t *record;
	int r = find(service, request, &record, e);
	if (r < 0)
		return r;
	const json_t *files = json_object_get(record, "files");
	const char *fingerprint = json_text(record, "fingerprint");
	if (json_array_size(files) == 0)
		return error_set(e, -EINVAL,
			"the image came from an OCI registry in layers and has no file to export; publish an "
			"instance of it");
	if (json_array_size(files) == 2)
		return export_split(service, request, record, e);
	cleanup(close) int fd = open_file(service->images, files, 0, e);
	struct stat status;
	if (fd < 0 || fstat(fd, &status) < 0)
		return fd < 0 ? fd : error_errno(e, "stat the image's file");
	cleanup(free) char *name = alloc_printf("%s%s", fingerprint, ending_of(fd));
	events_lifecycle_f(service, "image-retrieved", request_project(request), NULL,
		"/1.0/images/%s", fingerprint);
	return reply_file(request, TAKE_FD(fd), (uint64_t)status.st_size, name);
}

static int refresh_image(struct service *service, struct request *request, struct error *e)
{
	json_t *record;
	int r = find(service, request, &record, e);
	if (r < 0)
		return r;
	return error_set(e, -EINVAL,
		"images are not refreshed: fetch the new one, give it the alias, delete the old one");
}

static json_t *shown_alias(const char *project, const char *name, const json_t *alias)
{
	json_t *shown = json_copy((json_t *)(uintptr_t)alias);
	json_set_text(shown, "name", name);
	json_set_text(shown, "project", project);
	return shown;
}

static int list_aliases(struct service *service, struct request *request, struct error *e)
{
	const char *project = project_here(service, request);
	json_t *list = json_array();
	const char *key;
	json_t *alias;
	size_t length = strlen(project);
	json_object_foreach(service->images->aliases, key, alias)
	{
		if (strncmp(key, project, length) == 0 && key[length] == '/')
			json_array_append_new(list, shown_alias(project, key + length + 1, alias));
	}
	return reply_collection(request, list, "/1.0/images/aliases", "name", e);
}

static int find_alias(
	struct service *service, const struct request *request, json_t **ret, struct error *e)
{
	const char *name = request_param(request, "name");
	json_t *alias = image_alias(service->images, project_here(service, request), name);
	if (!alias)
		return error_set(e, -ENOENT, "the alias \"%s\" does not exist", name);
	*ret = alias;
	return 0;
}

static int get_alias(struct service *service, struct request *request, struct error *e)
{
	json_t *alias;
	int r = find_alias(service, request, &alias, e);
	if (r < 0)
		return r;
	return reply_object_seen(request,
		shown_alias(project_here(service, request), request_param(request, "name"), alias),
		alias);
}

static void tell_alias(struct service *service, const struct request *request, const char *action,
	const char *name)
{
	cleanup(free) char *url = url_for("/1.0/images/aliases", name, NULL);
	events_lifecycle(service, action, request_project(request), url, NULL);
}

/* The image must be there, by its whole fingerprint or its beginning. */
static int read_alias(struct service *service, const struct request *request, const json_t *body,
	json_t **ret, struct error *e)
{
	const char *target, *description = "";
	json_t *image;
	int r = json_require_text(body, "", "target", &target, e);
	if (r == 0)
		r = json_read_text(body, "", "description", &description, e);
	if (r == 0)
		r = images_find(service->images, request_project(request), target, &image, e);
	if (r < 0)
		return r;
	*ret = json_pack("{ssssss}", "target", json_text(image, "fingerprint"), "description",
		description, "type", json_text(image, "type"));
	return 0;
}

static int create_alias(struct service *service, struct request *request, struct error *e)
{
	const json_t *body = request_json(request);
	const char *project = project_here(service, request);
	const char *name;
	json_t *alias;
	int r = json_require_text(body, "", "name", &name, e);
	if (r == 0)
		r = image_check_alias("name", name, e);
	if (r == 0 && image_alias(service->images, project, name))
		r = error_set(e, -EEXIST, "Alias \"%s\" already exists", name);
	if (r == 0)
		r = read_alias(service, request, body, &alias, e);
	if (r == 0)
		r = image_alias_put(service->images, project, name, alias, e);
	if (r < 0)
		return r;
	tell_alias(service, request, "image-alias-created", name);
	cleanup(free) char *url = url_for("/1.0/images/aliases", name, request_project(request));
	return reply_created(request, "%s", url);
}

static int change_alias(
	struct service *service, struct request *request, bool is_patch, struct error *e)
{
	json_t *old;
	json_t *alias;
	const char *name = request_param(request, "name");
	int r = find_alias(service, request, &old, e);
	if (r == 0)
		r = request_if_match(request, old, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *body = is_patch ? json_patched(old, request_json(request))
						     : json_incref(request_json(request));
	r = read_alias(service, request, body, &alias, e);
	if (r == 0)
		r = image_alias_put(
			service->images, project_here(service, request), name, alias, e);
	if (r < 0)
		return r;
	tell_alias(service, request, "image-alias-updated", name);
	return reply_sync(request, NULL);
}

static int put_alias(struct service *service, struct request *request, struct error *e)
{
	return change_alias(service, request, false, e);
}

static int patch_alias(struct service *service, struct request *request, struct error *e)
{
	return change_alias(service, request, true, e);
}

static int rename_alias(struct service *service, struct request *request, struct error *e)
{
	const char *project = project_here(service, request);
	const char *name;
	json_t *alias;
	int r = find_alias(service, request, &alias, e);
	if (r == 0)
		r = json_require_text(request_json(request), "", "name", &name, e);
	if (r == 0)
		r = image_check_alias("name", name, e);
	if (r == 0 && image_alias(service->images, project, name))
		r = error_set(e, -EEXIST, "Alias \"%s\" already exists", name);
	if (r == 0)
		r = image_alias_put(service->images, project, name, json_incref(alias), e);
	if (r == 0)
		r = image_alias_remove(service->images, project, request_param(request, "name"), e);
	if (r < 0)
		return r;
	tell_alias(service, request, "image-alias-renamed", name);
	cleanup(free) char *url = url_for("/1.0/images/aliases", name, request_project(request));
	return reply_created(request, "%s", url);
}

static int delete_alias(struct service *service, struct request *request, struct error *e)
{
	json_t *alias;
	const char *name = request_param(request, "name");
	int r = find_alias(service, request, &alias, e);
	if (r == 0)
		r = image_alias_remove(service->images, project_here(service, request), name, e);
	if (r < 0)
		return r;
	tell_alias(service, request, "image-alias-deleted", name);
	return reply_sync(request, NULL);
}

const struct route images_routes[] = {
	{ "GET", "/1.0/images", REQUEST_NONE, list_images },
	{ "POST", "/1.0/images", REQUEST_JSON_OR_FILE, create_image },
	{ "GET", "/1.0/images/aliases", REQUEST_NONE, list_aliases },
	{ "POST", "/1.0/images/aliases", REQUEST_JSON, create_alias },
	{ "GET", "/1.0/images/aliases/{name}", REQUEST_NONE, get_alias },
	{ "PUT", "/1.0/images/aliases/{name}", REQUEST_JSON, put_alias },
	{ "PATCH", "/1.0/images/aliases/{name}", REQUEST_JSON, patch_alias },
	{ "POST", "/1.0/images/aliases/{name}", REQUEST_JSON, rename_alias },
	{ "DELETE", "/1.0/images/aliases/{name}", REQUEST_NONE, delete_alias },
	{ "GET", "/1.0/images/{fingerprint}", REQUEST_NONE, get_image },
	{ "PUT", "/1.0/images/{fingerprint}", REQUEST_JSON, put_image },
	{ "PATCH", "/1.0/images/{fingerprint}", REQUEST_JSON, patch_image },
	{ "DELETE", "/1.0/images/{fingerprint}", REQUEST_NONE, delete_image },
	{ "GET", "/1.0/images/{fingerprint}/export", REQUEST_NONE, export_image },
	{ "POST", "/1.0/images/{fingerprint}/refresh", REQUEST_JSON, refresh_image },
	{ NULL },
};
