/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import.c - from bytes to an image.
 *
 * Theory of operation. Everything is made in a stage, a directory in DIR/tmp, which is gone with the import
 * and with the daemon. The last step, in one turn of the loop, gives layers and files their names and then writes
 * the record. Killed before that, nothing is seen; killed in between, the files have no record and are swept.
 */
#include "daemon/image/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/api.h"
#include "daemon/events.h"
#include "daemon/image/images.h"
#include "daemon/image/store.h"
#include "daemon/job.h"
#include "kind/unikernel.h"
#include "model/json.h"
#include "model/template.h"
#include "model/words.h"

#define NEVER "1970-01-01T00:00:00Z"

struct image_import {
	struct images *images;
	char *project;
	json_t *wishes;
	void (*progress)(void *data, json_t *progress);
	images_done *done;
	void *data;
	char *stage_name; /* in DIR/tmp */
	int stage;
	int image; /* -1 if there is none */
	int rootfs;
	char *oci_name;
	json_t *have;
	json_t *told;   /* what the job of the image answered */
	json_t *from;   /* the record that a unikernel is made of */
	json_t *config; /* a unikernel's: its program */
	struct job *job;
	bool is_shared;
	bool is_disk;
};

static void stage_removed(void *data, int code, json_t *result, const struct error *e)
{
	(void)data;
	(void)result;
	if (code < 0)
		log_warning("remove a stage: %s", e->text);
}

static void remove_stage(struct image_import *import)
{
	struct service *service = import->images->service;
	const struct job_options options = {
		.task = json_pack("{sss[s]}", "task", "remove", "names", import->stage_name),
		.fds = { service->tmp_dir },
		.fd_count = 1,
		.done = stage_removed,
	};
	struct error e = {};
	if (job_start(service, &options, NULL, &e) < 0)
		log_warning("remove a stage: %s", e.text);
}

static void import_free(struct image_import *import)
{
	if (import->stage_name)
		remove_stage(import);
	const int fds[] = { import->stage, import->image, import->rootfs };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(import->project);
	free(import->stage_name);
	free(import->oci_name);
	json_decref(import->wishes);
	json_decref(import->have);
	json_decref(import->told);
	json_decref(import->from);
	json_decref(import->config);
	free(import);
}

static void end(struct image_import *import, int code, json_t *result, const struct error *e)
{
	static const struct error none;
	struct images *images = import->images;
	import->done(import->data, code, result, e ? e : &none);
	import_free(import);
	images->busy--;
	images_collect(images);
}

static void end_failed(struct image_import *import, int code, const struct error *e)
{
	end(import, code, NULL, e);
}

static void on_progress(void *data, json_t *progress)
{
	struct image_import *import = data;
	if (import->progress)
		import->progress(import->data, progress);
}

/* Gives the layer its name; it may have it already from another image. */
static int name_layer(
	struct image_import *import, const char *from, const char *name, struct error *e)
{
	struct images *images = import->images;
	if (renameat2(import->stage, from, images->layers, name, RENAME_NOREPLACE) < 0 &&
		errno != EEXIST)
		return error_errno(e, "name the layer %s", name);
	return 0;
}

static int name_file(struct image_import *import, int fd, const char *name, struct error *e)
{
	char path[40];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, path, import->images->files, name, AT_SYMLINK_FOLLOW) < 0 &&
		errno != EEXIST)
		return error_errno(e, "name the file %s", name);
	return 0;
}

static void take_text(json_t *record, const char *field, const json_t *from, const char *usual)
{
	const char *text = json_text(from, field);
	json_set_text(record, field, text && *text ? text : usual);
}

/* "1700000000" of metadata.yaml, or nothing, as the API writes a time. */
static void take_seconds(json_t *record, const char *field, const json_t *from, const char *name)
{
	uint64_t seconds;
	const char *text = json_text(from, name);
	char time[TEXT_TIME_SIZE];
	if (text && text_to_u64(text, &seconds) == 0 && seconds > 0 && seconds < UINT32_MAX)
		json_set_text(record, field, text_format_time(seconds * NS_PER_SEC, time));
	else
		json_set_text(record, field, NEVER);
}

