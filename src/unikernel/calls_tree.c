/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls_tree.c - the calls that take a path.
 */
#include <fcntl.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <utime.h>

#include "abi/ext2.h"
#include "unikernel/call.h"
#include "unikernel/descriptors.h"
#include "unikernel/events.h"
#include "unikernel/heap.h"
#include "unikernel/kept.h"
#include "unikernel/opened.h"
#include "unikernel/path.h"

#define TMPFS_MAGIC 0x01021994

/* Where a relative path starts. */
static int start_of(uint64_t directory, const char *path, struct node **ret)
{
	if ((int)directory == AT_FDCWD || *path == '/') {
		*ret = path_working;
		return 0;
	}
	struct file *file = descriptor_file(directory);
	if (!file)
		return -EBADF;
	if (!file->node || !node_is_directory(file->node))
		return -ENOTDIR;
	*ret = file->node;
	return 0;
}

static int find(uint64_t directory, uint64_t path, bool follows, struct node **ret)
{
	struct node *start = NULL;
	int r = start_of(directory, at(path), &start);
	return r < 0 ? r : path_find(start, at(path), follows, ret);
}

static int walk(uint64_t directory, uint64_t path, bool follows, struct place *ret)
{
	struct node *start = NULL;
	int r = start_of(directory, at(path), &start);
	return r < 0 ? r : path_walk(start, at(path), follows, ret);
}

/* The absolute name of a place, for /proc/self/fd. */
static void name_place(const struct place *place, char *to, uint64_t size)
{
	const struct node *node = place->node;
	if (node && node_is_directory(node)) {
		if (path_of(node, to, size) < 0)
			to[0] = '\0';
		return;
	}
	int64_t length = path_of(place->directory, to, size - NAME_LONGEST - 2);
	if (length < 0) {
		to[0] = '\0';
		return;
	}
	uint64_t end = (uint64_t)length - 1;
	if (end > 1)
		to[end++] = '/';
	memcpy(to + end, place->name, place->length);
	to[end + place->length] = '\0';
}

static int64_t open_place(struct place *place, uint64_t flags, uint64_t mode)
{
	static char name[PATH_LONGEST]; /* opened_new() copies it */
	struct file *file = NULL;
	bool is_new = !place->node;
	if (is_new) {
		if (!(flags & O_CREAT))
			return -ENOENT;
		int r = path_make(place, S_IFREG | (uint32_t)(mode & 07777), &place->node);
		if (r < 0)
			return r;
	} else if ((flags & O_CREAT) && (flags & O_EXCL)) {
		return -EEXIST;
	}
	if (S_ISLNK(place->node->mode) && !(flags & O_PATH))
		return -ELOOP;
	if ((flags & O_DIRECTORY) && !node_is_directory(place->node))
		return -ENOTDIR;
	if ((flags & O_CREAT) && node_is_directory(place->node))
		return -EISDIR;
	name_place(place, name, sizeof(name));
	int64_t e = opened_new(place->node, (uint32_t)flags, name, &file);
	return e < 0 ? e : descriptor_add(file, 0, (flags & O_CLOEXEC) != 0);
}

/* A file without a name in the given directory. */
static int64_t open_nameless(struct node *directory, uint64_t flags, uint64_t mode)
{
	struct file *file = NULL;
	if (!node_is_directory(directory))
		return -ENOTDIR;
	struct node *node = node_new(S_IFREG | ((uint32_t)mode & 07777 & ~path_umask));
	if (!node)
		return -ENOSPC;
	int64_t e = opened_new(
		node, (uint32_t)flags & ~(uint32_t)O_DIRECTORY, "/tmp/# (deleted)", &file);
	node_drop(node);
	return e < 0 ? e : descriptor_add(file, 0, (flags & O_CLOEXEC) != 0);
}

