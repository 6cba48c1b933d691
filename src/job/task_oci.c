/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task_oci.c - an OCI layout: documents and layers verified, new layers unpacked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "disk/program.h"
#include "job/jail.h"
#include "job/oci.h"
#include "job/tasks.h"
#include "job/unpack.h"

#define INDEX_DEPTH_MAX 3

struct import {
	struct task *task;
	int layout;
	int stage;
	uint64_t total; /* bytes of all layers */
	uint64_t before;
	json_t *unpacked;
};

static int open_blob(struct import *import, const struct oci_blob *blob, struct error *e)
{
	char path[16 + DIGEST_HEX_SIZE];
	snprintf(path, sizeof(path), "blobs/sha256/%s", blob->digest);
	cleanup(close) int fd = file_open_beneath(import->layout, path, O_RDONLY, 0);
	if (fd < 0)
		return error_code(e, fd == -ENOENT ? -EINVAL : fd, "open %s", path);
	struct stat status;
	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		return error_set(e, -EINVAL, "%s is no file", path);
	if ((uint64_t)status.st_size != blob->size)
		return error_set(e, -EINVAL, "%s has %jd bytes, %ju were announced", path,
			(intmax_t)status.st_size, (uintmax_t)blob->size);
	return TAKE_FD(fd);
}

static int check_digest(const struct digest *digest, const struct oci_blob *blob, struct error *e)
{
	struct digest copy = *digest;
	char hex[DIGEST_HEX_SIZE];
	digest_end(&copy, hex);
	if (!text_equal(hex, blob->digest))
		return error_set(
			e, -EINVAL, "the blob sha256:%s is sha256:%s in truth", blob->digest, hex);
	return 0;
}

/* The whole document, verified before a byte of it is read. */
static int read_document(
	struct import *import, const struct oci_blob *blob, char **ret, struct error *e)
{
	if (blob->size > OCI_DOCUMENT_MAX)
		return error_set(e, -E2BIG, "the document sha256:%s has more than %d bytes",
			blob->digest, (int)OCI_DOCUMENT_MAX);
	cleanup(close) int fd = open_blob(import, blob, e);
	if (fd < 0)
		return fd;
	cleanup(free) char *data = alloc_zeroed(1, blob->size + 1);
	int r = file_read_at(fd, data, blob->size, 0);
	if (r < 0)
		return error_code(e, r, "read sha256:%s", blob->digest);
	struct digest digest;
	digest_start(&digest);
	digest_add(&digest, data, blob->size);
	r = check_digest(&digest, blob, e);
	if (r == 0)
		*ret = TAKE_PTR(data);
	return r;
}

static int find_manifest(struct import *import, struct oci_blob *ret, struct error *e)
{
	cleanup(free) char *index = NULL;
	size_t length;
	cleanup(close) int fd = file_open_beneath(import->layout, "index.json", O_RDONLY, 0);
	struct stat status;
	if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		return error_set(e, -EINVAL, "this is no OCI layout: it has no index.json");
	if ((uint64_t)status.st_size > OCI_DOCUMENT_MAX)
		return error_set(
			e, -E2BIG, "index.json has more than %d bytes", (int)OCI_DOCUMENT_MAX);
	length = (size_t)status.st_size;
	index = alloc_zeroed(1, length + 1);
	int r = file_read_at(fd, index, length, 0);
	if (r < 0)
		return error_code(e, r, "read index.json");
	const char *name = task_text_or(import->task, "name", NULL);
	for (int depth = 0; depth < INDEX_DEPTH_MAX; depth++) {
		bool is_index;
		r = oci_find_manifest(index, length, depth == 0 ? name : NULL, ret, &is_index, e);
		if (r < 0 || !is_index)
			return r;
		char *inner = NULL;
		r = read_document(import, ret, &inner, e);
		if (r < 0)
			return r;
		free(index);
		index = inner;
		length = ret->size;
	}
	return error_set(e, -EINVAL, "more than %d indexes in each other", INDEX_DEPTH_MAX);
}

static bool is_there(const struct import *import, const char *diff)
{
	size_t index;
	json_t *have;
	json_array_foreach(json_object_get(import->task->document, "have"), index, have)
	{
		if (text_equal(json_string_value(have), diff))
			return true;
	}
	return false;
}

static void report(void *data, uint64_t passed)
{
	struct import *import = data;
	task_report(import->task, import->before + passed, import->total);
}

