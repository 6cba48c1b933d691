/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.c - an image from an upload, from an instance, or from a registry.
 */
#include "daemon/image/request.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/text.h"
#include "daemon/image/fetch.h"
#include "daemon/image/import.h"
#include "daemon/image/store.h"
#include "daemon/instance/instances.h"
#include "daemon/operation.h"
#include "daemon/projects.h"
#include "daemon/storage/storage.h"
#include "daemon/storage/volumes.h"
#include "http/uri.h"
#include "model/json.h"

#define ALIAS_MAX   255
#define ALIASES_MAX 64

/* One request under way; lives until the import is over. */
struct creation {
	struct service *service;
	struct operation *operation;
	struct image_import *import;
};

static void on_progress(void *data, json_t *progress)
{
	struct creation *creation = data;
	const char *stage = json_text(progress, "stage");
	json_int_t done = json_integer_value(json_object_get(progress, "done"));
	json_int_t total = json_integer_value(json_object_get(progress, "total"));
	json_int_t percent = json_integer_value(json_object_get(progress, "percent"));
	char size[TEXT_SIZE_MAX];
	text_format_bytes((uint64_t)done, size);
	cleanup(free) char *text = total
		? alloc_printf("%" PRId64 "%% (%s)", (int64_t)percent, size)
		: alloc_printf("%s", size);
	operation_progress(
		creation->operation, stage ? stage : "import", text, total ? (int)percent : -1, 0);
}

static void on_done(void *data, int code, json_t *result, const struct error *e)
{
	struct creation *creation = data;
	if (code < 0)
		operation_failed(creation->operation, code, e);
	else
		operation_done(creation->operation, json_incref(result));
	free(creation);
}

static int cancel(void *data, struct operation *operation, struct error *e)
{
	struct creation *creation = data;
	(void)operation;
	(void)e;
	image_import_cancel(creation->import);
	return 0;
}

static struct creation *creation_new(
	struct service *service, const struct request *request, const char *description)
{
	struct creation *creation = alloc(struct creation);
	creation->service = service;
	creation->operation = operation_new(service,
		&(struct operation_options){ .class = OPERATION_TASK,
			.description = description,
			.project = request_project(request),
			.cancel = cancel,
			.data = creation });
	return creation;
}

/* Answers with the operation, or with the refusal: then nothing was made. */
static int answer(struct request *request, struct creation *creation, int r, struct error *e)
{
	if (r == 0)
		return reply_operation(request, creation->operation);
	operation_failed(creation->operation, r, e);
	free(creation);
	return r;
}

int image_check_alias(const char *field, const char *name, struct error *e)
{
	size_t length = strlen(name);
	bool is_good = length > 0 && length <= ALIAS_MAX && name[0] != '-';
	for (const char *at = name; *at; at++)
		is_good &= isalnum((unsigned char)*at) || strchr("-_.:/@+", *at) != NULL;
	if (!is_good)
		return error_set(e, -EINVAL, "%s: \"%.100s\" is no name for an image", field, name);
	return 0;
}

int image_read_aliases(const json_t *body, json_t **ret, struct error *e)
{
	json_t *aliases = NULL;
	int r = json_read_array(body, "", "aliases", &aliases, e);
	if (r < 0)
		return r;
	if (json_array_size(aliases) > ALIASES_MAX)
		return error_set(e, -EINVAL, "aliases: more than %d", ALIASES_MAX);
	size_t index;
	json_t *alias;
	json_array_foreach(aliases, index, alias)
	{
		const char *name = json_text(alias, "name");
		cleanup(free) char *field = alloc_printf("aliases[%zu].name", index);
		r = name ? image_check_alias(field, name, e)
			 : error_set(e, -EINVAL, "%s: a text is wanted", field);
		if (r < 0)
			return r;
	}
	*ret = aliases ? json_deep_copy(aliases) : json_array();
	return 0;
}

/* The wishes that both kinds of request may have; a new object. */
static int read_wishes(const json_t *body, json_t **ret, struct error *e)
{
	json_t *properties = NULL, *profiles = NULL;
	const char *filename = "", *expires = "";
	bool is_public = false, is_updated = false;
	int r = json_read_text_map(body, "", "properties", &properties, e);
	if (r == 0)
		r = json_read_text_array(body, "", "profiles", &profiles, e);
	if (r == 0)
		r = json_read_text(body, "", "filename", &filename, e);
	if (r == 0)
		r = json_read_text(body, "", "expires_at", &expires, e);
	if (r == 0)
		r = json_read_bool(body, "", "public", &is_public, e);
	if (r == 0)
		r = json_read_bool(body, "", "auto_update", &is_updated, e);
	if (r == 0 && is_updated)
		r = error_set(e, -EINVAL, "auto_update: images do not change by themselves here");
	json_t *aliases;
	if (r == 0)
		r = image_read_aliases(body, &aliases, e);
	if (r < 0)
		return r;
	*ret = json_pack("{sosososssssb}", "properties",
		properties ? json_incref(properties) : json_object(), "profiles",
		profiles ? json_incref(profiles) : json_array(), "aliases", aliases, "filename",
		filename, "expires_at", expires, "public", is_public);
	return 0;
}