/* The file without a node that a name of a descriptor of the program stands for, such as a pipe; NULL: it is no such name. */
static struct file *file_again(const char *path)
{
	static const char *const heads[] = { "/proc/self/fd/", "/dev/fd/" };
	static const char *const streams[] = { "/dev/stdin", "/dev/stdout", "/dev/stderr" };
	struct file *file = NULL;
	for (size_t i = 0; i < COUNT(heads); i++) {
		size_t length = strlen(heads[i]);
		if (strlen(path) <= length || memcmp(path, heads[i], length) != 0)
			continue;
		uint64_t number = 0;
		for (const char *c = path + length; *c; c++) {
			if (*c < '0' || *c > '9')
				return NULL;
			number = number * 10 + (uint64_t)(*c - '0');
		}
		file = descriptor_file(number);
	}
	for (uint32_t i = 0; i < COUNT(streams); i++)
		if (text_is(path, streams[i]))
			file = descriptor_file(i);
	return file && !file->node ? file : NULL;
}

/* Opening what a descriptor of the program names opens what it names, whatever that is. */
static int64_t open_again(struct file *file, uint64_t flags)
{
	file_hold(file);
	return descriptor_add(file, 0, (flags & O_CLOEXEC) != 0);
}

static int64_t open_at(uint64_t directory, uint64_t path, uint64_t flags, uint64_t mode)
{
	struct place place;
	bool follows = !(flags & O_NOFOLLOW) && !((flags & O_CREAT) && (flags & O_EXCL));
	struct file *again = file_again(at(path));
	if (again)
		return open_again(again, flags);
	int r = walk(directory, path, follows, &place);
	if (r < 0)
		return r;
	if ((flags & O_TMPFILE) == O_TMPFILE)
		return place.node ? open_nameless(place.node, flags, mode) : -ENOENT;
	return open_place(&place, flags, mode);
}

static int64_t serve_open(struct registers *r)
{
	return open_at((uint64_t)AT_FDCWD, r->rdi, r->rsi, r->rdx);
}

static int64_t serve_openat(struct registers *r)
{
	return open_at(r->rdi, r->rsi, r->rdx, r->r10);
}

static int64_t serve_creat(struct registers *r)
{
	return open_at((uint64_t)AT_FDCWD, r->rdi, O_CREAT | O_WRONLY | O_TRUNC, r->rsi);
}

static int64_t stat_path(uint64_t directory, uint64_t path, uint64_t flags, struct stat *ret)
{
	if ((flags & AT_EMPTY_PATH) && (!path || *(const char *)at(path) == '\0')) {
		if ((int)directory == AT_FDCWD) {
			node_stat(path_working, ret);
			return 0;
		}
		struct file *file = descriptor_file(directory);
		return file ? file->operations->stat(file, ret) : -EBADF;
	}
	struct node *node = NULL;
	struct file *again = flags & AT_SYMLINK_NOFOLLOW ? NULL : file_again(at(path));
	if (again)
		return again->operations->stat(again, ret);
	int r = find(directory, path, !(flags & AT_SYMLINK_NOFOLLOW), &node);
	if (r < 0)
		return r;
	node_stat(node, ret);
	return 0;
}

static int64_t serve_stat(struct registers *r)
{
	return stat_path((uint64_t)AT_FDCWD, r->rdi,
		r->number == SYS_lstat ? AT_SYMLINK_NOFOLLOW : 0, at(r->rsi));
}

static int64_t serve_newfstatat(struct registers *r)
{
	return stat_path(r->rdi, r->rsi, r->r10, at(r->rdx));
}

static struct statx_timestamp statx_time(const struct timespec *time)
{
	return (struct statx_timestamp){ .tv_sec = time->tv_sec,
		.tv_nsec = (uint32_t)time->tv_nsec };
}

