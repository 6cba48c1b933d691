/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.c - whole files, atomic replacement and trees.
 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "base/text.h"

/* linux/fs.h clashes with sys/mount.h of some C libraries, so the one number we need is here. */
#define FILE_CLONE_IOCTL _IOW(0x94, 9, int)

int file_read(int dir, const char *path, size_t limit_bytes, char **ret, size_t *ret_length,
	struct error *e)
{
	cleanup(close) int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "open %s", path);

	cleanup(text_done) struct text text = {};
	for (;;) {
		char block[8192];
		ssize_t got = read(fd, block, sizeof(block));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_errno(e, "read %s", path);
		if (got == 0)
			break;
		if (text.length + (size_t)got > limit_bytes)
			return error_set(e, -E2BIG, "%s: more than %zu bytes", path, limit_bytes);
		text_add_n(&text, block, (size_t)got);
	}
	if (ret_length)
		*ret_length = text.length;
	*ret = text_take(&text);
	return 0;
}

ssize_t file_read_line(int dir, const char *path, char *buffer, size_t size)
{
	cleanup(close) int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t got;
	do
		got = read(fd, buffer, size - 1);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	if (got > 0 && buffer[got - 1] == '\n')
		got--;
	buffer[got] = '\0';
	return got;
}

int file_read_u64(int dir, const char *path, uint64_t *ret)
{
	char line[32];
	ssize_t got = file_read_line(dir, path, line, sizeof(line));
	return got < 0 ? (int)got : text_to_u64(line, ret);
}

int file_write_value(int dir, const char *path, const char *text)
{
	cleanup(close) int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	size_t length = strlen(text);
	ssize_t put;
	do
		put = write(fd, text, length);
	while (put < 0 && errno == EINTR);
	if (put < 0)
		return -errno;
	return (size_t)put == length ? 0 : -EIO;
}

int file_write_value_f(int dir, const char *path, const char *format, ...)
{
	char text[256];
	va_list args;
	va_start(args, format);
	int length = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (length < 0 || (size_t)length >= sizeof(text))
		return -E2BIG;
	return file_write_value(dir, path, text);
}

int file_write_all(int fd, const void *data, size_t length)
{
	for (const char *at = data; length > 0;) {
		ssize_t put = write(fd, at, length);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		at += put;
		length -= (size_t)put;
	}
	return 0;
}

int file_read_at(int fd, void *data, size_t length, uint64_t offset)
{
	for (char *at = data; length > 0;) {
		ssize_t got = pread(fd, at, length, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -ENODATA;
		at += got;
		offset += (uint64_t)got;
		length -= (size_t)got;
	}
	return 0;
}

static int sync_parent(int dir, const char *path)
{
	const char *slash = strrchr(path, '/');
	cleanup(free) char *parent =
		slash ? alloc_text_n(path, (size_t)(slash - path) + 1) : alloc_text(".");
	cleanup(close) int fd = openat(dir, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int file_replace(
	int dir, const char *path, const void *data, size_t length, mode_t mode, struct error *e)
{
	cleanup(free) char *random = text_random_hex(4);
	cleanup(free) char *temporary = alloc_printf("%s.%s.new", path, random);
	cleanup(close) int fd =
		openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return error_errno(e, "create %s", temporary);

	int r = file_write_all(fd, data, length);
	if (r == 0 && (fsync(fd) < 0 || renameat(dir, temporary, dir, path) < 0))
		r = -errno;
	if (r < 0) {
		unlinkat(dir, temporary, 0);
		return error_code(e, r, "write %s", path);
	}
	r = sync_parent(dir, path);
	return r < 0 ? error_code(e, r, "sync the directory of %s", path) : 0;
}

int file_make_dirs(int dir, const char *path, mode_t mode)
{
	cleanup(free) char *part = alloc_text(path);
	for (char *slash = part; *slash;) {
		slash += strspn(slash, "/");
		slash += strcspn(slash, "/");
		char kept = *slash;
		*slash = '\0';
		if (mkdirat(dir, part, mode) < 0 && errno != EEXIST)
			return -errno;
		*slash = kept;
	}
	return 0;
}

static int remove_inside(int fd, dev_t device)
{
	DIR *entries = fdopendir(fd);
	if (!entries) {
		int r = -errno;
		close(fd);
		return r;
	}
	int result = 0;
	for (;;) {
		errno = 0;
		struct dirent *entry = readdir(entries);
		if (!entry) {
			result = result < 0 ? result : -errno;
			break;
		}
		const char *name = entry->d_name;
		if (text_equal(name, ".") || text_equal(name, ".."))
			continue;
		if (entry->d_type != DT_DIR && unlinkat(fd, name, 0) == 0)
			continue;
		int r = 0;
		int inside = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		struct stat status;
		if (inside < 0) {
			r = errno == ENOENT ? 0 : -errno;
		} else if (fstat(inside, &status) < 0 || status.st_dev != device) {
			close(inside);
			r = -EXDEV;
		} else {
			r = remove_inside(inside, device);
		}
		if (r == 0 && unlinkat(fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			r = -errno;
		if (r < 0)
			result = r;
	}
	closedir(entries);
	return result;
}

int file_remove_tree(int dir, const char *path)
{
	if (unlinkat(dir, path, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;

	int fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct stat status;
	if (fstat(fd, &status) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	int r = remove_inside(fd, status.st_dev);
	if (r == 0 && unlinkat(dir, path, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}

static int open_resolved(int dir, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) ? mode : 0,
		.resolve = resolve,
	};
	long fd;
	/* The kernel asks for another try when a rename raced with "..". */
	do
		fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
	while (fd < 0 && (errno == EAGAIN || errno == EINTR));
	return fd < 0 ? -errno : (int)fd;
}

int file_open_in_root(int dir, const char *path, int flags, mode_t mode)
{
	return open_resolved(dir, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int file_open_beneath(int dir, const char *path, int flags, mode_t mode)
{
	return open_resolved(
		dir, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
}

int file_copy(int from, int to)
{
	if (lseek(from, 0, SEEK_CUR) == 0 && lseek(to, 0, SEEK_CUR) == 0 &&
		ioctl(to, FILE_CLONE_IOCTL, from) == 0)
		return 0;

	bool in_kernel = true;
	for (;;) {
		if (in_kernel) {
			ssize_t got = copy_file_range(from, NULL, to, NULL, 16 * MIB, 0);
			if (got == 0)
				return 0;
			if (got > 0 || errno == EINTR)
				continue;
			if (errno != EXDEV && errno != EINVAL && errno != ENOSYS &&
				errno != EOPNOTSUPP && errno != EBADF)
				return -errno;
			in_kernel = false;
		}
		char block[8192];
		ssize_t got = read(from, block, sizeof(block));
		if (got == 0)
			return 0;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		int r = file_write_all(to, block, (size_t)got);
		if (r < 0)
			return r;
	}
}
