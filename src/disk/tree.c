/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.c - directories, copied and counted.
 *
 * Theory of operation. One walk, one open directory a level on each side. A file with several names is
 * remembered by device and inode at its first name, as a path below the root of the copy; later names are
 * linked to that path, which nobody else changes while we copy.
 */
#include "disk/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/file.h"
#include "base/text.h"

#define PROGRESS_EVERY   256 /* entries */
#define ATTRIBUTES_MAX   (64 * KIB)
#define LINKS_MAX        (4 * MIB)
#define LINK_BUCKETS     1024
#define COPY_BLOCK_BYTES (64 * KIB)

struct link {
	struct link *next;
	dev_t device;
	ino_t inode;
	char path[];
};

struct copy {
	int to_root;
	struct link *links[LINK_BUCKETS];
	uint64_t link_count;
	struct text path; /* of the directory being copied, below the root */
	unsigned depth;
	struct tree_size done;
	tree_progress *progress;
	void *data;
	struct error *e;
};

/* The notes of an overlay on files below another mount: handles that mean nothing in a copy. */
static bool is_left_out(const char *attribute)
{
	static const char *const left_out[] = {
		"trusted.overlay.origin",
		"trusted.overlay.impure",
		"trusted.overlay.nlink",
		"trusted.overlay.upper",
		"trusted.overlay.uuid",
	};
	for (size_t i = 0; i < ARRAY_SIZE(left_out); i++)
		if (text_equal(attribute, left_out[i]))
			return true;
	return false;
}

static int copy_attribute(int from, int to, const char *name, char *value)
{
	ssize_t size = fgetxattr(from, name, value, ATTRIBUTES_MAX);
	if (size < 0)
		return errno == ENODATA ? 0 : -errno;
	return fsetxattr(to, name, value, (size_t)size, 0) < 0 ? -errno : 0;
}

int tree_copy_attributes(int from, int to, struct error *e)
{
	char none;
	ssize_t size = flistxattr(from, &none, 0);
	if (size == 0 || (size < 0 && errno == EOPNOTSUPP))
		return 0;
	cleanup(free) char *names = alloc_try(1, ATTRIBUTES_MAX, ATTRIBUTES_MAX);
	cleanup(free) char *value = alloc_try(1, ATTRIBUTES_MAX, ATTRIBUTES_MAX);
	if (!names || !value)
		return error_set(e, -ENOMEM, "no memory for the attributes of a file");
	size = flistxattr(from, names, ATTRIBUTES_MAX);
	if (size < 0)
		return error_errno(e, "list the attributes");
	for (const char *name = names; name < names + size; name += strlen(name) + 1) {
		int r = is_left_out(name) ? 0 : copy_attribute(from, to, name, value);
		if (r < 0)
			return error_code(e, r, "copy the attribute %s", name);
	}
	return 0;
}

