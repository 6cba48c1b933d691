/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.c - what instances start from.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "cli/cells.h"
#include "cli/context.h"
#include "cli/image_build.h"
#include "cli/noun.h"
#include "cli/object.h"
#include "cli/transfer.h"
#include "cli/verbs.h"

static const struct option upload_options[] = {
	{ "alias", '\0', "NAME", "call it so; may be given again" },
	{ "public", '\0', NULL, "let everybody use it who can reach the server" },
	{ "property", '\0', "KEY=VALUE", "say more about it; may be given again" },
	{},
};
static const struct option pull_options[] = {
	{ "alias", '\0', "NAME", "call it so here; may be given again" },
	{ "insecure", '\0', NULL, "from a registry without TLS" },
	{},
};
static const struct option table_options[] = { OPTION_FORMAT, OPTION_COLUMNS, {} };

/* An alias, or a fingerprint or the start of one: its fingerprint; the caller owns *ret. */
static int resolve(struct context *context, const char *name, char **ret, struct error *e)
{
	cleanup(json_decref) json_t *alias = NULL;
	cleanup(free) char *path = path_format("/1.0/images/aliases/%s", name);
	int r = context_get(context, path, &alias, NULL, e);
	if (r < 0 && (r != -ENOENT || remote_is_absent(context->remote)))
		return r;
	const char *target = r == 0 ? object_text(alias, "target") : NULL;
	*ret = alloc_text(target ? target : name);
	return 0;
}

static char *image_path(struct context *context, const char *name, struct error *e)
{
	cleanup(free) char *fingerprint = NULL;
	int r = resolve(context, name, &fingerprint, e);
	return r < 0 ? NULL : path_format("/1.0/images/%s", fingerprint);
}

static int add_alias(
	struct context *context, const char *alias, const char *fingerprint, struct error *e)
{
	return context_change(context, "POST", "/1.0/images/aliases",
		json_pack(
			"{s:s, s:s, s:s}", "name", alias, "target", fingerprint, "description", ""),
		NULL, "alias", NULL, e);
}

/* Gives the image of a finished operation its aliases and tells its fingerprint. */
static int imported(struct context *context, const json_t *operation, struct error *e)
{
	const char *fingerprint = object_text(operation, "metadata/fingerprint");
	if (!fingerprint)
		return error_set(e, -EIO, "the server told no fingerprint");
	size_t position = 0;
	for (const char *alias; (alias = options_next(&context->options, "alias", &position));) {
		int r = add_alias(context, alias, fingerprint, e);
		if (r < 0)
			return error_prefix(e, r, "alias %s", alias);
	}
	cleanup(text_done) struct text text = {};
	text_printf(&text, "%s\n", fingerprint);
	return output_write(&text, e);
}

static void add_urlencoded(struct text *text, const char *key, const char *value)
{
	cleanup(free) char *k = path_format("%s", key);
	cleanup(free) char *v = path_format("%s", value);
	text_printf(text, "%s%s=%s", text->length ? "&" : "", k, v);
}

/* "os=Debian&release=bookworm" of --property. */
static int properties(struct context *context, struct text *text, struct error *e)
{
	cleanup(json_decref) json_t *pairs = json_object();
	int r = pairs_of_option(context, "property", pairs, e);
	const char *key;
	json_t *value;
	json_object_foreach(pairs, key, value) add_urlencoded(text, key, json_string_value(value));
	return r;
}

static int open_image(const char *path, struct error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	if (fd < 0)
		return error_errno(e, "%s", path);
	if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
		close(fd);
		return error_set(
			e, -EISDIR, "%s: is a directory; 'berth image build' takes one", path);
	}
	return fd;
}