static int64_t serve_statx(struct registers *r)
{
	struct stat status;
	int64_t e = stat_path(r->rdi, r->rsi, r->rdx, &status);
	if (e < 0)
		return e;
	*(struct statx *)at(r->r8) = (struct statx){
		.stx_mask = STATX_BASIC_STATS,
		.stx_blksize = (uint32_t)status.st_blksize,
		.stx_nlink = (uint32_t)status.st_nlink,
		.stx_uid = status.st_uid,
		.stx_gid = status.st_gid,
		.stx_mode = (uint16_t)status.st_mode,
		.stx_ino = status.st_ino,
		.stx_size = (uint64_t)status.st_size,
		.stx_blocks = (uint64_t)status.st_blocks,
		.stx_atime = statx_time(&status.st_atim),
		.stx_mtime = statx_time(&status.st_mtim),
		.stx_ctime = statx_time(&status.st_ctim),
		.stx_rdev_major = major(status.st_rdev),
		.stx_rdev_minor = minor(status.st_rdev),
		.stx_dev_minor = (uint32_t)status.st_dev,
	};
	return 0;
}

/* Root may do everything but run what is not executable by anybody. */
static int64_t may_access(uint64_t directory, uint64_t path, uint64_t mode)
{
	struct node *node = NULL;
	if (file_again(at(path)))
		return mode & 1 ? -EACCES : 0;
	int r = find(directory, path, true, &node);
	if (r < 0)
		return r;
	return (mode & 1) && !node_is_directory(node) && !(node->mode & 0111) ? -EACCES : 0;
}

static int64_t serve_access(struct registers *r)
{
	return may_access((uint64_t)AT_FDCWD, r->rdi, r->rsi);
}

static int64_t serve_faccessat(struct registers *r)
{
	return may_access(r->rdi, r->rsi, r->rdx);
}

static int64_t read_link(uint64_t directory, uint64_t path, uint64_t to, uint64_t size)
{
	struct node *node = NULL;
	int r = find(directory, path, false, &node);
	if (r < 0)
		return r;
	return S_ISLNK(node->mode) && size ? path_read_link(node, at(to), size) : -EINVAL;
}

static int64_t serve_readlink(struct registers *r)
{
	return read_link((uint64_t)AT_FDCWD, r->rdi, r->rsi, r->rdx);
}

static int64_t serve_readlinkat(struct registers *r)
{
	return read_link(r->rdi, r->rsi, r->rdx, r->r10);
}

static int make(uint64_t directory, uint64_t path, uint32_t mode, uint64_t rdev, char *target)
{
	struct place place;
	struct node *node = NULL;
	int r = walk(directory, path, false, &place);
	if (r < 0)
		return r;
	return place.node ? -EEXIST : path_make_special(&place, mode, rdev, target, &node);
}

static int64_t make_directory(uint64_t directory, uint64_t path, uint64_t mode)
{
	return make(directory, path, S_IFDIR | (uint32_t)(mode & 01777), 0, NULL);
}

static int64_t serve_mkdir(struct registers *r)
{
	return make_directory((uint64_t)AT_FDCWD, r->rdi, r->rsi);
}

static int64_t serve_mkdirat(struct registers *r)
{
	return make_directory(r->rdi, r->rsi, r->rdx);
}

static int64_t make_node(uint64_t directory, uint64_t path, uint64_t mode, uint64_t device)
{
	uint32_t type = (uint32_t)mode & S_IFMT;
	if (type != S_IFREG && type != 0 && type != S_IFCHR && type != S_IFBLK && type != S_IFIFO)
		return -EINVAL;
	return make(
		directory, path, (type ? type : S_IFREG) | ((uint32_t)mode & 07777), device, NULL);
}

static int64_t serve_mknod(struct registers *r)
{
	return make_node((uint64_t)AT_FDCWD, r->rdi, r->rsi, r->rdx);
}

static int64_t serve_mknodat(struct registers *r)
{
	return make_node(r->rdi, r->rsi, r->rdx, r->r10);
}

