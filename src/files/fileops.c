/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fileops.c - a directory resolved in the root, and a name in it.
 */
#include "files/fileops.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"

/* Of renameat2(2), which not every C library has; linux/fs.h clashes with some. */
#define NO_REPLACE 1u

#define SAFE (O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* Where a path's last part stands, and that part. For the root itself: the root and ".". */
struct place {
	int dir;
	char name[NAME_MAX + 1];
};

static inline void place_done_cleanup(struct place *place)
{
	if (place->dir >= 0)
		close(place->dir);
}

static int find(int root, const char *path, struct place *ret)
{
	size_t end = strlen(path);
	while (end > 0 && path[end - 1] == '/')
		end--;
	size_t start = end;
	while (start > 0 && path[start - 1] != '/')
		start--;
	if (end - start > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(ret->name, path + start, end - start);
	ret->name[end - start] = '\0';
	if (end == start)
		snprintf(ret->name, sizeof(ret->name), ".");
	else if (strcmp(ret->name, "..") == 0)
		return -EINVAL;
	cleanup(free) char *parent = alloc_text_n(path, start);
	ret->dir = file_open_in_root(
		root, *parent ? parent : "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	return ret->dir < 0 ? ret->dir : 0;
}

static int result(int r)
{
	return r < 0 ? -errno : 0;
}

int fileops_stat(int root, const char *path, bool follow, struct stat *ret)
{
	cleanup(close) int fd =
		file_open_in_root(root, path, O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW), 0);
	return fd < 0 ? fd : result(fstat(fd, ret));
}

int fileops_open(int root, const char *path, int flags, uint32_t mode)
{
	/* Cut only when it is known to be regular. */
	int late = flags & O_TRUNC;
	cleanup(close) int fd = file_open_in_root(
		root, path, (flags & ~O_TRUNC) | SAFE, flags & O_CREAT ? mode & 07777 : 0);
	if (fd < 0)
		return fd;
	struct stat stat;
	if (fstat(fd, &stat) < 0)
		return -errno;
	if (!S_ISREG(stat.st_mode))
		return S_ISDIR(stat.st_mode) ? -EISDIR : -EINVAL;
	if (late && ftruncate(fd, 0) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int fileops_open_directory(int root, const char *path)
{
	return file_open_in_root(root, path, O_RDONLY | O_DIRECTORY | SAFE, 0);
}

ssize_t fileops_read_link(int root, const char *path, char *buffer, size_t size)
{
	cleanup(place_done) struct place place = { .dir = -1 };
	int r = find(root, path, &place);
	if (r < 0)
		return r;
	ssize_t length = readlinkat(place.dir, place.name, buffer, size - 1);
	if (length < 0)
		return -errno;
	buffer[length] = '\0';
	return length;
}

int fileops_change_fd(int fd, const struct fileops_owner *owner)
{
	/* The owner first: a change of it takes set-user-ID bits away. */
	if ((owner->uid != FILEOPS_KEEP || owner->gid != FILEOPS_KEEP) &&
		fchownat(fd, "", owner->uid, owner->gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return owner->mode == FILEOPS_KEEP ? 0 : result(fchmod(fd, owner->mode & 07777));
}

int fileops_change(int root, const char *path, const struct fileops_owner *owner)
{
	cleanup(place_done) struct place place = { .dir = -1 };
	struct stat stat;
	int r = find(root, path, &place);
	if (r < 0)
		return r;
	if ((owner->uid != FILEOPS_KEEP || owner->gid != FILEOPS_KEEP) &&
		fchownat(place.dir, place.name, owner->uid, owner->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (owner->mode == FILEOPS_KEEP)
		return 0;
	if (fstatat(place.dir, place.name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISLNK(stat.st_mode))
		return 0;
	/* There is no fchmodat that does not follow; what can be opened is changed by descriptor. */
	cleanup(close) int fd =
		file_open_in_root(place.dir, place.name, O_RDONLY | O_NOFOLLOW | SAFE, 0);
	return fd < 0 ? fd : result(fchmod(fd, owner->mode & 07777));
}

static int make_one(const struct place *place, const struct fileops_owner *owner)
{
	if (mkdirat(place->dir, place->name, 0755) < 0)
		return -errno;
	cleanup(close) int fd =
		openat(place->dir, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | SAFE);
	return fd < 0 ? -errno : fileops_change_fd(fd, owner);
}

int fileops_make_directory(
	int root, const char *path, bool with_parents, const struct fileops_owner *owner)
{
	for (const char *at = path; with_parents && *at;) {
		at += strspn(at, "/");
		at += strcspn(at, "/");
		if (!at[strspn(at, "/")])
			break;
		cleanup(free) char *parent = alloc_text_n(path, (size_t)(at - path));
		cleanup(place_done) struct place place = { .dir = -1 };
		int r = find(root, parent, &place);
		if (r == 0)
			r = make_one(&place, owner);
		if (r < 0 && r != -EEXIST)
			return r;
	}
	cleanup(place_done) struct place place = { .dir = -1 };
	int r = find(root, path, &place);
	if (r < 0)
		return r;
	r = make_one(&place, owner);
	struct stat stat;
	if (r == -EEXIST && with_parents && fileops_stat(root, path, true, &stat) == 0 &&
		S_ISDIR(stat.st_mode))
		return 0;
	return r;
}

int fileops_link(int root, const char *path, const char *target, const struct fileops_owner *owner)
{
	cleanup(place_done) struct place place = { .dir = -1 };
	struct stat stat;
	int r = find(root, path, &place);
	if (r < 0)
		return r;
	if (fstatat(place.dir, place.name, &stat, AT_SYMLINK_NOFOLLOW) == 0 &&
		S_ISLNK(stat.st_mode))
		(void)unlinkat(place.dir, place.name, 0);
	if (symlinkat(target, place.dir, place.name) < 0)
		return -errno;
	return result(fchownat(place.dir, place.name, owner->uid, owner->gid, AT_SYMLINK_NOFOLLOW));
}

int fileops_remove(int root, const char *path, bool is_recursive)
{
	cleanup(place_done) struct place place = { .dir = -1 };
	int r = find(root, path, &place);
	if (r < 0)
		return r;
	if (strcmp(place.name, ".") == 0)
		return -EBUSY;
	if (unlinkat(place.dir, place.name, 0) == 0)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (is_recursive)
		return file_remove_tree(place.dir, place.name);
	return result(unlinkat(place.dir, place.name, AT_REMOVEDIR));
}

int fileops_remove_directory(int root, const char *path)
{
	cleanup(place_done) struct place place = { .dir = -1 };
	int r = find(root, path, &place);
	return r < 0 ? r : result(unlinkat(place.dir, place.name, AT_REMOVEDIR));
}

int fileops_rename(int root, const char *from, const char *to, bool replace)
{
	cleanup(place_done) struct place old = { .dir = -1 };
	cleanup(place_done) struct place new = { .dir = -1 };
	int r = find(root, from, &old);
	if (r == 0)
		r = find(root, to, &new);
	if (r < 0)
		return r;
	return result((int)syscall(
		SYS_renameat2, old.dir, old.name, new.dir, new.name, replace ? 0 : NO_REPLACE));
}

int fileops_set_times(int root, const char *path, const struct timespec times[2])
{
	cleanup(place_done) struct place place = { .dir = -1 };
	int r = find(root, path, &place);
	return r < 0 ? r : result(utimensat(place.dir, place.name, times, AT_SYMLINK_NOFOLLOW));
}

int fileops_truncate(int root, const char *path, uint64_t size)
{
	cleanup(close) int fd = fileops_open(root, path, O_WRONLY, 0);
	return fd < 0 ? fd : result(ftruncate(fd, (off_t)size));
}