/* "a=b&c=d", percent-encoded, as X-LXD-properties has it. */
static int read_query_map(const char *text, json_t *map, struct error *e)
{
	while (text && *text) {
		size_t length = strcspn(text, "&");
		const char *equals = memchr(text, '=', length);
		char *key = NULL, *value = NULL;
		int r = equals ? uri_decode(text, (size_t)(equals - text), &key) : -EINVAL;
		if (r == 0)
			r = uri_decode(equals + 1, (size_t)(text + length - equals - 1), &value);
		if (r == 0)
			json_set_text(map, key, value);
		free(key);
		free(value);
		if (r < 0)
			return error_set(
				e, -EINVAL, "X-LXD-properties: \"%.60s\" is no KEY=VALUE", text);
		text += length + (text[length] == '&');
	}
	return 0;
}

static int wishes_of_headers(struct request *request, json_t **ret, struct error *e)
{
	const char *is_public = request_x_header(request, "public");
	const char *filename = request_x_header(request, "filename");
	cleanup(json_decref) json_t *properties = json_object();
	int r = read_query_map(request_x_header(request, "properties"), properties, e);
	if (r < 0)
		return r;
	*ret = json_pack("{sOsssb}", "properties", properties, "filename", filename ?: "", "public",
		text_equal(is_public, "1") || text_equal(is_public, "true"));
	return *ret ? 0 : error_set(e, -EINVAL, "X-LXD-filename: no text in UTF-8");
}

static int create_from_upload(struct service *service, struct request *request, struct error *e)
{
	const char *project = project_of(service, request_project(request), "images");
	struct http_part *image = request_file(request);
	struct http_part *metadata = request_part(request, "metadata");
	struct http_part *rootfs = request_part(request, "rootfs");
	bool is_disk = !rootfs && request_part(request, "rootfs.img");
	if (is_disk)
		rootfs = request_part(request, "rootfs.img");
	const char *format = request_query(request, "format");
	const char *fingerprint = request_x_header(request, "fingerprint");
	if (!image && (!metadata || !rootfs))
		return error_set(e, -EINVAL,
			"an image is one file, or the two parts \"metadata\" and \"rootfs\"");
	if (format && !text_equal(format, "oci") && !text_equal(format, "lxd"))
		return error_set(e, -EINVAL, "format: \"%s\" is neither lxd nor oci", format);
	if (fingerprint && image_record(service->images, project, fingerprint))
		return error_set(e, -EEXIST, "Image with same fingerprint already exists");
	json_t *wishes;
	int r = wishes_of_headers(request, &wishes, e);
	if (r < 0)
		return r;
	struct creation *creation = creation_new(service, request, "Unpacking image");
	const struct image_import_options options = { .project = project,
		.wishes = wishes,
		.is_disk = is_disk,
		.progress = on_progress,
		.done = on_done,
		.data = creation };
	if (image && text_equal(format, "oci"))
		r = image_import_oci_archive(service->images, image->fd,
			request_query(request, "name"), &options, &creation->import, e);
	else
		r = image_import_file(service->images, image ? image->fd : metadata->fd,
			image ? -1 : rootfs->fd, fingerprint, &options, &creation->import, e);
	return answer(request, creation, r, e);
}

static bool is_loopback(const char *host)
{
	return text_starts(host, "127.") || text_equal(host, "localhost") ||
		text_starts(host, "localhost:") || text_starts(host, "[::1]");
}

/*
 * "https://registry:5000" and "library/alpine:3" as skopeo reads it. Without TLS only this machine is spoken
 * to, and only if asked.
 */