static int64_t make_symlink(uint64_t target, uint64_t directory, uint64_t path)
{
	size_t length = strlen(at(target));
	if (length == 0 || length >= PATH_LONGEST)
		return length ? -ENAMETOOLONG : -ENOENT;
	char *text = heap_text(at(target), length);
	int r = text ? make(directory, path, S_IFLNK | 0777, 0, text) : -ENOSPC;
	if (r < 0)
		heap_free(text);
	return r;
}

static int64_t serve_symlink(struct registers *r)
{
	return make_symlink(r->rdi, (uint64_t)AT_FDCWD, r->rsi);
}

static int64_t serve_symlinkat(struct registers *r)
{
	return make_symlink(r->rdi, r->rsi, r->rdx);
}

static int64_t link_at(
	uint64_t from_directory, uint64_t from, uint64_t directory, uint64_t path, bool follows)
{
	struct node *node = NULL;
	struct place place;
	int r = find(from_directory, from, follows, &node);
	if (r == 0)
		r = walk(directory, path, false, &place);
	if (r < 0)
		return r;
	if (node_is_directory(node))
		return -EPERM;
	if (place.node)
		return -EEXIST;
	r = node_change(node);
	if (r < 0)
		return r;
	node->ctime_ns = node_now();
	node_changed(node);
	return node_link(place.directory, place.name, place.length, node);
}

static int64_t serve_link(struct registers *r)
{
	return link_at((uint64_t)AT_FDCWD, r->rdi, (uint64_t)AT_FDCWD, r->rsi, false);
}

static int64_t serve_linkat(struct registers *r)
{
	return link_at(r->rdi, r->rsi, r->rdx, r->r10, (r->r8 & AT_SYMLINK_FOLLOW) != 0);
}

static bool is_empty(struct node *directory)
{
	if (directory->fill)
		directory->fill(directory);
	return directory->directory.first == NULL;
}

static int64_t remove_at(uint64_t directory, uint64_t path, bool wants_directory)
{
	struct place place;
	int r = walk(directory, path, false, &place);
	if (r < 0)
		return r;
	if (!place.node)
		return -ENOENT;
	if (node_is_directory(place.node) != wants_directory)
		return wants_directory ? -ENOTDIR : -EISDIR;
	if (!place.entry)
		return text_is(place.name, ".") ? -EINVAL : -EBUSY;
	if (wants_directory && !is_empty(place.node))
		return -ENOTEMPTY;
	place.directory->mtime_ns = place.directory->ctime_ns = place.node->ctime_ns = node_now();
	node_changed(place.directory);
	return node_unlink(place.directory, place.entry);
}

static int64_t serve_unlink(struct registers *r)
{
	return remove_at((uint64_t)AT_FDCWD, r->rdi, false);
}

static int64_t serve_rmdir(struct registers *r)
{
	return remove_at((uint64_t)AT_FDCWD, r->rdi, true);
}

static int64_t serve_unlinkat(struct registers *r)
{
	return remove_at(r->rdi, r->rsi, (r->rdx & AT_REMOVEDIR) != 0);
}

static bool is_below(const struct node *node, const struct node *top)
{
	for (;; node = node->directory.parent) {
		if (node == top)
			return true;
		if (node == path_root || !node->directory.parent)
			return false;
	}
}

/* What stands at the new name goes, if it is of the same kind. */
static int64_t make_way(const struct place *from, const struct place *to, uint64_t flags)
{
	if (!to->node)
		return to->wants_directory && !node_is_directory(from->node) ? -ENOTDIR : 0;
	if (flags & 1) /* RENAME_NOREPLACE */
		return -EEXIST;
	if (!to->entry)
		return -EBUSY;
	if (node_is_directory(from->node) != node_is_directory(to->node))
		return node_is_directory(to->node) ? -EISDIR : -ENOTDIR;
	if (node_is_directory(to->node) && !is_empty(to->node))
		return -ENOTEMPTY;
	return node_unlink(to->directory, to->entry);
}

/* What the image has below a directory would stay behind; of the volume and in memory it all goes along. */
static bool is_movable(struct node *directory)
{
	return directory->in_memory || (directory->kept && !directory->has_image);
}

