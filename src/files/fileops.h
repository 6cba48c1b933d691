/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fileops.h - operations on the files of a container, none of which leads out of its root.
 *
 * A path is resolved by the kernel inside `root` (openat2), so a link that is changed meanwhile can only
 * lead elsewhere in it. Nothing here blocks on a FIFO or a terminal. All return 0 or -errno.
 */
#pragma once

#include <sys/stat.h>

#include "base/base.h"

#define FILEOPS_KEEP UINT32_MAX

struct fileops_owner {
	uint32_t mode; /* FILEOPS_KEEP: as it is */
	uint32_t uid;
	uint32_t gid;
};

int fileops_stat(int root, const char *path, bool follow, struct stat *ret) must_use;

/* Opens a regular file, made if `flags` has O_CREAT; -EINVAL if it is something else. */
int fileops_open(int root, const char *path, int flags, uint32_t mode) must_use;
int fileops_open_directory(int root, const char *path) must_use;

/* The target in `buffer`, NUL-terminated; its length. */
ssize_t fileops_read_link(int root, const char *path, char *buffer, size_t size) must_use;

int fileops_make_directory(
	int root, const char *path, bool with_parents, const struct fileops_owner *owner) must_use;
int fileops_link(
	int root, const char *path, const char *target, const struct fileops_owner *owner) must_use;
int fileops_remove(int root, const char *path, bool is_recursive) must_use;
int fileops_remove_directory(int root, const char *path) must_use;
int fileops_rename(int root, const char *from, const char *to, bool replace) must_use;

/* Of a link itself, too, but its mode. */
int fileops_change(int root, const char *path, const struct fileops_owner *owner) must_use;
int fileops_change_fd(int fd, const struct fileops_owner *owner) must_use;
int fileops_set_times(int root, const char *path, const struct timespec times[2]) must_use;
int fileops_truncate(int root, const char *path, uint64_t size) must_use;
