/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task_image.c - an LXD image: a unified tar, or metadata and rootfs apart.
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
#include "job/metadata.h"
#include "job/tasks.h"
#include "job/unpack.h"

#define SQUASHFS_MAGIC "hsqs"
#define QCOW_MAGIC     "QFI\xfb"

enum rootfs_form { ROOTFS_TAR, ROOTFS_SQUASHFS, ROOTFS_DISK };

static bool wants_unified(const char *name)
{
	return !*name || text_equal(name, "metadata.yaml") || text_equal(name, "rootfs") ||
		text_starts(name, "rootfs/") || text_equal(name, "templates") ||
		text_starts(name, "templates/");
}

static bool wants_metadata(const char *name)
{
	return !*name || text_equal(name, "metadata.yaml") || text_equal(name, "templates") ||
		text_starts(name, "templates/");
}

struct progress {
	struct task *task;
	uint64_t before;
	uint64_t total;
};

static void report(void *data, uint64_t passed)
{
	struct progress *progress = data;
	task_report(progress->task, progress->before + passed, progress->total);
}

static uint64_t size_of(int fd)
{
	struct stat status;
	return fstat(fd, &status) == 0 ? (uint64_t)status.st_size : 0;
}

static enum rootfs_form form_of(int fd)
{
	char magic[4] = {};
	if (pread(fd, magic, sizeof(magic), 0) != sizeof(magic))
		return ROOTFS_TAR;
	if (memcmp(magic, SQUASHFS_MAGIC, sizeof(magic)) == 0)
		return ROOTFS_SQUASHFS;
	if (memcmp(magic, QCOW_MAGIC, sizeof(magic)) == 0)
		return ROOTFS_DISK;
	return ROOTFS_TAR;
}

static int read_metadata(int stage, json_t **ret, struct error *e)
{
	cleanup(close) int fd = file_open_beneath(stage, "metadata.yaml", O_RDONLY, 0);
	if (fd == -ENOENT)
		return error_set(e, -EINVAL, "the image has no metadata.yaml");
	if (fd < 0)
		return error_code(e, fd, "open metadata.yaml");
	struct stat status;
	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) ||
		status.st_size > (off_t)METADATA_BYTES_MAX)
		return error_set(e, -EINVAL, "metadata.yaml: it is no file of at most %d bytes",
			(int)METADATA_BYTES_MAX);
	size_t length = (size_t)status.st_size;
	cleanup(free) char *yaml = alloc_zeroed(1, length + 1);
	int r = file_read_at(fd, yaml, length, 0);
	if (r < 0)
		return error_code(e, r, "read metadata.yaml");
	return metadata_read(yaml, length, ret, e);
}

static int check_metadata(const json_t *metadata, struct error *e)
{
	const json_t *architecture = json_object_get(metadata, "architecture");
	if (!json_is_string(architecture))
		return error_set(e, -EINVAL, "metadata.yaml: architecture is missing");
	const json_t *properties = json_object_get(metadata, "properties");
	if (properties && !json_is_object(properties) && !json_is_null(properties))
		return error_set(
			e, -EINVAL, "metadata.yaml: properties must be a mapping of keys to texts");
	const json_t *templates = json_object_get(metadata, "templates");
	if (templates && !json_is_object(templates) && !json_is_null(templates))
		return error_set(e, -EINVAL, "metadata.yaml: templates must be a mapping");
	return 0;
}

static int verify(const struct task *task, const char *hex, struct error *e)
{
	const char *wanted = task_text_or(task, "digest", NULL);
	if (wanted && !text_equal(wanted, hex))
		return error_set(e, -EINVAL, "its sha256 is %s, but %s was announced", hex, wanted);
	return 0;
}

static int unpack_squashfs(int image, int stage, struct error *e)
{
	const int opened[] = { stage, image };
	int r = jail_program(opened, ARRAY_SIZE(opened), false, e);
	if (r < 0)
		return r;
	char from[40], to[64];
	snprintf(from, sizeof(from), "/proc/self/fd/%d", image);
	snprintf(to, sizeof(to), "/proc/self/fd/%d/rootfs", stage);
	char *const argv[] = { (char[]){ "unsquashfs" }, (char[]){ "-no-progress" },
		(char[]){ "-quiet" }, (char[]){ "-processors" }, (char[]){ "1" },
		(char[]){ "-dest" }, to, from, NULL };
	return program_run(argv, -1, e);
}