static int64_t rename_at(uint64_t from_directory, uint64_t from_path, uint64_t directory,
	uint64_t path, uint64_t flags)
{
	struct place from, to;
	int r = walk(from_directory, from_path, false, &from);
	if (r == 0 && !from.node)
		r = -ENOENT;
	if (r == 0)
		r = walk(directory, path, false, &to);
	if (r < 0)
		return r;
	if (flags & ~UINT64_C(1))
		return -EINVAL;
	if (!from.entry)
		return -EBUSY;
	if (from.node == to.node)
		return 0;
	if (node_is_directory(from.node) && is_below(to.directory, from.node))
		return -EINVAL;
	struct node *node = from.node;
	if (node_keeper && node_is_directory(node) && !is_movable(node))
		return -EXDEV;
	int64_t e = make_way(&from, &to, flags);
	if (e < 0)
		return e;
	r = node_link(to.directory, to.name, to.length, node);
	if (r < 0)
		return r;
	r = node_unlink(from.directory, from.entry);
	node->ctime_ns = to.directory->mtime_ns = from.directory->mtime_ns = node_now();
	node_changed(to.directory);
	node_changed(from.directory);
	node_changed(node);
	return r;
}

static int64_t serve_rename(struct registers *r)
{
	return rename_at((uint64_t)AT_FDCWD, r->rdi, (uint64_t)AT_FDCWD, r->rsi, 0);
}

static int64_t serve_renameat(struct registers *r)
{
	return rename_at(r->rdi, r->rsi, r->rdx, r->r10, r->number == SYS_renameat2 ? r->r8 : 0);
}

static int64_t set_mode(struct node *node, uint64_t mode)
{
	int r = node_change(node);
	if (r < 0)
		return r;
	node->mode = (node->mode & S_IFMT) | ((uint32_t)mode & 07777);
	node->ctime_ns = node_now();
	node_changed(node);
	return 0;
}

static int64_t serve_chmod(struct registers *r)
{
	bool is_at = r->number == SYS_fchmodat;
	struct node *node = NULL;
	int e = is_at ? find(r->rdi, r->rsi, true, &node)
		      : find((uint64_t)AT_FDCWD, r->rdi, true, &node);
	return e < 0 ? e : set_mode(node, is_at ? r->rdx : r->rsi);
}

static int64_t serve_fchmod(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	if (!file)
		return -EBADF;
	return file->node ? set_mode(file->node, r->rsi) : 0;
}

static int64_t set_owner(struct node *node, uint64_t uid, uint64_t gid)
{
	int r = node_change(node);
	if (r < 0)
		return r;
	if ((uint32_t)uid != UINT32_MAX)
		node->uid = (uint32_t)uid;
	if ((uint32_t)gid != UINT32_MAX)
		node->gid = (uint32_t)gid;
	node->ctime_ns = node_now();
	node_changed(node);
	return 0;
}

static int64_t serve_chown(struct registers *r)
{
	struct node *node = NULL;
	int e = find((uint64_t)AT_FDCWD, r->rdi, r->number == SYS_chown, &node);
	return e < 0 ? e : set_owner(node, r->rsi, r->rdx);
}

static int64_t serve_fchown(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	if (!file)
		return -EBADF;
	return file->node ? set_owner(file->node, r->rsi, r->rdx) : 0;
}

static int64_t serve_fchownat(struct registers *r)
{
	struct node *node = NULL;
	if ((r->r8 & AT_EMPTY_PATH) && !*(const char *)at(r->rsi)) {
		struct file *file = descriptor_file(r->rdi);
		return file && file->node ? set_owner(file->node, r->rdx, r->r10) : -EBADF;
	}
	int e = find(r->rdi, r->rsi, !(r->r8 & AT_SYMLINK_NOFOLLOW), &node);
	return e < 0 ? e : set_owner(node, r->rdx, r->r10);
}