static int send_image(struct context *context, const struct client_request *like, struct error *e)
{
	cleanup(text_done) struct text list = {};
	int r = properties(context, &list, e);
	if (r < 0)
		return r;
	cleanup(free) char *header =
		list.length ? alloc_printf("X-LXD-properties: %s", list.data) : NULL;
	const char *headers[5] = {};
	size_t count = 0;
	if (options_flag(&context->options, "public"))
		headers[count++] = "X-LXD-public: 1";
	if (header)
		headers[count++] = header;
	for (size_t i = 0; like->headers && like->headers[i] && count < 4; i++)
		headers[count++] = like->headers[i];
	struct client_request request = *like;
	request.method = "POST";
	request.target = "/1.0/images";
	request.headers = headers;
	cleanup(json_decref) json_t *operation = NULL;
	r = context_change_request(context, &request, "import", &operation, e);
	return r < 0 ? r : imported(context, operation, e);
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static int import(struct context *context, struct error *e)
{
	const char *first = context_argument(context, 0), *second = context_argument(context, 1);
	cleanup(close) int fd = open_image(first, e);
	if (fd < 0)
		return fd;
	struct transfer transfer = { .fd = fd, .context = context, .what = last_part(first) };
	if (!second) {
		struct client_source source = transfer_source(&transfer);
		cleanup(free) char *name = alloc_printf("X-LXD-filename: %s", last_part(first));
		const char *headers[] = { name, NULL };
		return send_image(context,
			&(struct client_request){ .source = &source, .headers = headers }, e);
	}
	cleanup(close) int root = open_image(second, e);
	if (root < 0)
		return root;
	struct transfer more = { .fd = root, .context = context, .what = last_part(second) };
	struct client_part parts[] = {
		{ "metadata", last_part(first), transfer_source(&transfer) },
		{ text_ends(second, ".qcow2") || text_ends(second, ".img") ? "rootfs.img"
									   : "rootfs",
			last_part(second), transfer_source(&more) },
	};
	return send_image(context, &(struct client_request){ .parts = parts, .part_count = 2 }, e);
}

/* Of an image that the server has. */
static int build_of_image(struct context *context, const char *name, struct error *e)
{
	const char *entrypoint = options_text(&context->options, "entrypoint");
	cleanup(json_decref) json_t *pairs = json_object();
	int r = pairs_of_option(context, "property", pairs, e);
	if (r < 0)
		return r;
	json_t *body = json_pack("{s:s, s:{s:s, s:s}, s:O, s:b}", "type", "unikernel", "source",
		"type", "image", "alias", name, "properties", pairs, "public",
		options_flag(&context->options, "public"));
	if (entrypoint)
		json_object_set_new(body, "entrypoint", json_string(entrypoint));
	cleanup(free) char *what = alloc_printf("build %s", name);
	cleanup(json_decref) json_t *operation = NULL;
	r = context_change(context, "POST", "/1.0/images", body, NULL, what, &operation, e);
	return r < 0 ? r : imported(context, operation, e);
}

static int build(struct context *context, struct error *e)
{
	struct image_build build;
	int code;
	const char *what = context_argument(context, 0);
	/* An alias may be "debian/12". */
	bool is_path = text_starts(what, "/") || text_starts(what, ".");
	if (image_build_is_unikernel(&context->options, e, &code) && access(what, F_OK) < 0)
		return is_path ? error_errno(e, "%s", what) : build_of_image(context, what, e);
	if (code < 0)
		return code;
	int r = image_build_start(&build, context_argument(context, 0), &context->options, e);
	if (r < 0)
		return r;
	struct client_source source = image_build_source(&build);
	const char *headers[] = { "X-LXD-filename: image.tar", NULL };
	r = send_image(
		context, &(struct client_request){ .source = &source, .headers = headers }, e);
	/* Where both failed, tar is the reason. */
	struct error why = {};
	int tar = image_build_finish(&build, &why);
	return tar < 0 ? error_set(e, tar, "%s", why.text) : r;
}

/* "docker://REGISTRY/NAME:TAG", "NAME:TAG", or "https://server/alias" of an image server. */
static int pull(struct context *context, struct error *e)
{
	const char *reference = context_argument(context, 0);
	static const char *const prefixes[] = { "docker://", "docker:", "oci://" };
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (text_starts(reference, prefixes[i])) {
			reference += strlen(prefixes[i]);
			break;
		}
	/* As everybody reads it: a first part with a dot, a colon or "localhost" is a registry. */
	const char *slash = strchr(reference, '/');
	cleanup(free) char *host =
		slash ? alloc_text_n(reference, (size_t)(slash - reference)) : alloc_text("");
	bool has_host = slash && (strpbrk(host, ".:") || text_equal(host, "localhost"));
	bool is_insecure = options_flag(&context->options, "insecure");
	cleanup(free) char *server = alloc_printf(
		"%s://%s", is_insecure ? "http" : "https", has_host ? host : "docker.io");
	json_t *body = json_pack("{s:{s:s, s:s, s:s, s:s, s:s}, s:b}", "source", "type", "image",
		"mode", "pull", "protocol", "oci", "server", server, "alias",
		has_host ? slash + 1 : reference, "public", 0);
	cleanup(free) char *what = alloc_printf("pull %s", context_argument(context, 0));
	cleanup(json_decref) json_t *operation = NULL;
	int r = context_change(context, "POST", "/1.0/images", body, NULL, what, &operation, e);
	return r < 0 ? r : imported(context, operation, e);
}

static char *first_alias(const json_t *image)
{
	struct text text = {};
	size_t i;
	json_t *alias;
	json_array_foreach(json_object_get(image, "aliases"), i, alias)
		text_printf(&text, "%s%s", i ? " " : "", object_text(alias, "name"));
	return text_take(&text);
}

static char *short_fingerprint(const json_t *image)
{
	const char *fingerprint = object_text(image, "fingerprint");
	return alloc_text_n(fingerprint ? fingerprint : "", 12);
}

static int list(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "alias", "ALIAS", .make = first_alias },
		{ "fingerprint", "FINGERPRINT", .make = short_fingerprint },
		{ "type", "TYPE", "type" },
		{ "architecture", "ARCHITECTURE", "architecture" },
		{ "size", "SIZE", "size", CELL_BYTES },
		{ "description", "DESCRIPTION", "properties/description" },
		{ "created", "CREATED", "created_at", CELL_TIME, .is_extra = true },
		{ "uploaded", "UPLOADED", "uploaded_at", CELL_TIME },
		{ "public", "PUBLIC", "public", CELL_YES, .is_extra = true },
		{},
	};
	return cells_list(context, columns, "/1.0/images?recursion=1", e);
}

