/* SPDX-License-Identifier: Apache-2.0 */
/*
 * root.c - entries below one directory.
 *
 * Theory of operation. Every entry is made by its last name in an open directory, and that directory was opened
 * with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS: a link that was planted before is an error, not a way out.
 * The directory of the last entry stays open, for entries come in the order of their directories.
 */
#include "job/root.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/file.h"
#include "base/text.h"

struct dir_time {
	char *name;
	struct timespec modified;
};

struct root {
	int dir;
	char *parent_name; /* of the open directory; NULL if there is none */
	int parent;
	struct dir_time *times;
	size_t time_count;
	size_t time_size;
};

struct root *root_new(int dir)
{
	struct root *root = alloc(struct root);
	root->dir = dir;
	root->parent = -1;
	return root;
}

static void forget_parent(struct root *root)
{
	if (root->parent >= 0)
		close(TAKE_FD(root->parent));
	free(TAKE_PTR(root->parent_name));
}

void root_free(struct root *root)
{
	if (!root)
		return;
	forget_parent(root);
	for (size_t i = 0; i < root->time_count; i++)
		free(root->times[i].name);
	free(root->times);
	free(root);
}

int root_clean_name(const char *name, char **ret, struct error *e)
{
	if (name[0] == '/')
		return error_set(e, -EINVAL, "an absolute name is refused");
	if (strlen(name) >= ROOT_NAME_MAX)
		return error_set(
			e, -EINVAL, "a name of %d bytes or more is refused", ROOT_NAME_MAX);
	cleanup(text_done) struct text clean = {};
	unsigned depth = 0;
	for (const char *part = name; *part;) {
		size_t length = strcspn(part, "/");
		if (length == 2 && memcmp(part, "..", 2) == 0)
			return error_set(e, -EINVAL, "a name with \"..\" is refused");
		if (length > 255)
			return error_set(e, -EINVAL, "a part of the name is longer than 255 bytes");
		if (length > 0 && !(length == 1 && *part == '.')) {
			if (clean.length > 0)
				text_add_char(&clean, '/');
			text_add_n(&clean, part, length);
			depth++;
		}
		part += length + (part[length] == '/');
	}
	if (depth > ROOT_DEPTH_MAX)
		return error_set(e, -EINVAL, "more than %d directories deep", ROOT_DEPTH_MAX);
	*ret = text_take(&clean);
	return 0;
}

static int say_why(int r, const char *what, struct error *e)
{
	if (r == -ELOOP || r == -EXDEV)
		return error_set(e, -EINVAL, "a link or a mount leads away on the way to it");
	if (r == -ENOTDIR)
		return error_set(e, -EINVAL, "something on the way to it is not a directory");
	return error_code(e, r, "%s", what);
}

/* Makes what is missing of the directory, part by part, each looked up below the root again. */
static int make_dirs(struct root *root, const char *name, struct error *e)
{
	cleanup(free) char *part = alloc_text(name);
	cleanup(close) int at = file_open_beneath(root->dir, ".", O_RDONLY | O_DIRECTORY, 0);
	if (at < 0)
		return error_code(e, at, "open the root directory");
	for (char *next, *rest = part; (next = strsep(&rest, "/"));) {
		if (mkdirat(at, next, 0755) < 0 && errno != EEXIST)
			return error_errno(e, "create the directory above it");
		int inside = file_open_beneath(at, next, O_RDONLY | O_DIRECTORY, 0);
		if (inside < 0)
			return say_why(inside, "open the directory above it", e);
		close(at);
		at = inside;
	}
	return TAKE_FD(at);
}

/* The open directory of `name`, borrowed, and in *ret_last its last part. */
static int open_parent(struct root *root, const char *name, const char **ret_last, struct error *e)
{
	const char *slash = strrchr(name, '/');
	*ret_last = slash ? slash + 1 : name;
	size_t length = slash ? (size_t)(slash - name) : 0;
	if (root->parent_name && strlen(root->parent_name) == length &&
		memcmp(root->parent_name, name, length) == 0)
		return root->parent;
	forget_parent(root);
	cleanup(free) char *parent_name = alloc_text_n(name, length);
	int fd =
		file_open_beneath(root->dir, length ? parent_name : ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd == -ENOENT)
		fd = make_dirs(root, parent_name, e);
	else if (fd < 0)
		fd = say_why(fd, "open the directory above it", e);
	if (fd < 0)
		return fd;
	root->parent = fd;
	root->parent_name = TAKE_PTR(parent_name);
	return fd;
}