static uint64_t time_to_set(const struct timespec *time, uint64_t old)
{
	if (time->tv_nsec == UTIME_OMIT)
		return old;
	return time->tv_nsec == UTIME_NOW ? node_now() : ns_of(time);
}

static int64_t serve_utimensat(struct registers *r)
{
	struct node *node = NULL;
	if (!r->rsi) {
		struct file *file = descriptor_file(r->rdi);
		if (!file || !file->node)
			return -EBADF;
		node = file->node;
	} else {
		int e = find(r->rdi, r->rsi, !(r->r10 & AT_SYMLINK_NOFOLLOW), &node);
		if (e < 0)
			return e;
	}
	int changing = node_change(node);
	if (changing < 0)
		return changing;
	const struct timespec *times = at(r->rdx);
	node->atime_ns = times ? time_to_set(&times[0], node->atime_ns) : node_now();
	node->mtime_ns = times ? time_to_set(&times[1], node->mtime_ns) : node_now();
	node_changed(node);
	return 0;
}

static int64_t serve_utimes(struct registers *r)
{
	struct node *node = NULL;
	int e = find((uint64_t)AT_FDCWD, r->rdi, true, &node);
	if (e == 0)
		e = node_change(node);
	if (e < 0)
		return e;
	const struct timeval *times = at(r->rsi);
	node->atime_ns = times ? (uint64_t)times[0].tv_sec * 1000000000 : node_now();
	node->mtime_ns = times
		? (uint64_t)times[1].tv_sec * 1000000000 + (uint64_t)times[1].tv_usec * 1000
		: node_now();
	node_changed(node);
	return 0;
}

static int64_t serve_truncate(struct registers *r)
{
	struct node *node = NULL;
	int e = find((uint64_t)AT_FDCWD, r->rdi, true, &node);
	if (e < 0)
		return e;
	if (!S_ISREG(node->mode))
		return node_is_directory(node) ? -EISDIR : -EINVAL;
	return (int64_t)r->rsi < 0 ? -EINVAL : node_truncate(node, r->rsi);
}

static int64_t change_directory(struct node *node)
{
	if (!node_is_directory(node))
		return -ENOTDIR;
	node_hold(node);
	node_drop(path_working);
	path_working = node;
	return 0;
}

static int64_t serve_chdir(struct registers *r)
{
	struct node *node = NULL;
	int e = find((uint64_t)AT_FDCWD, r->rdi, true, &node);
	return e < 0 ? e : change_directory(node);
}

static int64_t serve_fchdir(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	if (!file)
		return -EBADF;
	return file->node ? change_directory(file->node) : -ENOTDIR;
}

static int64_t serve_getcwd(struct registers *r)
{
	return path_of(path_working, at(r->rdi), r->rsi);
}

static int64_t serve_umask(struct registers *r)
{
	uint32_t old = path_umask;
	path_umask = (uint32_t)r->rdi & 0777;
	return old;
}

static void fill_statfs(const struct node *node, struct statfs *ret)
{
	struct kept_room room = { KERNEL_PAGE, memory_total() / KERNEL_PAGE,
		memory_left() / KERNEL_PAGE, memory_total() / KERNEL_PAGE,
		memory_left() / KERNEL_PAGE };
	bool is_kept = node && kept_room(node, &room);
	*ret = (struct statfs){
		.f_type = is_kept ? EXT2_SUPER_MAGIC : TMPFS_MAGIC,
		.f_bsize = (long)room.block_bytes,
		.f_blocks = room.blocks,
		.f_bfree = room.blocks_free,
		.f_bavail = room.blocks_free,
		.f_files = room.inodes,
		.f_ffree = room.inodes_free,
		.f_namelen = NAME_LONGEST,
		.f_frsize = (long)room.block_bytes,
	};
}

