/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount.h - mounts made, changed and put in place by descriptor, never by a path that can be swapped.
 *
 * A detached mount is a descriptor that stands nowhere in a tree of files; it is gone when the last
 * descriptor is closed, and stays when mount_attach() put it somewhere. All are O_CLOEXEC.
 */
#pragma once

#include <sys/mount.h>
#include <sys/types.h>

#include "base/base.h"
#include "base/error.h"

#define MOUNT_LAYERS_MAX 128

struct mount_option {
	const char *key;
	const char *value; /* NULL: a flag */
};

/*
 * A new mount of a file system; `options` end with a NULL key; `attributes` are MOUNT_ATTR_*. The error
 * has the kernel's own words where it gives any.
 */
int mount_new(const char *file_system, const struct mount_option *options, uint64_t attributes,
	int *ret, struct error *e) must_use;

/* A detached copy of what stands at `path` below `dir` (or of the descriptor `dir` if it is ""). */
int mount_clone(int dir, const char *path, bool is_recursive, int *ret, struct error *e) must_use;

/* Sets and clears MOUNT_ATTR_*. -errno. */
int mount_change(int mount, uint64_t set, uint64_t clear, bool is_recursive) must_use;

/* Shows the ids of the mount as the user namespace maps them. */
int mount_idmap(int mount, int user_namespace, bool is_recursive, struct error *e) must_use;

/* Puts a detached mount on the file or directory that `target` is. */
int mount_attach(int mount, int target, struct error *e) must_use;

struct mount_overlay {
	const int *layers; /* detached mounts of directories, top first */
	size_t layer_count;
	int volume;        /* a detached mount that holds the next two; -1: read-only */
	const char *upper; /* directories in it */
	const char *work;
	bool is_volatile; /* no sync of the upper file system when it is unmounted */
};
/*
 * The layers and the upper directory as one tree. Kernels before 6.15 do not take detached mounts; then
 * they are used up: attached in the mount namespace of a child for a moment.
 */
int mount_overlay(const struct mount_overlay *overlay, int *ret, struct error *e) must_use;

/*
 * Mounts the file system `type` in the image file or block device `file`; a file is given a loop device
 * that goes with the mount.
 */
int mount_image(int file, const char *type, bool is_read_only, int *ret, struct error *e) must_use;

/* Makes every mount of the calling process's namespace private, so that nothing comes or goes. */
int mount_all_private(struct error *e) must_use;