/* Takes away what an earlier entry put there; a directory only if it is empty. */
static int make_room(struct root *root, int parent, const char *last, struct error *e)
{
	if (unlinkat(parent, last, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return error_errno(e, "replace it");
	forget_parent(root);
	return error_set(e, -EINVAL, "it would replace a directory");
}

static int begin(struct root *root, const char *name, const char **ret_last, struct error *e)
{
	if (!*name)
		return error_set(e, -EINVAL, "the root can only be a directory");
	int parent = open_parent(root, name, ret_last, e);
	if (parent < 0)
		return parent;
	int r = make_room(root, parent, *ret_last, e);
	return r < 0 ? r : parent;
}

static int check_ids(const struct root_dress *dress, struct error *e)
{
	if (dress->uid <= ROOT_ID_MAX && dress->gid <= ROOT_ID_MAX)
		return 0;
	return error_set(e, -EINVAL, "its owner %u:%u is outside 0 to %d, the ids of an instance",
		dress->uid, dress->gid, ROOT_ID_MAX);
}

static void note_time(struct root *root, const char *name, const struct timespec *modified)
{
	if (root->time_count == root->time_size) {
		root->time_size = root->time_size ? 2 * root->time_size : 64;
		root->times = alloc_resize(root->times, root->time_size, sizeof(root->times[0]));
	}
	root->times[root->time_count++] =
		(struct dir_time){ .name = alloc_text(name), .modified = *modified };
}

int root_make_dir(
	struct root *root, const char *name, const struct root_dress *dress, struct error *e)
{
	int r = check_ids(dress, e);
	if (r < 0)
		return r;
	cleanup(close) int dir = -1;
	if (*name) {
		const char *last;
		int parent = open_parent(root, name, &last, e);
		if (parent < 0)
			return parent;
		if (mkdirat(parent, last, 0700) < 0 && errno != EEXIST)
			return error_errno(e, "create the directory");
		dir = file_open_beneath(parent, last, O_RDONLY | O_DIRECTORY, 0);
	} else {
		dir = file_open_beneath(root->dir, ".", O_RDONLY | O_DIRECTORY, 0);
	}
	if (dir < 0)
		return say_why(dir, "open the directory", e);
	if (fchown(dir, dress->uid, dress->gid) < 0 || fchmod(dir, dress->mode & 07777) < 0)
		return error_errno(e, "set the owner and mode");
	note_time(root, name, &dress->modified);
	return TAKE_FD(dir);
}

int root_make_file(struct root *root, const char *name, struct error *e)
{
	const char *last;
	int parent = begin(root, name, &last, e);
	if (parent < 0)
		return parent;
	int fd = openat(parent, last, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? error_errno(e, "create the file") : fd;
}

int root_dress_file(int fd, const struct root_dress *dress, struct error *e)
{
	int r = check_ids(dress, e);
	if (r < 0)
		return r;
	const struct timespec times[2] = { dress->modified, dress->modified };
	/* The owner first: a new one takes the set-id bits away. */
	if (fchown(fd, dress->uid, dress->gid) < 0 || fchmod(fd, dress->mode & 07777) < 0 ||
		futimens(fd, times) < 0)
		return error_errno(e, "set the owner, mode and times");
	return 0;
}

static int dress_name(int parent, const char *last, const struct root_dress *dress, struct error *e)
{
	const struct timespec times[2] = { dress->modified, dress->modified };
	if (fchownat(parent, last, dress->uid, dress->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
		utimensat(parent, last, times, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(e, "set the owner and times");
	return 0;
}

int root_make_link(struct root *root, const char *name, const char *target,
	const struct root_dress *dress, struct error *e)
{
	const char *last;
	int r = check_ids(dress, e);
	int parent = r < 0 ? r : begin(root, name, &last, e);
	if (parent < 0)
		return parent;
	if (symlinkat(target, parent, last) < 0)
		return error_errno(e, "create the link");
	return dress_name(parent, last, dress, e);
}

int root_make_hard_link(struct root *root, const char *name, const char *target, struct error *e)
{
	const char *slash = strrchr(target, '/');
	cleanup(free) char *target_parent =
		slash ? alloc_text_n(target, (size_t)(slash - target)) : alloc_text(".");
	const char *target_last = slash ? slash + 1 : target;
	cleanup(close) int from =
		file_open_beneath(root->dir, target_parent, O_RDONLY | O_DIRECTORY, 0);
	if (from < 0)
		return say_why(from, "find what it is another name for", e);
	struct stat status;
	if (fstatat(from, target_last, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(e, "find what it is another name for, %s", target);
	if (S_ISDIR(status.st_mode))
		return error_set(e, -EINVAL, "it is another name for a directory");
	if (text_equal(name, target))
		return 0;
	const char *last;
	int parent = begin(root, name, &last, e);
	if (parent < 0)
		return parent;
	/* Without AT_SYMLINK_FOLLOW: a link itself gets the second name. */
	if (linkat(from, target_last, parent, last, 0) < 0)
		return error_errno(e, "make it another name for %s", target);
	return 0;
}

int root_make_fifo(
	struct root *root, const char *name, const struct root_dress *dress, struct error *e)
{
	const char *last;
	int r = check_ids(dress, e);
	int parent = r < 0 ? r : begin(root, name, &last, e);
	if (parent < 0)
		return parent;
	if (mknodat(parent, last, S_IFIFO | (dress->mode & 0777), 0) < 0)
		return error_errno(e, "create the fifo");
	return dress_name(parent, last, dress, e);
}

int root_make_whiteout(struct root *root, const char *name, struct error *e)
{
	const char *last;
	int parent = begin(root, name, &last, e);
	if (parent < 0)
		return parent;
	if (mknodat(parent, last, S_IFCHR, makedev(0, 0)) < 0)
		return error_errno(e, "create the whiteout");
	return 0;
}

int root_make_opaque(struct root *root, const char *name, struct error *e)
{
	cleanup(close) int dir =
		file_open_beneath(root->dir, *name ? name : ".", O_RDONLY | O_DIRECTORY, 0);
	if (dir == -ENOENT)
		dir = make_dirs(root, name, e);
	else if (dir < 0)
		return say_why(dir, "open the directory", e);
	if (dir < 0)
		return dir;
	if (fsetxattr(dir, "trusted.overlay.opaque", "y", 1, 0) < 0)
		return error_errno(e, "mark the directory opaque");
	return 0;
}

int root_finish(struct root *root, struct error *e)
{
	for (size_t i = root->time_count; i-- > 0;) {
		const struct dir_time *time = &root->times[i];
		cleanup(close) int dir = file_open_beneath(
			root->dir, *time->name ? time->name : ".", O_RDONLY | O_DIRECTORY, 0);
		if (dir < 0)
			continue; /* replaced by a later entry */
		const struct timespec times[2] = { time->modified, time->modified };
		if (futimens(dir, times) < 0)
			return error_errno(e, "%s: set the times", time->name);
	}
	return 0;
}