static int registry_source(
	const char *server, const char *alias, char **ret, bool *ret_is_plain, struct error *e)
{
	bool is_plain = text_starts(server, "http://");
	const char *host = strstr(server, "://");
	host = host ? host + 3 : server;
	size_t length = strcspn(host, "/");
	cleanup(free) char *name = alloc_text_n(host, length);
	int r = image_check_alias("source.alias", alias, e);
	if (r < 0)
		return r;
	if (!*name ||
		strspn(name,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			".-:[]") != strlen(name))
		return error_set(e, -EINVAL, "source.server: \"%.100s\" names no host", server);
	if (is_plain && !is_loopback(name))
		return error_set(e, -EINVAL,
			"source.server: without TLS (http://) only a registry on this machine is used");
	const char *path = host + length;
	path += strspn(path, "/");
	*ret = alloc_printf("docker://%s/%s%s%s", name, path, *path ? "/" : "", alias);
	*ret_is_plain = is_plain;
	return 0;
}

static int create_from_registry(struct service *service, struct request *request,
	const json_t *source, json_t *wishes, struct error *e)
{
	const char *server, *alias;
	cleanup(free) char *from = NULL;
	bool is_plain = false;
	int r = json_require_text(source, "source", "server", &server, e);
	if (r == 0)
		r = json_require_text(source, "source", "alias", &alias, e);
	if (r == 0)
		r = registry_source(server, alias, &from, &is_plain, e);
	if (r < 0) {
		json_decref(wishes);
		return r;
	}
	json_set_text(wishes, "source", from);
	struct creation *creation = creation_new(service, request, "Downloading image");
	const struct image_import_options options = { .project = project_of(service,
							      request_project(request), "images"),
		.wishes = wishes,
		.progress = on_progress,
		.done = on_done,
		.data = creation };
	r = image_import_registry(service->images, from, is_plain, &options, &creation->import, e);
	return answer(request, creation, r, e);
}

int images_fetch(struct service *service, const char *project, const json_t *source,
	void (*progress)(void *data, json_t *progress), images_done *done, void *data,
	struct error *e)
{
	const char *server, *alias;
	const char *protocol = json_text(source, "protocol");
	cleanup(free) char *from = NULL;
	bool is_plain = false;
	int r = text_equal(protocol, "oci")
		? json_require_text(source, "source", "server", &server, e)
		: error_set(e, -EINVAL,
			  "source.protocol: images are fetched from registries (oci) only, not by \"%s\"",
			  protocol ? protocol : "");
	if (r == 0)
		r = json_require_text(source, "source", "alias", &alias, e);
	if (r == 0)
		r = registry_source(server, alias, &from, &is_plain, e);
	if (r < 0)
		return r;
	const struct image_import_options options = {
		.project = project_of(service, project, "images"),
		.wishes = json_pack("{sssb}", "source", from, "cached", 1),
		.is_shared = true,
		.progress = progress,
		.done = done,
		.data = data,
	};
	return image_import_registry(service->images, from, is_plain, &options, NULL, e);
}

struct root_search {
	const char *project;
	const char *name;
	char *pool;
	enum volume_type type;
};

static void match_root(void *data, const struct volume_ref *ref, json_t *record)
{
	struct root_search *search = data;
	(void)record;
	if (ref->type != VOLUME_TYPE_CUSTOM && text_equal(ref->project, search->project) &&
		text_equal(ref->name, search->name) && !search->pool) {
		search->pool = alloc_text(ref->pool);
		search->type = ref->type;
	}
}

/* The task "pack" of an instance's root, with the metadata.yaml of the image to be (JSON is YAML). */
static int pack_of_root(struct service *service, const struct volume_ref *root,
	const json_t *wishes, const char *compression, json_t **ret, struct error *e)
{
	json_t *plan;
	int r = storage_root_plan(service->storage, root, &plan, e);
	if (r < 0)
		return r;
	struct utsname here = {};
	(void)!uname(&here);
	cleanup(free) char *now = alloc_printf("%" PRIu64, loop_wall_clock() / NS_PER_SEC);
	cleanup(json_decref) json_t *metadata = json_pack("{sssssO}", "architecture", here.machine,
		"creation_date", now, "properties", json_object_get(wishes, "properties"));
	cleanup(free) char *text = json_dumps(metadata, JSON_INDENT(1));
	*ret = json_pack("{sss[{ssss}]s[{ssso}]}", "compression", compression, "files", "name",
		"metadata.yaml", "text", text, "trees", "prefix", "rootfs", "root", plan);
	return 0;
}