static json_t *text_map(const json_t *from)
{
	json_t *map = json_object();
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)from, key, value)
	{
		if (json_is_string(value))
			json_object_set(map, key, value);
	}
	return map;
}

static json_t *new_record(struct image_import *import, const json_t *metadata, const char *type)
{
	char now[TEXT_TIME_SIZE];
	text_format_time(loop_wall_clock(), now);
	const json_t *wishes = import->wishes;
	json_t *record = json_pack("{sssOsbsbsssssss[s]}", "fingerprint",
		json_text(import->told, "fingerprint"), "size",
		json_object_get(import->told, "size"), "auto_update", 0, "cached",
		json_is_true(json_object_get(wishes, "cached")), "type", type, "uploaded_at", now,
		"last_used_at", NEVER, "profiles", "default");
	json_set_bool(record, "public", json_is_true(json_object_get(wishes, "public")));
	json_t *profiles = json_object_get(wishes, "profiles");
	if (json_array_size(profiles) > 0)
		json_object_set(record, "profiles", profiles);
	take_text(record, "filename", wishes, "");
	take_text(record, "architecture", metadata, "x86_64");
	take_seconds(record, "created_at", metadata, "creation_date");
	take_seconds(record, "expires_at", metadata, "expiry_date");
	const char *expires = json_text(wishes, "expires_at");
	if (expires && *expires)
		json_set_text(record, "expires_at", expires);
	json_t *properties = text_map(json_object_get(metadata, "properties"));
	json_object_update(properties, json_object_get(wishes, "properties"));
	json_object_set_new(record, "properties", properties);
	if (json_object_get(metadata, "templates"))
		json_object_set(record, "templates", json_object_get(metadata, "templates"));
	return record;
}

