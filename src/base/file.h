/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.h - whole files, atomic replacement and trees, always relative to a directory descriptor.
 *
 * `dir` is an O_PATH or readable directory descriptor, or AT_FDCWD. Every descriptor made here is
 * O_CLOEXEC. Failures are the errno of the system call unless said otherwise.
 */
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include "base/base.h"
#include "base/error.h"

/*
 * Reads the whole file and a NUL behind it; the caller owns *ret; `ret_length` may be NULL.
 * -E2BIG if it has more than `limit_bytes`.
 */
int file_read(int dir, const char *path, size_t limit_bytes, char **ret, size_t *ret_length,
	struct error *e) must_use;

/* Reads a small file (/proc, /sys, cgroups) without its last newline into `buffer`; the length. */
ssize_t file_read_line(int dir, const char *path, char *buffer, size_t size) must_use;

/* Reads one decimal number from a small file. */
int file_read_u64(int dir, const char *path, uint64_t *ret) must_use;

/* Writes `text` in one write(2) into an existing file (/proc, /sys, cgroups). */
int file_write_value(int dir, const char *path, const char *text) must_use;
int file_write_value_f(int dir, const char *path, const char *format, ...) must_use
	printf_like(3, 4);

/*
 * Replaces the file: readers see the old or the new content, never a part; on the disk before it
 * returns.
 */
int file_replace(int dir, const char *path, const void *data, size_t length, mode_t mode,
	struct error *e) must_use;

/* Writes all of `data`, across short writes and EINTR. */
int file_write_all(int fd, const void *data, size_t length) must_use;

/* Reads exactly `length` bytes at `offset`; -ENODATA if the file ends before. */
int file_read_at(int fd, void *data, size_t length, uint64_t offset) must_use;

/* Makes the directory and those above it that are missing. */
int file_make_dirs(int dir, const char *path, mode_t mode) must_use;

/* Removes a file or a whole tree without following a link or crossing a mount; 0 if it is absent. */
int file_remove_tree(int dir, const char *path) must_use;

/*
 * Opens a path that can't leave `dir`, neither by "..", nor by a link: links are resolved as if `dir`
 * were the root (openat2 RESOLVE_IN_ROOT) and magic links refused. `flags` as for open(2).
 */
int file_open_in_root(int dir, const char *path, int flags, mode_t mode) must_use;

/* As file_open_in_root(), but no link at all is followed and no mount crossed. */
int file_open_beneath(int dir, const char *path, int flags, mode_t mode) must_use;

/* Copies all bytes from one descriptor's position to the other's, by reflink or in the kernel. */
int file_copy(int from, int to) must_use;