static int info(struct context *context, struct error *e)
{
	cleanup(free) char *path = image_path(context, context_argument(context, 0), e);
	return path ? object_show(context, path, e) : -ENOENT;
}

static int delete (struct context *context, struct error *e)
{
	const char *name;
	for (unsigned i = 0; (name = context_argument(context, i)); i++) {
		cleanup(free) char *path = image_path(context, name, e);
		if (!path)
			return -ENOENT;
		int r = context_change(context, "DELETE", path, NULL, NULL, "delete", NULL, e);
		if (r < 0)
			return error_prefix(e, r, "%s", name);
	}
	return 0;
}

/* The file name the server proposes, if it is one and nothing else. */
static char *export_name(const struct client_response *response, const char *fingerprint)
{
	char line[512];
	const char *text = client_header(response, "Content-Disposition", line, sizeof(line));
	const char *name = text ? strstr(text, "filename=") : NULL;
	if (name) {
		name += strlen("filename=");
		name += *name == '"';
		size_t length = strcspn(name, "\";");
		if (length && *name != '.' && !memchr(name, '/', length))
			return alloc_text_n(name, length);
	}
	return alloc_printf("%.12s.tar", fingerprint);
}

static int export(struct context *context, struct error *e)
{
	cleanup(free) char *path = image_path(context, context_argument(context, 0), e);
	if (!path)
		return -ENOENT;
	const char *target = context_argument(context, 1);
	cleanup(free) char *random = text_random_hex(4);
	cleanup(free) char *temporary = alloc_printf("%s.berth-%s", target ? target : "", random);
	cleanup(close) int fd =
		open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return error_errno(e, "%s", temporary);
	cleanup(free) char *url = alloc_printf("%s/export", path);
	cleanup(answer_done) struct answer answer = {};
	int r = context_send(context,
		&(struct client_request){
			.method = "GET", .target = url, .write = transfer_sink, .write_data = &fd },
		&answer, e);
	cleanup(free) char *name =
		target ? alloc_text(target) : export_name(&answer.response, strrchr(path, '/') + 1);
	if (r == 0 && rename(temporary, name) < 0)
		r = error_errno(e, "%s", name);
	if (r < 0)
		unlink(temporary);
	else
		context_note(context, "written to %s", name);
	return r;
}