static int put_aliases(struct image_import *import, const char *type, struct error *e)
{
	size_t index;
	json_t *alias;
	json_array_foreach(json_object_get(import->wishes, "aliases"), index, alias)
	{
		const char *name = json_text(alias, "name");
		if (!name || !*name)
			continue;
		int r = image_alias_put(import->images, import->project, name,
			json_pack("{ssssss}", "target", json_text(import->told, "fingerprint"),
				"description", json_text(alias, "description") ?: "", "type", type),
			e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int put_record(struct image_import *import, json_t *record, struct error *e)
{
	struct images *images = import->images;
	const char *fingerprint = json_text(record, "fingerprint");
	cleanup(free) char *type = alloc_text(json_text(record, "type"));
	cleanup(free) char *url = url_for("/1.0/images", fingerprint, import->project);
	int r = image_record_put(images, import->project, record, e);
	if (r == 0)
		r = put_aliases(import, type, e);
	if (r < 0)
		return r;
	events_lifecycle(images->service, "image-created", import->project, url,
		json_pack("{ss}", "type", type));
	return 0;
}

static void finish(struct image_import *import, int code, struct error *e)
{
	if (code < 0) {
		end_failed(import, code, e);
		return;
	}
	cleanup(json_decref) json_t *result =
		json_pack("{sOsO}", "fingerprint", json_object_get(import->told, "fingerprint"),
			"size", json_object_get(import->told, "size"));
	end(import, 0, result, NULL);
}

static int refuse_second(struct image_import *import, struct error *e)
{
	const char *fingerprint = json_text(import->told, "fingerprint");
	if (image_record(import->images, import->project, fingerprint))
		return error_set(e, -EEXIST, "Image with same fingerprint already exists");
	return 0;
}

/* "/bin/app" of "/bin/app -x"; the caller owns it. */
static int read_program(const char *entrypoint, char **ret, struct error *e)
{
	cleanup(words_free) char **words = NULL;
	int r = words_split(entrypoint, &words, e);
	if (r == 0 && !words[0])
		r = error_set(e, -EINVAL, "a unikernel's image needs a program");
	if (r == 0)
		*ret = alloc_text(words[0]);
	return r < 0 ? error_prefix(e, r, "entrypoint") : 0;
}

/* What its metadata.yaml says: {"unikernel": {"entrypoint": "/bin/app -x"}}. */
static const char *entrypoint_of(const json_t *told)
{
	const json_t *unikernel = json_object_get(json_object_get(told, "metadata"), "unikernel");
	return json_text(unikernel, "entrypoint");
}

/* From the stage to its place beside the layer, where it is looked for at a start. */
static int name_unikernel(struct image_import *import, const char *layer, struct error *e)
{
	cleanup(free) char *program = NULL;
	int r = read_program(json_text(import->config, "oci.entrypoint"), &program, e);
	if (r < 0)
		return r;
	cleanup(free) char *path = images_layer_path(import->images, layer);
	cleanup(json_decref) json_t *layers = json_pack("[s]", path);
	cleanup(free) char *image = unikernel_image(layers, program, NULL);
	if (renameat(import->stage, "unikernel", AT_FDCWD, image) < 0)
		return error_errno(e, "name %s", image);
	return 0;
}

/* What a template can't do here is said now, not at the start of an instance. */
static int check_templates(const struct image_import *import, struct error *e)
{
	const char *path;
	json_t *template;
	const json_t *metadata = json_object_get(import->told, "metadata");
	json_object_foreach(json_object_get(metadata, "templates"), path, template)
	{
		const char *content = json_text(template, "content");
		int r = path[0] == '/' ? template_check(content ? content : "", e)
				       : error_set(e, -EINVAL, "its path must be absolute");
		if (r < 0)
			return error_prefix(e, r, "metadata.yaml: templates.%.80s", path);
	}
	return 0;
}

/* An LXD image is unpacked: one layer, named by the fingerprint, and one file or two. */
static int keep_image(struct image_import *import, struct error *e)
{
	int r = refuse_second(import, e);
	if (r == 0)
		r = check_templates(import, e);
	if (r < 0)
		return r;
	const char *fingerprint = json_text(import->told, "fingerprint");
	const char *type = json_text(import->told, "type");
	if (import->config)
		type = "unikernel";
	bool is_machine = !text_equal(type, "container") && !import->config;
	cleanup(free) char *rootfs_name = alloc_printf("%s.rootfs", fingerprint);
	cleanup(free) char *disk_name = alloc_printf("%s.disk", fingerprint);
	bool is_converted = json_is_true(json_object_get(import->told, "qcow2"));
	bool is_inside = json_is_true(json_object_get(import->told, "inner_disk"));
	bool has_rootfs = !text_equal(type, "virtual-machine");
	r = name_file(import, import->image, fingerprint, e);
	if (r == 0 && import->rootfs >= 0)
		r = name_file(import, import->rootfs, rootfs_name, e);
	if (r == 0 && has_rootfs)
		r = name_layer(import, "rootfs", fingerprint, e);
	if (r == 0 && (is_converted || is_inside) &&
		renameat(import->stage, is_converted ? "disk" : "rootfs.img", import->images->files,
			disk_name) < 0)
		r = error_errno(e, "name the file %s", disk_name);
	if (r == 0 && import->config)
		r = name_unikernel(import, fingerprint, e);
	if (r < 0)
		return r;
	json_t *record = new_record(import, json_object_get(import->told, "metadata"), type);
	json_object_set_new(
		record, "layers", has_rootfs ? json_pack("[s]", fingerprint) : json_array());
	json_object_set_new(record, "files",
		import->rootfs < 0 ? json_pack("[s]", fingerprint)
				   : json_pack("[ss]", fingerprint, rootfs_name));
	json_object_set_new(
		record, "config", import->config ? json_incref(import->config) : json_object());
	if (is_machine) {
		json_set_text(record, "disk",
			is_converted || is_inside     ? disk_name
				: import->rootfs >= 0 ? rootfs_name
						      : fingerprint);
		json_object_set(record, "disk_bytes", json_object_get(import->told, "disk_bytes"));
	}
	return put_record(import, record, e);
}

static void on_opened(void *data, int code, json_t *result, const struct error *e)
{
	struct image_import *import = data;
	struct error why = *e;
	(void)result;
	finish(import, code < 0 ? code : keep_image(import, &why), &why);
}

static int start_job(struct image_import *import, json_t *task, const int *fds, size_t fd_count,
	job_done_call *done, struct error *e)
{
	struct job_options options = {
		.task = task,
		.fd_count = fd_count,
		.progress = on_progress,
		.done = done,
		.data = import,
	};
	if (fd_count)
		memcpy(options.fds, fds, fd_count * sizeof(fds[0]));
	return job_start(import->images->service, &options, &import->job, e);
}

/* The program of the root in the stage is looked at and rewritten there. */
static int start_unikernel(struct image_import *import, const char *entrypoint, struct error *e)
{
	cleanup(free) char *program = NULL;
	int r = read_program(entrypoint, &program, e);
	if (r < 0)
		return r;
	import->config = json_pack("{s:s}", "oci.entrypoint", entrypoint);
	cleanup(free) char *stage =
		alloc_printf("%s/tmp/%s", import->images->service->dir_path, import->stage_name);
	return start_job(import,
		json_pack("{s:s, s:s, s:s, s:[o], s:o}", "task", "unikernel", "program", program,
			"path", UNIKERNEL_PATH, "layers", json_sprintf("%s/rootfs", stage), "to",
			json_sprintf("%s/unikernel", stage)),
		NULL, 0, on_opened, e);
}

static void on_image(void *data, int code, json_t *result, const struct error *e)
{
	struct image_import *import = data;
	struct error why = *e;
	if (code == 0) {
		import->told = json_incref(result);
		code = refuse_second(import, &why);
	}
	static const char *const again[] = { "squashfs", "qcow2" };
	for (size_t i = 0; code == 0 && i < ARRAY_SIZE(again); i++) {
		if (!json_is_true(json_object_get(result, again[i])))
			continue;
		const int fds[] = { import->image, import->stage, import->rootfs };
		code = start_job(import, json_pack("{sssb}", "task", "image", again[i], 1), fds,
			import->rootfs < 0 ? 2 : 3, on_opened, &why);
		if (code == 0)
			return;
	}
	if (code == 0 && entrypoint_of(result)) {
		code = start_unikernel(import, entrypoint_of(result), &why);
		if (code == 0)
			return;
	}
	finish(import, code < 0 ? code : keep_image(import, &why), &why);
}

static int start_image(struct image_import *import, const char *fingerprint, struct error *e)
{
	json_t *task = json_pack("{ss}", "task", "image");
	if (fingerprint && *fingerprint)
		json_set_text(task, "digest", fingerprint);
	json_set_bool(task, "disk", import->is_disk);
	const int fds[] = { import->image, import->stage, import->rootfs };
	return start_job(import, task, fds, import->rootfs < 0 ? 2 : 3, on_image, e);
}

static int keep_oci(struct image_import *import, struct error *e)
{
	int r = refuse_second(import, e);
	if (r < 0 && import->is_shared)
		return 0;
	size_t index;
	json_t *layer;
	json_array_foreach(json_object_get(import->told, "unpacked"), index, layer)
	{
		if (r == 0)
			r = name_layer(
				import, json_string_value(layer), json_string_value(layer), e);
	}
	if (r < 0)
		return r;
	const json_t *image = json_object_get(import->told, "image");
	cleanup(json_decref) json_t *metadata =
		json_pack("{ss}", "architecture", json_text(image, "architecture") ?: "x86_64");
	json_t *record = new_record(import, metadata, "container");
	json_t *properties = json_object_get(record, "properties");
	json_set_text(properties, "type", "oci");
	if (!json_object_get(properties, "description"))
		json_set_text(properties, "description",
			json_text(import->wishes, "source") ?: "OCI image");
	json_object_set(record, "layers", json_object_get(import->told, "layers"));
	json_object_set(record, "config", json_object_get(image, "config"));
	json_object_set_new(record, "files", json_array());
	return put_record(import, record, e);
}

static void on_oci(void *data, int code, json_t *result, const struct error *e)
{
	struct image_import *import = data;
	struct error why = *e;
	if (code == 0) {
		import->told = json_incref(result);
		code = keep_oci(import, &why);
	}
	finish(import, code, &why);
}

static json_t *layers_there(struct images *images)
{
	json_t *have = json_array();
	/* Only layers that an image names are sure to stay. */
	const char *key;
	json_t *record;
	json_object_foreach(images->records, key, record)
	{
		json_array_extend(have, json_object_get(record, "layers"));
	}
	return have;
}

static void on_layout(void *data, int code, json_t *result, const struct error *e)
{
	struct image_import *import = data;
	struct error why = *e;
	(void)result;
	cleanup(close) int layout = -1;
	if (code == 0) {
		layout = openat(
			import->stage, "layout", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (layout < 0)
			code = error_errno(&why, "open the layout");
	}
	if (code == 0) {
		json_t *task =
			json_pack("{ssso}", "task", "oci", "have", layers_there(import->images));
		if (import->oci_name)
			json_set_text(task, "name", import->oci_name);
		const int fds[] = { layout, import->stage };
		code = start_job(import, task, fds, ARRAY_SIZE(fds), on_oci, &why);
	}
	if (code < 0)
		finish(import, code, &why);
}

static int make_stage(struct image_import *import, struct error *e)
{
	int tmp = import->images->service->tmp_dir;
	cleanup(free) char *name = text_random_hex(8);
	if (mkdirat(tmp, name, 0700) < 0)
		return error_errno(e, "make a stage");
	import->stage_name = TAKE_PTR(name);
	import->stage = openat(tmp, import->stage_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return import->stage < 0 ? error_errno(e, "open a stage") : 0;
}

static int duplicate(int fd, int *ret, struct error *e)
{
	*ret = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return fd >= 0 && *ret < 0 ? error_errno(e, "duplicate a descriptor") : 0;
}

static int import_new(struct images *images, int image, int rootfs,
	const struct image_import_options *options, struct image_import **ret, struct error *e)
{
	struct image_import *import = alloc(struct image_import);
	import->images = images;
	import->project = alloc_text(options->project);
	import->wishes = options->wishes;
	import->progress = options->progress;
	import->is_shared = options->is_shared;
	import->is_disk = options->is_disk;
	import->done = options->done;
	import->data = options->data;
	import->stage = import->image = import->rootfs = -1;
	int r = make_stage(import, e);
	if (r == 0)
		r = duplicate(image, &import->image, e);
	if (r == 0)
		r = duplicate(rootfs, &import->rootfs, e);
	if (r < 0) {
		import_free(import);
		return r;
	}
	*ret = import;
	return 0;
}

/* It runs, or it is gone. */
static int started(struct image_import *import, int r, struct image_import **ret)
{
	if (r < 0) {
		import_free(import);
		return r;
	}
	import->images->busy++;
	if (ret)
		*ret = import;
	return 0;
}

int image_import_file(struct images *images, int image, int rootfs, const char *fingerprint,
	const struct image_import_options *options, struct image_import **ret, struct error *e)
{
	struct image_import *import;
	int r = import_new(images, image, rootfs, options, &import, e);
	return r < 0 ? r : started(import, start_image(import, fingerprint, e), ret);
}

int image_import_oci_archive(struct images *images, int archive, const char *name,
	const struct image_import_options *options, struct image_import **ret, struct error *e)
{
	struct image_import *import;
	int r = import_new(images, archive, -1, options, &import, e);
	if (r < 0)
		return r;
	import->oci_name = alloc_text(name);
	const int fds[] = { import->image, import->stage };
	r = start_job(import, json_pack("{ss}", "task", "oci-archive"), fds, ARRAY_SIZE(fds),
		on_layout, e);
	return started(import, r, ret);
}

int image_import_registry(struct images *images, const char *source, bool is_plain,
	const struct image_import_options *options, struct image_import **ret, struct error *e)
{
	struct image_import *import;
	int r = import_new(images, -1, -1, options, &import, e);
	if (r < 0)
		return r;
	const int fds[] = { import->stage };
	r = start_job(import,
		json_pack("{sssssb}", "task", "fetch", "source", source, "plain", is_plain), fds,
		ARRAY_SIZE(fds), on_layout, e);
	return started(import, r, ret);
}

static void on_pack(void *data, int code, json_t *result, const struct error *e)
{
	struct image_import *import = data;
	struct error why = *e;
	(void)result;
	if (code == 0 && lseek(import->image, 0, SEEK_SET) < 0)
		code = error_errno(&why, "rewind the archive");
	if (code == 0)
		code = start_image(import, NULL, &why);
	if (code < 0)
		finish(import, code, &why);
}

int image_import_pack(struct images *images, json_t *pack,
	const struct image_import_options *options, struct image_import **ret, struct error *e)
{
	struct image_import *import;
	cleanup(close) int archive =
		openat(images->service->tmp_dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (archive < 0)
		return error_errno(e, "make a file for the archive");
	int r = import_new(images, archive, -1, options, &import, e);
	if (r < 0)
		return r;
	json_set_text(pack, "task", "pack");
	const int fds[] = { import->image };
	return started(import, start_job(import, pack, fds, ARRAY_SIZE(fds), on_pack, e), ret);
}

static void on_unikernel(void *data, int code, json_t *result, const struct error *e)
{
	struct image_import *import = data;
	struct error why = *e;
	if (code == 0) {
		import->told = json_incref(result);
		code = refuse_second(import, &why);
	}
	if (code == 0) {
		cleanup(json_decref) json_t *metadata = json_pack("{s:O?, s:O?}", "architecture",
			json_object_get(import->from, "architecture"), "properties",
			json_object_get(import->from, "properties"));
		json_t *record = new_record(import, metadata, "unikernel");
		json_object_set(record, "layers", json_object_get(import->from, "layers"));
		json_object_set(record, "config", import->config);
		json_object_set_new(record, "files", json_array());
		code = put_record(import, record, &why);
	}
	finish(import, code, &why);
}

static json_t *layer_paths(const struct images *images, const json_t *layers)
{
	json_t *paths = json_array();
	for (size_t i = 0; i < json_array_size(layers); i++) {
		cleanup(free) char *path =
			images_layer_path(images, json_string_value(json_array_get(layers, i)));
		json_array_append_new(paths, json_string(path));
	}
	return paths;
}

int image_import_unikernel(struct images *images, const json_t *record, const char *entrypoint,
	const struct image_import_options *options, struct image_import **ret, struct error *e)
{
	cleanup(free) char *program = NULL;
	cleanup(json_decref) json_t *config = json_copy(json_object_get(record, "config"));
	struct image_import *import;
	if (entrypoint)
		json_set_text(config, "oci.entrypoint", entrypoint);
	const char *whole = json_text(config, "oci.entrypoint");
	const char *search = json_text(config, "environment.PATH");
	int r = whole ? read_program(whole, &program, e)
		      : error_set(e, -EINVAL,
				"entrypoint: the image names no program; say which one shall run");
	if (r == 0)
		r = import_new(images, -1, -1, options, &import, e);
	if (r < 0)
		return r;
	json_t *layers = layer_paths(images, json_object_get(record, "layers"));
	cleanup(free) char *to = unikernel_image(layers, program, search);
	import->from = json_deep_copy(record);
	import->config = json_incref(config);
	r = start_job(import,
		json_pack("{s:s, s:s, s:s, s:o, s:s, s:b}", "task", "unikernel", "program", program,
			"path", search ?: UNIKERNEL_PATH, "layers", layers, "to", to ?: "",
			"digest", 1),
		NULL, 0, on_unikernel, e);
	return started(import, r, ret);
}

void image_import_cancel(struct image_import *import)
{
	job_cancel(import->job);
}