/* The hash of metadata and rootfs, one after the other, is the fingerprint of a split image. */
static int hash_rest(int fd, struct digest *digest, struct error *e)
{
	if (lseek(fd, 0, SEEK_SET) < 0)
		return error_errno(e, "rewind the image");
	return digest_add_rest(digest, fd, e);
}

static int unpack_split_rootfs(struct task *task, int rootfs, int stage, struct digest *digest,
	struct unpack_result *result, struct error *e)
{
	if (mkdirat(stage, "rootfs", 0755) < 0)
		return error_errno(e, "create rootfs");
	cleanup(close) int to = openat(stage, "rootfs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (to < 0)
		return error_errno(e, "open rootfs");
	struct progress progress = { task, digest->bytes, digest->bytes + size_of(rootfs) };
	struct unpack_options options = { .report = report, .data = &progress };
	return unpack_archive(rootfs, to, &options, digest, result, e);
}

struct image {
	int first; /* the image, or its metadata */
	int stage;
	int rootfs; /* -1 if it is unified */
	enum rootfs_form form;
	struct digest digest;
	struct unpack_result result;
};

static int unpack_parts(struct task *task, struct image *image, struct error *e)
{
	struct progress progress = { task, 0,
		size_of(image->first) + (image->rootfs < 0 ? 0 : size_of(image->rootfs)) };
	struct unpack_options options = { .report = report, .data = &progress };
	options.wants = image->rootfs < 0 ? wants_unified : wants_metadata;
	int r = unpack_archive(
		image->first, image->stage, &options, &image->digest, &image->result, e);
	if (r < 0 || image->rootfs < 0)
		return r;
	if (image->form != ROOTFS_TAR)
		return hash_rest(image->rootfs, &image->digest, e);
	return unpack_split_rootfs(
		task, image->rootfs, image->stage, &image->digest, &image->result, e);
}

/* A squashfs needs a program, so it is unpacked by a second task with the weaker jail. */
int task_image(struct task *task, json_t **ret, struct error *e)
{
	struct image image = { .first = task_fd(task, 0, e), .stage = task_fd(task, 1, e) };
	if (image.first < 0 || image.stage < 0)
		return -EBADF;
	image.rootfs = task->fd_count > 2 ? task->fds[2] : -1;
	image.form = image.rootfs < 0 ? ROOTFS_TAR : form_of(image.rootfs);
	if (task_flag(task, "squashfs")) {
		*ret = json_object();
		return unpack_squashfs(image.rootfs, image.stage, e);
	}
	task->stage = "unpack";
	int r = jail_files(&image.stage, 1, e);
	if (r < 0)
		return r;
	digest_start(&image.digest);
	r = unpack_parts(task, &image, e);
	char hex[DIGEST_HEX_SIZE];
	digest_end(&image.digest, hex);
	if (r == 0)
		r = verify(task, hex, e);
	json_t *metadata = NULL;
	if (r == 0)
		r = read_metadata(image.stage, &metadata, e);
	if (r == 0)
		r = check_metadata(metadata, e);
	if (r == 0 && image.form == ROOTFS_TAR && faccessat(image.stage, "rootfs", F_OK, 0) < 0)
		r = error_set(e, -EINVAL, "the image has no rootfs");
	/* What a record will name is on the disk first. */
	if (r == 0 && syncfs(image.stage) < 0)
		r = error_errno(e, "write the image to the disk");
	if (r < 0) {
		json_decref(metadata);
		return r;
	}
	*ret = json_pack("{sssIsosssbsIsI}", "fingerprint", hex, "size",
		(json_int_t)image.digest.bytes, "metadata", metadata, "type",
		image.form == ROOTFS_DISK ? "virtual-machine" : "container", "squashfs",
		image.form == ROOTFS_SQUASHFS, "bytes", (json_int_t)image.result.bytes, "skipped",
		(json_int_t)image.result.skipped);
	return *ret ? 0 : error_set(e, -EINVAL, "metadata.yaml: it can't be told");
}
