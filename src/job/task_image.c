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
#include "job/disk_image.h"
#include "job/jail.h"
#include "job/metadata.h"
#include "job/tasks.h"
#include "job/template_files.h"
#include "job/unpack.h"
#include "model/json.h"

#define INNER_DISK "rootfs.img" /* of a machine's image in one archive */

static bool wants_unified(const char *name)
{
	return !*name || text_equal(name, "metadata.yaml") || text_equal(name, "rootfs") ||
		text_equal(name, INNER_DISK) || text_starts(name, "rootfs/") ||
		text_equal(name, "templates") || text_starts(name, "templates/");
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
	r = metadata_read(yaml, length, ret, e);
	return r < 0 ? error_prefix(e, r, "metadata.yaml") : 0;
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

/* From the one file of the image that is a disk to stage/disk, which is sparse. */
static int convert_qcow2(const struct task *task, int stage, struct error *e)
{
	cleanup(close) int inner = file_open_beneath(stage, INNER_DISK, O_RDONLY, 0);
	int from_fd = inner >= 0 ? inner : task->fd_count > 2 ? task->fds[2] : task->fds[0];
	const int opened[] = { stage, from_fd };
	uint64_t bytes;
	int r = disk_image_check(from_fd, IMAGE_QCOW2, &bytes, e);
	if (r == 0 && !program_exists("qemu-img"))
		r = error_set(e, -EOPNOTSUPP,
			"an image in qcow2 needs the program qemu-img (package qemu-utils)");
	if (r == 0)
		r = jail_program(opened, ARRAY_SIZE(opened), false, e);
	if (r < 0)
		return r;
	char from[40], to[64];
	snprintf(from, sizeof(from), "/proc/self/fd/%d", from_fd);
	snprintf(to, sizeof(to), "/proc/self/fd/%d/disk", stage);
	char *const argv[] = { (char[]){ "qemu-img" }, (char[]){ "convert" }, (char[]){ "-f" },
		(char[]){ "qcow2" }, (char[]){ "-O" }, (char[]){ "raw" }, from, to, NULL };
	r = program_run(argv, -1, e);
	if (r == 0 && syncfs(stage) < 0)
		r = error_errno(e, "write the disk");
	return r;
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
	int rootfs;           /* -1 if it is one file */
	enum image_form form; /* of what the root is in */
	bool has_inner_disk;  /* INNER_DISK, beside a rootfs or in its place */
	bool has_rootfs;
	uint64_t disk_bytes;
	struct digest digest;
	struct unpack_result result;
};

static bool is_disk(const struct image *image)
{
	return image->form == IMAGE_DISK || image->form == IMAGE_QCOW2;
}

static int unpack_parts(struct task *task, struct image *image, struct error *e)
{
	struct progress progress = { task, 0,
		size_of(image->first) + (image->rootfs < 0 ? 0 : size_of(image->rootfs)) };
	struct unpack_options options = { .report = report, .data = &progress };
	if (image->rootfs < 0 && is_disk(image))
		return hash_rest(image->first, &image->digest, e);
	options.wants = image->rootfs < 0 ? wants_unified : wants_metadata;
	int r = unpack_archive(
		image->first, image->stage, &options, &image->digest, &image->result, e);
	if (r < 0 || image->rootfs < 0)
		return r;
	if (image->form != IMAGE_ARCHIVE)
		return hash_rest(image->rootfs, &image->digest, e);
	return unpack_split_rootfs(
		task, image->rootfs, image->stage, &image->digest, &image->result, e);
}

static int find_form(const struct task *task, struct image *image, struct error *e)
{
	int root = image->rootfs < 0 ? image->first : image->rootfs;
	image->form = image_form_of(root);
	if (image->form == IMAGE_ARCHIVE && task_flag(task, "disk"))
		image->form = IMAGE_DISK;
	return is_disk(image) ? disk_image_check(root, image->form, &image->disk_bytes, e) : 0;
}

/* A disk that came alone says nothing about itself. */
static int find_metadata(const struct image *image, json_t **ret, struct error *e)
{
	if (image->rootfs < 0 && is_disk(image)) {
		*ret = json_pack("{sss{ss}}", "architecture", "x86_64", "properties", "description",
			"a disk image");
		return 0;
	}
	int r = read_metadata(image->stage, ret, e);
	if (r == 0)
		r = check_metadata(*ret, e);
	return r < 0 ? r : template_files_read(image->stage, json_object_get(*ret, "templates"), e);
}

/* What an archive brought along beside its metadata. */
static int look_inside(struct image *image, struct error *e)
{
	if (image->form != IMAGE_ARCHIVE)
		return 0;
	image->has_rootfs = faccessat(image->stage, "rootfs", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	cleanup(close) int disk = file_open_beneath(image->stage, INNER_DISK, O_RDONLY, 0);
	if (disk < 0)
		return image->has_rootfs ? 0 : error_set(e, -EINVAL, "the image has no rootfs");
	image->has_inner_disk = true;
	image->form = image_form_of(disk) == IMAGE_QCOW2 ? IMAGE_QCOW2 : IMAGE_DISK;
	return disk_image_check(disk, image->form, &image->disk_bytes, e);
}

static const char *type_of(const struct image *image)
{
	if (image->has_inner_disk && image->has_rootfs)
		return "microvm";
	return is_disk(image) ? "virtual-machine" : "container";
}

static int verify_parts(
	struct task *task, struct image *image, const char *hex, json_t **ret, struct error *e)
{
	int r = verify(task, hex, e);
	if (r == 0)
		r = find_metadata(image, ret, e);
	if (r == 0)
		r = look_inside(image, e);
	/* What a record will name is on the disk first. */
	if (r == 0 && syncfs(image->stage) < 0)
		r = error_errno(e, "write the image to the disk");
	return r;
}

/* A squashfs or qcow2 needs a program, so it is opened by a second task with the weaker jail. */
int task_image(struct task *task, json_t **ret, struct error *e)
{
	struct image image = { .first = task_fd(task, 0, e), .stage = task_fd(task, 1, e) };
	if (image.first < 0 || image.stage < 0)
		return -EBADF;
	image.rootfs = task->fd_count > 2 ? task->fds[2] : -1;
	if (task_flag(task, "squashfs") || task_flag(task, "qcow2")) {
		*ret = json_object();
		return task_flag(task, "qcow2") ? convert_qcow2(task, image.stage, e)
						: unpack_squashfs(image.rootfs, image.stage, e);
	}
	int r = find_form(task, &image, e);
	if (r < 0)
		return r;
	task->stage = "unpack";
	r = jail_files(&image.stage, 1, e);
	if (r < 0)
		return r;
	digest_start(&image.digest);
	r = unpack_parts(task, &image, e);
	char hex[DIGEST_HEX_SIZE];
	digest_end(&image.digest, hex);
	json_t *metadata = NULL;
	if (r == 0)
		r = verify_parts(task, &image, hex, &metadata, e);
	if (r < 0) {
		json_decref(metadata);
		return r;
	}
	*ret = json_pack("{sssIsosssbsbsbsIsIsI}", "fingerprint", hex, "size",
		(json_int_t)image.digest.bytes, "metadata", metadata, "type", type_of(&image),
		"inner_disk", image.has_inner_disk, "squashfs", image.form == IMAGE_SQUASHFS,
		"qcow2", image.form == IMAGE_QCOW2, "disk_bytes", (json_int_t)image.disk_bytes,
		"bytes", (json_int_t)image.result.bytes, "skipped",
		(json_int_t)image.result.skipped);
	return *ret ? 0 : error_set(e, -EINVAL, "metadata.yaml: it can't be told");
}