static int unpack_layer(
	struct import *import, const struct oci_blob *blob, const char *diff, struct error *e)
{
	/* The same layer twice in one image is unpacked once. */
	if (is_there(import, diff) || faccessat(import->stage, diff, F_OK, 0) == 0)
		return 0;
	cleanup(close) int fd = open_blob(import, blob, e);
	if (fd < 0)
		return fd;
	if (mkdirat(import->stage, diff, 0755) < 0)
		return error_errno(e, "create the layer's directory");
	cleanup(close) int to = openat(import->stage, diff, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (to < 0)
		return error_errno(e, "open the layer's directory");
	struct unpack_options options = {
		.with_whiteouts = true, .report = report, .data = import
	};
	struct unpack_result result;
	struct digest digest;
	digest_start(&digest);
	int r = unpack_archive(fd, to, &options, &digest, &result, e);
	if (r == 0)
		r = check_digest(&digest, blob, e);
	if (r == 0 && !text_equal(result.tar_digest, diff))
		r = error_set(e, -EINVAL, "unpacked it is sha256:%s, the image says sha256:%s",
			result.tar_digest, diff);
	if (r == 0)
		json_array_append_new(import->unpacked, json_string(diff));
	return r;
}

static int unpack_layers(
	struct import *import, const struct oci_manifest *manifest, json_t *diffs, struct error *e)
{
	for (size_t i = 0; i < manifest->layer_count; i++)
		import->total += manifest->layers[i].size;
	for (size_t i = 0; i < manifest->layer_count; i++) {
		const char *diff = json_string_value(json_array_get(diffs, i));
		int r = unpack_layer(import, &manifest->layers[i], diff, e);
		if (r < 0)
			return error_prefix(e, r, "layer %zu (sha256:%.12s)", i + 1,
				manifest->layers[i].digest);
		import->before += manifest->layers[i].size;
	}
	return 0;
}

static json_t *top_first(const json_t *diffs)
{
	json_t *layers = json_array();
	for (size_t i = json_array_size(diffs); i-- > 0;)
		json_array_append(layers, json_array_get(diffs, i));
	return layers;
}

static int import_image(struct import *import, json_t **ret, struct error *e)
{
	struct oci_blob which;
	int r = find_manifest(import, &which, e);
	if (r < 0)
		return r;
	cleanup(free) char *document = NULL;
	r = read_document(import, &which, &document, e);
	cleanup(free) struct oci_manifest *manifest = alloc(struct oci_manifest);
	if (r == 0)
		r = oci_read_manifest(document, which.size, manifest, e);
	cleanup(free) char *config = NULL;
	if (r == 0)
		r = read_document(import, &manifest->config, &config, e);
	json_t *image = NULL;
	if (r == 0)
		r = oci_read_config(
			config, manifest->config.size, manifest->layer_count, &image, e);
	if (r < 0)
		return r;
	json_t *diffs = json_object_get(image, "diffs");
	r = unpack_layers(import, manifest, diffs, e);
	/* What a record will name is on the disk first. */
	if (r == 0 && syncfs(import->stage) < 0)
		r = error_errno(e, "write the layers to the disk");
	if (r < 0) {
		json_decref(image);
		return r;
	}
	*ret = json_pack("{sssIsosOso}", "fingerprint", which.digest, "size",
		(json_int_t)import->total, "layers", top_first(diffs), "unpacked", import->unpacked,
		"image", image);
	return 0;
}

int task_oci(struct task *task, json_t **ret, struct error *e)
{
	struct import import = {
		.task = task, .layout = task_fd(task, 0, e), .stage = task_fd(task, 1, e)
	};
	if (import.layout < 0 || import.stage < 0)
		return -EBADF;
	task->stage = "unpack";
	const int dirs[] = { import.layout, import.stage };
	int r = jail_files(dirs, ARRAY_SIZE(dirs), e);
	if (r < 0)
		return r;
	import.unpacked = json_array();
	r = import_image(&import, ret, e);
	json_decref(import.unpacked);
	return r;
}

int task_oci_archive(struct task *task, json_t **ret, struct error *e)
{
	int archive = task_fd(task, 0, e), stage = task_fd(task, 1, e);
	if (archive < 0 || stage < 0)
		return -EBADF;
	task->stage = "unpack";
	int r = jail_files(&stage, 1, e);
	if (r < 0)
		return r;
	if (mkdirat(stage, "layout", 0700) < 0)
		return error_errno(e, "create layout");
	cleanup(close) int to = openat(stage, "layout", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (to < 0)
		return error_errno(e, "open layout");
	struct unpack_options options = {};
	struct unpack_result result;
	r = unpack_archive(archive, to, &options, NULL, &result, e);
	if (r == 0)
		*ret = json_object();
	return r;
}

int task_fetch(struct task *task, json_t **ret, struct error *e)
{
	int stage = task_fd(task, 0, e);
	const char *source;
	int r = task_text(task, "source", &source, e);
	if (stage < 0 || r < 0)
		return stage < 0 ? -EBADF : r;
	if (!text_starts(source, "docker://"))
		return error_set(e, -EINVAL, "source: \"%s\" is not a registry's", source);
	if (mkdirat(stage, "tmp", 0700) < 0)
		return error_errno(e, "create tmp");
	r = jail_program(&stage, 1, true, e);
	if (r < 0)
		return r;
	cleanup(free) char *from = alloc_text(source);
	cleanup(free) char *to = alloc_printf("oci:/proc/self/fd/%d/layout:image", stage);
	cleanup(free) char *tmp = alloc_printf("/proc/self/fd/%d/tmp", stage);
	char tls[32];
	snprintf(tls, sizeof(tls), "--src-tls-verify=%s",
		task_flag(task, "plain") ? "false" : "true");
	char *const argv[] = { (char[]){ "skopeo" }, (char[]){ "--insecure-policy" },
		(char[]){ "--tmpdir" }, tmp, (char[]){ "copy" }, (char[]){ "--quiet" }, tls, from,
		to, NULL };
	r = program_run(argv, -1, e);
	if (r == 0)
		*ret = json_object();
	return r < 0 ? error_prefix(e, r, "fetch %s", source) : 0;
}
