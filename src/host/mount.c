/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount.c - the mount interface of Linux 5.12 and later.
 */
#include "host/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/text.h"
#include "host/loopdev.h"
#include "host/process.h"

/* What the kernel has to say about the file system, or what errno means. */
static int fail(int context, struct error *e, const char *what, const char *file_system)
{
	int code = errno ? -errno : -EIO;
	char text[256];
	ssize_t length = read(context, text, sizeof(text) - 1);
	if (length > 2 && text[1] == ' ') {
		text[length] = '\0';
		text[strcspn(text, "\n")] = '\0';
		return error_code(e, code, "%s %s (%s)", what, file_system, text + 2);
	}
	return error_code(e, code, "%s %s", what, file_system);
}

static int finish(
	int context, const char *file_system, uint64_t attributes, int *ret, struct error *e)
{
	if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fail(context, e, "mount", file_system);
	int fd = fsmount(context, FSMOUNT_CLOEXEC, (unsigned int)attributes);
	if (fd < 0)
		return fail(context, e, "mount", file_system);
	*ret = fd;
	return 0;
}

int mount_new(const char *file_system, const struct mount_option *options, uint64_t attributes,
	int *ret, struct error *e)
{
	cleanup(close) int context = fsopen(file_system, FSOPEN_CLOEXEC);
	if (context < 0)
		return error_errno(e, "mount %s", file_system);
	for (; options && options->key; options++) {
		unsigned int command = options->value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
		if (fsconfig(context, command, options->key, options->value, 0) < 0) {
			cleanup(free) char *what = alloc_printf("option %s%s%s of", options->key,
				options->value ? "=" : "", options->value ?: "");
			return fail(context, e, what, file_system);
		}
	}
	return finish(context, file_system, attributes, ret, e);
}

int mount_clone(int dir, const char *path, bool is_recursive, int *ret, struct error *e)
{
	unsigned int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
		(is_recursive ? AT_RECURSIVE : 0) | (*path ? 0 : AT_EMPTY_PATH);
	int fd = open_tree(dir, path, flags);
	if (fd < 0)
		return error_errno(e, "copy the mount %s", *path ? path : "of a descriptor");
	*ret = fd;
	return 0;
}

int mount_change(int mount, uint64_t set, uint64_t clear, bool is_recursive)
{
	struct mount_attr attr = { .attr_set = set, .attr_clr = clear };
	unsigned int flags = AT_EMPTY_PATH | (is_recursive ? AT_RECURSIVE : 0);
	return mount_setattr(mount, "", flags, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

int mount_idmap(int mount, int user_namespace, bool is_recursive, struct error *e)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP,
		.userns_fd = (uint64_t)user_namespace };
	unsigned int flags = AT_EMPTY_PATH | (is_recursive ? AT_RECURSIVE : 0);
	if (mount_setattr(mount, "", flags, &attr, sizeof(attr)) < 0)
		return error_errno(e, "map the ids of a mount (can its file system do that?)");
	return 0;
}

int mount_attach(int mount, int target, struct error *e)
{
	unsigned int flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
	if (move_mount(mount, "", target, "", flags) < 0)
		return error_errno(e, "attach a mount");
	return 0;
}