/* In the kernel as far as it can; *start is where it stopped. */
static int copy_in_kernel(int from, int to, off_t *start, off_t end)
{
	while (*start < end) {
		off_t in = *start, out = *start;
		ssize_t got = copy_file_range(from, &in, to, &out, (size_t)(end - *start), 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -ENODATA;
		*start += got;
	}
	return 0;
}

static int copy_by_hand(int from, int to, off_t start, off_t end)
{
	cleanup(free) char *block = alloc_array(COPY_BLOCK_BYTES, char);
	while (start < end) {
		size_t left = (size_t)(end - start);
		ssize_t got = pread(
			from, block, left < COPY_BLOCK_BYTES ? left : COPY_BLOCK_BYTES, start);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		ssize_t put = pwrite(to, block, (size_t)got, start);
		if (put < 0)
			return -errno;
		start += put;
	}
	return 0;
}

static int copy_range(int from, int to, off_t start, off_t end)
{
	int r = copy_in_kernel(from, to, &start, end);
	/* It shrank while we copied: the size is set from what it was. */
	if (r == -ENODATA)
		return 0;
	bool can_by_hand = r == -EXDEV || r == -EINVAL || r == -EOPNOTSUPP || r == -ENOSYS;
	return can_by_hand ? copy_by_hand(from, to, start, end) : r;
}

int tree_copy_file(int from, int to, struct error *e)
{
	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	struct stat status;
	if (fstat(from, &status) < 0)
		return error_errno(e, "stat");
	for (off_t at = 0; at < status.st_size;) {
		off_t start = lseek(from, at, SEEK_DATA);
		if (start < 0 && errno == ENXIO)
			break;
		off_t end = start < 0 ? status.st_size : lseek(from, start, SEEK_HOLE);
		if (start < 0)
			start = at;
		int r = copy_range(from, to, start, end);
		if (r < 0)
			return error_code(e, r, "copy the data");
		at = end;
	}
	if (ftruncate(to, status.st_size) < 0)
		return error_errno(e, "set the size");
	return 0;
}

static struct link **bucket_of(struct copy *copy, const struct stat *status)
{
	return &copy->links[(status->st_ino ^ status->st_dev) % LINK_BUCKETS];
}

static const char *find_link(struct copy *copy, const struct stat *status)
{
	for (struct link *link = *bucket_of(copy, status); link; link = link->next)
		if (link->inode == status->st_ino && link->device == status->st_dev)
			return link->path;
	return NULL;
}

static int remember_link(struct copy *copy, const struct stat *status, const char *name)
{
	if (++copy->link_count > LINKS_MAX)
		return error_set(copy->e, -E2BIG, "more than %zu files with several names",
			(size_t)LINKS_MAX);
	size_t length = copy->path.length + strlen(name) + 1;
	struct link *link = alloc_zeroed(1, sizeof(*link) + length);
	link->device = status->st_dev;
	link->inode = status->st_ino;
	snprintf(link->path, length, "%s%s", text_str(&copy->path), name);
	struct link **bucket = bucket_of(copy, status);
	link->next = *bucket;
	*bucket = link;
	return 0;
}

static void forget_links(struct copy *copy)
{
	for (size_t i = 0; i < LINK_BUCKETS; i++)
		while (copy->links[i]) {
			struct link *next = copy->links[i]->next;
			free(copy->links[i]);
			copy->links[i] = next;
		}
}

static int copy_inside(struct copy *copy, int from, int to);

/* Makes the entry in `to_dir`; for a directory or a file *ret is open on it, else an O_PATH descriptor. */
static int make_entry(struct copy *copy, int from_dir, int to_dir, const char *name, int from,
	const struct stat *status, int *ret)
{
	char target[4096];
	ssize_t length;
	int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
	int r = 0;
	switch (status->st_mode & S_IFMT) {
	case S_IFDIR:
		r = mkdirat(to_dir, name, 0700);
		flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
		break;
	case S_IFREG:
		*ret = openat(
			to_dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (*ret < 0)
			return error_errno(copy->e, "create");
		return tree_copy_file(from, *ret, copy->e);
	case S_IFLNK:
		length = readlinkat(from_dir, name, target, sizeof(target) - 1);
		if (length < 0)
			return error_errno(copy->e, "read the link");
		target[length] = '\0';
		r = symlinkat(target, to_dir, name);
		break;
	default:
		r = mknodat(to_dir, name, status->st_mode & (S_IFMT | 0777), status->st_rdev);
		break;
	}
	if (r < 0)
		return error_errno(copy->e, "create");
	*ret = openat(to_dir, name, flags);
	return *ret < 0 ? error_errno(copy->e, "open the copy") : 0;
}

/* Owner first: a change of it takes the set-id bits and the capabilities of a file away. */
static int dress_entry(struct copy *copy, int from, int to, const struct stat *status)
{
	if (fchownat(to, "", status->st_uid, status->st_gid, AT_EMPTY_PATH) < 0)
		return error_errno(copy->e, "set the owner");
	/* Nodes got their mode when they were made; links have none. Neither has attributes that count. */
	if (S_ISDIR(status->st_mode) || S_ISREG(status->st_mode)) {
		if (fchmod(to, status->st_mode & 07777) < 0)
			return error_errno(copy->e, "set the mode");
		int r = tree_copy_attributes(from, to, copy->e);
		if (r < 0)
			return r;
	}
	const struct timespec times[2] = { status->st_atim, status->st_mtim };
	if (utimensat(to, "", times, AT_EMPTY_PATH) < 0)
		return error_errno(copy->e, "set the times");
	return 0;
}

static int copy_entry(struct copy *copy, int from_dir, int to_dir, const char *name)
{
	struct stat status;
	if (fstatat(from_dir, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : error_errno(copy->e, "stat");
	if (S_ISSOCK(status.st_mode))
		return 0;
	bool has_more_names = !S_ISDIR(status.st_mode) && status.st_nlink > 1;
	const char *first = has_more_names ? find_link(copy, &status) : NULL;
	if (first)
		return linkat(copy->to_root, first, to_dir, name, 0) < 0
			? error_errno(copy->e, "link to %s", first)
			: 0;

	int flags =
		S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) ? O_RDONLY | O_NONBLOCK : O_PATH;
	cleanup(close) int from = openat(from_dir, name, flags | O_NOFOLLOW | O_CLOEXEC);
	struct stat opened;
	if (from < 0 || fstat(from, &opened) < 0)
		return errno == ENOENT ? 0 : error_errno(copy->e, "open");
	if ((opened.st_mode & S_IFMT) != (status.st_mode & S_IFMT))
		return error_set(copy->e, -EBUSY, "changed while it was copied");
	cleanup(close) int to = -1;
	int r = make_entry(copy, from_dir, to_dir, name, from, &opened, &to);
	if (r == 0 && S_ISDIR(opened.st_mode)) {
		size_t length = copy->path.length;
		text_printf(&copy->path, "%s/", name);
		r = copy_inside(copy, from, to);
		copy->path.length = length;
		copy->path.data[length] = '\0';
	}
	if (r == 0)
		r = dress_entry(copy, from, to, &opened);
	if (r == 0 && has_more_names)
		r = remember_link(copy, &opened, name);
	copy->done.bytes += (uint64_t)opened.st_blocks * 512;
	copy->done.entries++;
	return r;
}

static int report(struct copy *copy)
{
	if (!copy->progress || copy->done.entries % PROGRESS_EVERY != 0)
		return 0;
	int r = copy->progress(copy->data, &copy->done);
	return r < 0 ? error_set(copy->e, r, "the copy was given up") : 0;
}

static DIR *list_directory(int dir)
{
	int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = again < 0 ? NULL : fdopendir(again);
	if (!entries && again >= 0)
		close(again);
	return entries;
}

static bool is_dot(const char *name)
{
	return text_equal(name, ".") || text_equal(name, "..");
}

static int copy_inside(struct copy *copy, int from, int to)
{
	if (++copy->depth > TREE_DEPTH_MAX)
		return error_set(copy->e, -E2BIG, "deeper than %d directories", TREE_DEPTH_MAX);
	DIR *entries = list_directory(from);
	if (!entries)
		return error_errno(copy->e, "list /%s", text_str(&copy->path));
	int r = 0;
	while (r == 0) {
		errno = 0;
		struct dirent *entry = readdir(entries);
		if (!entry) {
			r = errno ? error_errno(copy->e, "list /%s", text_str(&copy->path)) : 0;
			break;
		}
		if (is_dot(entry->d_name))
			continue;
		/* The sentence is prefixed once, at the entry where it failed. */
		size_t length = copy->path.length;
		struct error inner = {};
		struct error *outer = copy->e;
		copy->e = &inner;
		r = copy_entry(copy, from, to, entry->d_name);
		copy->e = outer;
		if (r < 0 && inner.text[0] == '/')
			r = error_set(outer, r, "%s", inner.text);
		else if (r < 0)
			r = error_set(outer, r, "/%.*s%s: %s", (int)length, text_str(&copy->path),
				entry->d_name, inner.text);
		else
			r = report(copy);
	}
	closedir(entries);
	copy->depth--;
	return r;
}

int tree_copy(int from, int to, tree_progress *progress, void *data, struct error *e)
{
	struct copy *copy = alloc(struct copy);
	copy->to_root = to;
	copy->progress = progress;
	copy->data = data;
	copy->e = e;
	text_add(&copy->path, "");
	struct stat status;
	mode_t mask = umask(0);
	int r = copy_inside(copy, from, to);
	if (r == 0)
		r = fstat(from, &status) < 0 ? error_errno(e, "stat the tree")
					     : dress_entry(copy, from, to, &status);
	umask(mask);
	forget_links(copy);
	text_done(&copy->path);
	free(copy);
	return r;
}

static int measure_inside(int dir, struct tree_size *size, unsigned depth, struct error *e)
{
	if (depth > TREE_DEPTH_MAX)
		return error_set(e, -E2BIG, "deeper than %d directories", TREE_DEPTH_MAX);
	DIR *entries = list_directory(dir);
	if (!entries)
		return error_errno(e, "list a directory");
	int r = 0;
	for (struct dirent *entry; r == 0 && (entry = readdir(entries));) {
		struct stat status;
		if (is_dot(entry->d_name) ||
			fstatat(dir, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		size->entries++;
		size->bytes += (uint64_t)status.st_blocks * 512;
		if (!S_ISDIR(status.st_mode))
			continue;
		cleanup(close) int inside =
			openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (inside >= 0)
			r = measure_inside(inside, size, depth + 1, e);
	}
	closedir(entries);
	return r;
}

int tree_measure(int dir, struct tree_size *ret, struct error *e)
{
	struct tree_size size = {};
	int r = measure_inside(dir, &size, 0, e);
	if (r == 0)
		*ret = size;
	return r;
}