static int alias_create(struct context *context, struct error *e)
{
	cleanup(free) char *fingerprint = NULL;
	int r = resolve(context, context_argument(context, 1), &fingerprint, e);
	return r < 0 ? r : add_alias(context, context_argument(context, 0), fingerprint, e);
}

static int alias_list(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "alias", "ALIAS", "name" },
		{ "fingerprint", "FINGERPRINT", "target" },
		{ "type", "TYPE", "type" },
		{ "description", "DESCRIPTION", "description" },
		{},
	};
	return cells_list(context, columns, "/1.0/images/aliases?recursion=1", e);
}

static int alias_delete(struct context *context, struct error *e)
{
	cleanup(free) char *path =
		path_format("/1.0/images/aliases/%s", context_argument(context, 0));
	return context_change(context, "DELETE", path, NULL, NULL, "delete", NULL, e);
}

static int alias_rename(struct context *context, struct error *e)
{
	cleanup(free) char *path =
		path_format("/1.0/images/aliases/%s", context_argument(context, 0));
	return context_change(context, "POST", path,
		json_pack("{s:s}", "name", context_argument(context, 1)), NULL, "rename", NULL, e);
}

static const struct verb alias_verbs[] = {
	{ "create", "ALIAS IMAGE", "give an image a name", .run = alias_create, .min = 2,
		.max = 2 },
	{ "list", "", "list the names of images", .run = alias_list, .options = table_options },
	{ "rename", "ALIAS NAME", "change a name", .run = alias_rename, .min = 2, .max = 2,
		.words = WORDS_IMAGE },
	{ "delete", "ALIAS", "take a name away; the image stays", .run = alias_delete, .min = 1,
		.max = 1, .words = WORDS_IMAGE },
	{},
};

const struct verb image_verbs[] = {
	{ "import", "FILE [ROOTFS]", "import a tarball, or metadata and root file system",
		.run = import, .options = upload_options, .min = 1, .max = 2, .words = WORDS_FILE },
	{ "build", "DIRECTORY|PROGRAM|IMAGE",
		"make an image from a root file system, or a unikernel from a program or image",
		.run = build, .options = image_build_options, .min = 1, .max = 1,
		.words = WORDS_FILE },
	{ "pull", "IMAGE", "fetch an OCI image from a registry: docker://host/name:tag",
		.run = pull, .options = pull_options, .min = 1, .max = 1 },
	{ "list", "", "list the images", .run = list, .options = table_options },
	{ "info", "IMAGE", "show all about an image", .run = info, .options = noun_show_options,
		.min = 1, .max = 1, .words = WORDS_IMAGE },
	{ "export", "IMAGE [FILE]", "write an image to a file", .run = export, .min = 1, .max = 2,
		.words = WORDS_IMAGE },
	{ "delete", "IMAGE...", "delete images", .run = delete, .min = 1, .max = ARGUMENTS_ANY,
		.words = WORDS_IMAGE },
	{ "alias", NULL, "Names of images", .verbs = alias_verbs },
	{},
};