int mount_all_private(struct error *e)
{
	struct mount_attr attr = { .propagation = MS_PRIVATE };
	if (mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return error_errno(e, "make the mounts private");
	return 0;
}

static int set(int context, unsigned int command, const char *key, const char *value, int fd)
{
	return fsconfig(context, command, key, value, fd) < 0 ? -errno : 0;
}

/* Linux 6.13 takes each layer as a descriptor; 6.15 takes those of detached mounts. */
static int set_layers_by_fd(int context, const struct mount_overlay *overlay)
{
	int r = 0;
	for (size_t i = 0; i < overlay->layer_count && r == 0; i++)
		r = set(context, FSCONFIG_SET_FD, "lowerdir+", NULL, overlay->layers[i]);
	if (r < 0 || overlay->volume < 0)
		return r;
	cleanup(close) int upper =
		openat(overlay->volume, overlay->upper, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup(close) int work =
		openat(overlay->volume, overlay->work, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (upper < 0 || work < 0)
		return -errno;
	r = set(context, FSCONFIG_SET_FD, "upperdir", NULL, upper);
	return r < 0 ? r : set(context, FSCONFIG_SET_FD, "workdir", NULL, work);
}

/* Attaches a detached mount at a new directory of the working directory. */
static int attach_here(int mount, const char *name, struct error *e)
{
	if (mkdir(name, 0700) < 0)
		return error_errno(e, "make a place for a layer");
	if (move_mount(mount, "", AT_FDCWD, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return error_errno(e, "attach a layer");
	return 0;
}

static int set_layers_by_path(int context, const struct mount_overlay *overlay, struct error *e)
{
	cleanup(text_done) struct text lower = {};
	for (size_t i = 0; i < overlay->layer_count; i++) {
		char name[24];
		snprintf(name, sizeof(name), "%zu", i);
		int r = attach_here(overlay->layers[i], name, e);
		if (r < 0)
			return r;
		text_printf(&lower, "%s%s", i ? ":" : "", name);
	}
	int r = set(context, FSCONFIG_SET_STRING, "lowerdir", text_str(&lower), 0);
	if (r == 0 && overlay->volume >= 0) {
		r = attach_here(overlay->volume, "volume", e);
		if (r < 0)
			return r;
		cleanup(free) char *upper = alloc_printf("volume/%s", overlay->upper);
		cleanup(free) char *work = alloc_printf("volume/%s", overlay->work);
		r = set(context, FSCONFIG_SET_STRING, "upperdir", upper, 0);
		if (r == 0)
			r = set(context, FSCONFIG_SET_STRING, "workdir", work, 0);
	}
	return r < 0 ? error_code(e, r, "name the layers of the overlay") : 0;
}

static int open_overlay(const struct mount_overlay *overlay, struct error *e)
{
	cleanup(close) int context = fsopen("overlay", FSOPEN_CLOEXEC);
	if (context < 0)
		return error_errno(e, "mount overlay");
	(void)fsconfig(context, FSCONFIG_SET_STRING, "source", "overlay", 0);
	if (overlay->is_volatile && fsconfig(context, FSCONFIG_SET_FLAG, "volatile", NULL, 0) < 0)
		return fail(context, e, "option volatile of", "overlay");
	return TAKE_FD(context);
}

static int overlay_in_namespace(const struct mount_overlay *overlay, int *ret, struct error *e)
{
	if (unshare(CLONE_NEWNS) < 0)
		return error_errno(e, "unshare a mount namespace");
	int r = mount_all_private(e);
	cleanup(close) int place = -1;
	if (r == 0)
		r = mount_new("tmpfs", NULL, 0, &place, e);
	if (r == 0 &&
		(move_mount(place, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
			fchdir(place) < 0))
		r = error_errno(e, "attach a mount");
	if (r < 0)
		return r;
	cleanup(close) int context = open_overlay(overlay, e);
	if (context < 0)
		return context;
	r = set_layers_by_path(context, overlay, e);
	return r < 0 ? r : finish(context, "overlay", 0, ret, e);
}

/* What a child tells: it shares this and the table of descriptors. */
struct overlay_answer {
	int code;
	int fd;
	struct error e;
};

static int overlay_by_child(const struct mount_overlay *overlay, int *ret, struct error *e)
{
	struct overlay_answer *answer = mmap(
		NULL, sizeof(*answer), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (answer == MAP_FAILED)
		return error_errno(e, "mount overlay");
	int pidfd = -1, status = 0;
	pid_t pid = process_clone(CLONE_FILES, -1, &pidfd);
	if (pid == 0) {
		answer->code = -EIO;
		answer->code = overlay_in_namespace(overlay, &answer->fd, &answer->e);
		_exit(0);
	}
	int r = pid < 0 ? pid : process_wait(pidfd, &status);
	if (r < 0 || status != 0) {
		r = error_set(e, r < 0 ? r : -EIO, "mount overlay: the helper process failed");
	} else {
		r = answer->code;
		if (r < 0)
			error_set(e, r, "%s", answer->e.text);
		else
			*ret = answer->fd;
	}
	if (pidfd >= 0)
		close(pidfd);
	munmap(answer, sizeof(*answer));
	return r;
}

int mount_overlay(const struct mount_overlay *overlay, int *ret, struct error *e)
{
	if (overlay->layer_count > MOUNT_LAYERS_MAX)
		return error_set(e, -E2BIG, "overlay: more than %d layers", MOUNT_LAYERS_MAX);
	cleanup(close) int context = open_overlay(overlay, e);
	if (context < 0)
		return context;
	if (set_layers_by_fd(context, overlay) < 0)
		return overlay_by_child(overlay, ret, e);
	return finish(context, "overlay", 0, ret, e);
}

int mount_image(int file, const char *type, bool is_read_only, int *ret, struct error *e)
{
	struct stat stat;
	if (fstat(file, &stat) < 0)
		return error_errno(e, "stat an image");
	cleanup(loopdev_close) struct loopdev loop = { .fd = -1 };
	char source[64];
	snprintf(source, sizeof(source), "/proc/self/fd/%d", file);
	if (S_ISREG(stat.st_mode)) {
		int r = loopdev_attach(
			file, "the image of a volume", is_read_only, false, &loop, e);
		if (r < 0)
			return r;
		snprintf(source, sizeof(source), "%s", loop.path);
	}
	const struct mount_option options[] = { { "source", source },
		{ is_read_only ? "ro" : "rw", NULL }, {} };
	return mount_new(type, options, is_read_only ? MOUNT_ATTR_RDONLY : 0, ret, e);
}
