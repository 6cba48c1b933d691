/* SPDX-License-Identifier: Apache-2.0 */
/*
 * target.c - openat2(2) inside a root, and mkdirat(2) part by part.
 */
#include "container/target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/text.h"

#define PART_MAX 255

int target_open(int root, const char *path, bool no_links)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS |
			(no_links ? RESOLVE_NO_SYMLINKS : 0),
	};
	long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

/* The next part of the path into `part`; false at its end. "" and "." are passed over. */
static int next_part(const char **at, char part[PART_MAX + 1])
{
	for (;;) {
		*at += strspn(*at, "/");
		size_t length = strcspn(*at, "/");
		if (length == 0)
			return 0;
		if (length > PART_MAX)
			return -ENAMETOOLONG;
		memcpy(part, *at, length);
		part[length] = '\0';
		*at += length;
		if (strcmp(part, ".") != 0)
			return 1;
	}
}

/* Opens `part` in `dir`, which is at `so_far` below the root; a directory is made if there is none. */
static int step(
	int root, int dir, const char *so_far, const char *part, bool is_file, bool no_links)
{
	int fd = target_open(root, so_far, no_links);
	if (fd != -ENOENT)
		return fd;
	/* Not there, or a link that leads nowhere, which is left as it is. */
	if (strcmp(part, "..") == 0)
		return -ENOENT;
	if (is_file) {
		cleanup(close) int made = openat(
			dir, part, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0644);
		if (made < 0)
			return errno == EEXIST ? -ELOOP : -errno;
	} else if (mkdirat(dir, part, 0755) < 0) {
		return errno == EEXIST ? -ELOOP : -errno;
	}
	fd = openat(dir, part, O_PATH | O_NOFOLLOW | O_CLOEXEC | (is_file ? 0 : O_DIRECTORY));
	return fd < 0 ? -errno : fd;
}

static int walk(int root, const char *path, bool is_file, bool no_links)
{
	cleanup(text_done) struct text so_far = {};
	cleanup(close) int dir = fcntl(root, F_DUPFD_CLOEXEC, 3);
	char part[PART_MAX + 1];
	int r;
	while ((r = next_part(&path, part)) > 0) {
		bool is_last = path[strspn(path, "/")] == '\0';
		text_printf(&so_far, "/%s", part);
		int next = step(root, dir, text_str(&so_far), part, is_file && is_last, no_links);
		if (next < 0)
			return next;
		close(dir);
		dir = next;
	}
	return r < 0 ? r : TAKE_FD(dir);
}

int target_make(int root, const char *path, bool is_file, bool no_links, int *ret, struct error *e)
{
	int fd = target_open(root, path, no_links);
	if (fd == -ENOENT)
		fd = walk(root, path, is_file, no_links);
	if (fd == -ELOOP)
		return error_set(e, fd, "%s: a symbolic link stands in the way in the image", path);
	if (fd < 0)
		return error_code(e, fd, "%s: make it in the container", path);
	*ret = fd;
	return 0;
}

int target_parent(int root, const char *path, int *ret, const char **ret_name, struct error *e)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return error_set(e, -EINVAL, "%s: no name at its end", path);
	cleanup(free) char *parent = alloc_text_n(path, slash ? (size_t)(slash - path) : 0);
	int r = target_make(root, *parent ? parent : "/", false, false, ret, e);
	if (r == 0)
		*ret_name = name;
	return r;
}