static int64_t serve_statfs(struct registers *r)
{
	struct node *node = NULL;
	int e = find((uint64_t)AT_FDCWD, r->rdi, true, &node);
	if (e < 0)
		return e;
	fill_statfs(node, at(r->rsi));
	return 0;
}

static int64_t serve_fstatfs(struct registers *r)
{
	const struct file *file = descriptor_file(r->rdi);
	if (!file)
		return -EBADF;
	fill_statfs(file->node, at(r->rsi));
	return 0;
}

/* Files have no extended attributes. */
static int64_t serve_no_attribute(struct registers *r)
{
	(void)r;
	return -EOPNOTSUPP;
}

const struct call calls_of_tree[] = {
	{ SYS_open, "open", serve_open },
	{ SYS_openat, "openat", serve_openat },
	{ SYS_creat, "creat", serve_creat },
	{ SYS_stat, "stat", serve_stat },
	{ SYS_lstat, "lstat", serve_stat },
	{ SYS_newfstatat, "newfstatat", serve_newfstatat },
	{ SYS_statx, "statx", serve_statx },
	{ SYS_access, "access", serve_access },
	{ SYS_faccessat, "faccessat", serve_faccessat },
	{ SYS_faccessat2, "faccessat2", serve_faccessat },
	{ SYS_readlink, "readlink", serve_readlink },
	{ SYS_readlinkat, "readlinkat", serve_readlinkat },
	{ SYS_mkdir, "mkdir", serve_mkdir },
	{ SYS_mkdirat, "mkdirat", serve_mkdirat },
	{ SYS_mknod, "mknod", serve_mknod },
	{ SYS_mknodat, "mknodat", serve_mknodat },
	{ SYS_symlink, "symlink", serve_symlink },
	{ SYS_symlinkat, "symlinkat", serve_symlinkat },
	{ SYS_link, "link", serve_link },
	{ SYS_linkat, "linkat", serve_linkat },
	{ SYS_unlink, "unlink", serve_unlink },
	{ SYS_unlinkat, "unlinkat", serve_unlinkat },
	{ SYS_rmdir, "rmdir", serve_rmdir },
	{ SYS_rename, "rename", serve_rename },
	{ SYS_renameat, "renameat", serve_renameat },
	{ SYS_renameat2, "renameat2", serve_renameat },
	{ SYS_chmod, "chmod", serve_chmod },
	{ SYS_fchmodat, "fchmodat", serve_chmod },
	{ SYS_fchmod, "fchmod", serve_fchmod },
	{ SYS_chown, "chown", serve_chown },
	{ SYS_lchown, "lchown", serve_chown },
	{ SYS_fchown, "fchown", serve_fchown },
	{ SYS_fchownat, "fchownat", serve_fchownat },
	{ SYS_utimensat, "utimensat", serve_utimensat },
	{ SYS_utimes, "utimes", serve_utimes },
	{ SYS_truncate, "truncate", serve_truncate },
	{ SYS_chdir, "chdir", serve_chdir },
	{ SYS_fchdir, "fchdir", serve_fchdir },
	{ SYS_getcwd, "getcwd", serve_getcwd },
	{ SYS_umask, "umask", serve_umask },
	{ SYS_statfs, "statfs", serve_statfs },
	{ SYS_fstatfs, "fstatfs", serve_fstatfs },
	{ SYS_getxattr, "getxattr", serve_no_attribute },
	{ SYS_lgetxattr, "lgetxattr", serve_no_attribute },
	{ SYS_fgetxattr, "fgetxattr", serve_no_attribute },
	{ SYS_listxattr, "listxattr", serve_no_attribute },
	{ SYS_llistxattr, "llistxattr", serve_no_attribute },
	{ SYS_flistxattr, "flistxattr", serve_no_attribute },
	{ SYS_setxattr, "setxattr", serve_no_attribute },
	{ SYS_lsetxattr, "lsetxattr", serve_no_attribute },
	{ SYS_fsetxattr, "fsetxattr", serve_no_attribute },
	{ 0, NULL, NULL },
};
