/* SPDX-License-Identifier: Apache-2.0 */
/*
 * root.c - the two devices of a machine's root: the image's, shared and read-only, and its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "disk/program.h"
#include "machine/machine.h"
#include "model/json.h"

#define MERGED "/run"

/* "TOP.erofs" for one layer, "TOP.SUM.erofs" for more: the sweep of layers goes by what stands before the dot. */
static char *image_path(const json_t *layers)
{
	const char *top = json_string_value(json_array_get(layers, 0));
	uint64_t sum = UINT64_C(14695981039346656037);
	if (json_array_size(layers) == 1)
		return alloc_printf("%s.erofs", top);
	for (size_t i = 0; i < json_array_size(layers); i++)
		for (const char *c = json_string_value(json_array_get(layers, i)); *c; c++)
			sum = (sum ^ (uint8_t)*c) * UINT64_C(1099511628211);
	return alloc_printf("%s.%016llx.erofs", top, (unsigned long long)sum);
}

static int run(const char *const *argv, struct error *e)
{
	/* As execve(2): the words are only read. */
	return program_run((char *const *)(uintptr_t)argv, -1, e);
}

/* In a child with its own mounts: more layers than one are laid over each other first. */
static int make_in_child(const json_t *layers, const char *target, struct error *e)
{
	cleanup(text_done) struct text options = {};
	const char *from = json_string_value(json_array_get(layers, 0));
	if (json_array_size(layers) > 1) {
		text_add(&options, "lowerdir=");
		for (size_t i = 0; i < json_array_size(layers); i++)
			text_printf(&options, "%s%s", i ? ":" : "",
				json_string_value(json_array_get(layers, i)));
		if (unshare(CLONE_NEWNS) < 0 ||
			mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
			mount("overlay", MERGED, "overlay", MS_RDONLY, text_str(&options)) < 0)
			return error_errno(e, "lay the image's layers over each other");
		from = MERGED;
	}
	const char *const argv[] = { "mkfs.erofs", "-d0", target, from, NULL };
	return run(argv, e);
}

static int make(const json_t *layers, const char *target, struct error *e)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		int r = make_in_child(layers, target, e);
		if (r < 0)
			fprintf(stderr, "berth-machine: %s\n", e->text);
		_exit(r < 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return error_errno(e, "make the image's file system");
	return status ? error_set(e, -EIO,
				"The image's file system could not be made; runner.log says why")
		      : 0;
}

int root_image(const json_t *layers, char **ret, struct error *e)
{
	if (json_array_size(layers) == 0)
		return error_set(e, -EINVAL, "the image has no layers");
	cleanup(free) char *path = image_path(layers);
	cleanup(free) char *new = alloc_printf("%s.new", path);
	cleanup(close) int lock = open(
		json_string_value(json_array_get(layers, 0)), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return error_errno(e, "open the image's layer");
	if (access(path, F_OK) < 0) {
		(void)unlink(new);
		int r = make(layers, new, e);
		if (r < 0) {
			(void)unlink(new);
			return r;
		}
		if (chmod(new, 0444) < 0 || rename(new, path) < 0)
			return error_errno(e, "name %s", path);
	}
	*ret = TAKE_PTR(path);
	return 0;
}

static int make_device(const char *path, uint64_t bytes, struct error *e)
{
	const char *const argv[] = { "mkfs.ext4", "-q", "-F", "-m", "0", "-E",
		"lazy_itable_init=1,lazy_journal_init=1,nodiscard", path, NULL };
	cleanup(close) int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(e, "make %s", path);
	int r = ftruncate(fd, (off_t)bytes) < 0 ? error_errno(e, "size %s", path) : run(argv, e);
	if (r < 0)
		(void)unlink(path);
	return r;
}

static int grow_device(const char *path, uint64_t bytes, struct error *e)
{
	const char *const check[] = { "e2fsck", "-f", "-p", path, NULL };
	const char *const grow[] = { "resize2fs", path, NULL };
	if (truncate(path, (off_t)bytes) < 0)
		return error_errno(e, "size %s", path);
	int r = run(check, e);
	return r < 0 ? r : run(grow, e);
}

int root_device(const json_t *volume, uint64_t bytes, char **ret, struct error *e)
{
	const char *path = json_text(volume, "path");
	if (!path)
		return error_set(e, -EINVAL, "root.volume.path: missing");
	if (text_equal(json_text(volume, "type"), "image")) {
		/* A file system in a file already: it is the device. */
		if (!text_equal(json_text(volume, "fs") ?: "ext4", "ext4"))
			return error_set(e, -EOPNOTSUPP, "a machine's volume must be ext4");
		*ret = alloc_text(path);
		return 0;
	}
	cleanup(free) char *file = alloc_printf("%s/machine.img", path);
	struct stat status;
	int r = 0;
	if (stat(file, &status) < 0)
		r = make_device(file, bytes, e);
	else if ((uint64_t)status.st_size < bytes)
		r = grow_device(file, bytes, e);
	if (r == 0)
		*ret = TAKE_PTR(file);
	return r;
}