static int create_from_instance(struct service *service, struct request *request,
	const json_t *body, json_t *wishes, struct error *e)
{
	const json_t *source = json_object_get(body, "source");
	const char *whole, *compression = "gzip";
	cleanup(json_decref) json_t *kept = wishes;
	int r = json_require_text(source, "source", "name", &whole, e);
	if (r == 0)
		r = json_read_text(body, "", "compression_algorithm", &compression, e);
	if (r < 0)
		return r;
	if (!*compression)
		compression = "gzip";
	const char *slash = strchr(whole, '/');
	cleanup(free) char *name = alloc_text_n(whole, strcspn(whole, "/"));
	struct root_search search = { .project = request_project(request), .name = name };
	volumes_each(service->storage, match_root, &search);
	cleanup(free) char *pool = search.pool;
	const struct instance *instance = instance_find(service, request_project(request), name);
	if (instance && (instance->kind->can & KIND_IS_SERVER) && !slash)
		return error_set(e, -EOPNOTSUPP,
			"source.name: the disk of a server is not on this host: take a snapshot, and publish "
			"that");
	if (!pool)
		return error_set(e, -ENOENT, "source.name: there is no instance \"%s\"", name);
	struct volume_ref root = { .pool = pool,
		.type = search.type,
		.project = search.project,
		.name = name,
		.snapshot = slash ? slash + 1 : NULL };
	json_t *pack;
	r = pack_of_root(service, &root, wishes, compression, &pack, e);
	if (r < 0)
		return r;
	struct creation *creation = creation_new(service, request, "Publishing image");
	const struct image_import_options options = { .project = project_of(service,
							      request_project(request), "images"),
		.wishes = TAKE_PTR(kept),
		.progress = on_progress,
		.done = on_done,
		.data = creation };
	r = image_import_pack(service->images, pack, &options, &creation->import, e);
	return answer(request, creation, r, e);
}

/* {"type": "unikernel", "entrypoint": "/bin/app -x", "source": {"type": "image", "alias" or "fingerprint"}} */
static int create_unikernel(struct service *service, struct request *request, const json_t *body,
	json_t *wishes, struct error *e)
{
	const json_t *source = json_object_get(body, "source");
	const char *project = project_of(service, request_project(request), "images");
	const char *name = json_text(source, "fingerprint") ?: json_text(source, "alias");
	const char *entrypoint = NULL;
	cleanup(json_decref) json_t *kept = wishes;
	json_t *record = NULL;
	int r = json_read_text(body, "", "entrypoint", &entrypoint, e);
	if (r == 0)
		r = name ? images_find(service->images, request_project(request), name, &record, e)
			 : error_set(e, -EINVAL,
				   "source: needs a fingerprint or an alias of an image");
	if (r < 0)
		return r;
	if (!text_equal(json_text(record, "type"), "container"))
		return error_set(e, -EINVAL,
			"source: a unikernel is made of an image of type container, not of type %s",
			json_text(record, "type") ?: "");
	struct creation *creation = creation_new(service, request, "Building unikernel");
	const struct image_import_options options = { .project = project,
		.wishes = TAKE_PTR(kept),
		.progress = on_progress,
		.done = on_done,
		.data = creation };
	r = image_import_unikernel(service->images, record,
		entrypoint && *entrypoint ? entrypoint : NULL, &options, &creation->import, e);
	return answer(request, creation, r, e);
}

static int create_from_json(struct service *service, struct request *request, struct error *e)
{
	const json_t *body = request_json(request);
	json_t *source = NULL;
	json_t *wishes;
	int r = json_read_object(body, "", "source", &source, e);
	if (r == 0 && !source)
		r = error_set(e, -EINVAL, "source: is missing");
	if (r == 0)
		r = read_wishes(body, &wishes, e);
	if (r < 0)
		return r;
	const char *type = json_text(source, "type");
	const char *protocol = json_text(source, "protocol");
	if (text_equal(type, "instance") || text_equal(type, "container") ||
		text_equal(type, "snapshot"))
		return create_from_instance(service, request, body, wishes, e);
	if (text_equal(type, "image") && text_equal(protocol, "oci"))
		return create_from_registry(service, request, source, wishes, e);
	if (text_equal(type, "image") && text_equal(json_text(body, "type"), "unikernel"))
		return create_unikernel(service, request, body, wishes, e);
	json_decref(wishes);
	if (text_equal(type, "image"))
		return error_set(e, -EINVAL,
			"source.protocol: images are fetched from registries (oci) only, not by \"%s\"",
			protocol ? protocol : "");
	return error_set(e, -EINVAL, "source.type: \"%s\" is none of instance, snapshot, image",
		type ? type : "");
}

int create_image(struct service *service, struct request *request, struct error *e)
{
	if (request_json(request))
		return create_from_json(service, request, e);
	return create_from_upload(service, request, e);
}
