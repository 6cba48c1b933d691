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

#define MERGED          "/run"
#define BEGINNING_BYTES 8192

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

/* Nothing was ever made there, or not to its end: what makes a file system writes its beginning last. */
static bool is_blank(int fd)
{
	static const uint8_t zeroes[BEGINNING_BYTES];
	uint8_t bytes[BEGINNING_BYTES];
	return pread(fd, bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes) &&
		memcmp(bytes, zeroes, sizeof(bytes)) == 0;
}

/* The guest's agent grows it: what a guest wrote is not read here. */
static int make_file_system(const char *path, struct error *e)
{
	const char *const argv[] = { "mkfs.ext4", "-q", "-F", "-m", "0", "-E",
		"lazy_itable_init=1,lazy_journal_init=1,nodiscard", path, NULL };
	return run(argv, e);
}

int root_device(const json_t *volume, bool has_file_system, char **ret, struct error *e)
{
	const char *path = json_text(volume, "path");
	if (!path || !text_equal(json_text(volume, "type"), "block"))
		return error_set(e, -EINVAL, "root.volume: a block volume is wanted");
	cleanup(close) int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "open %s", path);
	int r = has_file_system && is_blank(fd) ? make_file_system(path, e) : 0;
	if (r == 0)
		*ret = alloc_text(path);
	return r;
}
