/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_dir.c - a pool of plain directories, limited by project quotas where the file system has them.
 *
 * A volume is a directory. Where the kernel and the mount know project quotas (ext4 and xfs with prjquota) it
 * is a project of its own, numbered by its inode, and everything made in it joins. Elsewhere volumes have no
 * size, and one that asks for a size is refused.
 */
#include "disk/pool_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/file.h"
#include "base/text.h"
#include "disk/block.h"
#include "disk/tree.h"

#define QUOTA_BLOCK_BYTES 1024
#define COMMAND(command)  (((unsigned)(command) << SUBCMDSHIFT) | PRJQUOTA)
#define TRASH             ".removed"

static int open_dir(int dir, const char *path)
{
	return openat(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int quota_call(int fd, unsigned command, uint32_t project, void *data)
{
	return syscall(SYS_quotactl_fd, fd, command, project, data) < 0 ? -errno : 0;
}

static bool has_quota(int dir)
{
	struct if_dqinfo info;
	struct fsxattr attributes;
	return quota_call(dir, COMMAND(Q_GETINFO), 0, &info) == 0 &&
		ioctl(dir, FS_IOC_FSGETXATTR, &attributes) == 0;
}

static int dir_probe(const char *home, struct error *e)
{
	cleanup(close) int dir = open_dir(AT_FDCWD, home);
	if (dir < 0)
		return error_errno(e, "open %s", home);
	if (!has_quota(dir))
		return error_set(
			e, -EOPNOTSUPP, "dir: the file system of %s has no project quotas", home);
	return 0;
}

static int dir_open(struct pool *pool, struct error *e)
{
	pool->dir = open_dir(AT_FDCWD, pool->home);
	if (pool->dir < 0)
		return error_errno(e, "open %s", pool->home);
	pool->volumes = alloc_text(pool->home);
	pool->can = has_quota(pool->dir) ? POOL_CAN_LIMIT | POOL_CAN_SHRINK : 0;
	pool->slow = POOL_SLOW_REMOVE | POOL_SLOW_COPY;
	return 0;
}

static int dir_make(struct pool *pool, const struct pool_options *options, struct error *e)
{
	if (options->source)
		return error_set(
			e, -EINVAL, "source: a dir pool has its own place; leave it empty");
	if (options->size_bytes)
		return error_set(
			e, -EINVAL, "size: a dir pool is as large as the file system it is on");
	return dir_open(pool, e);
}

static int dir_destroy(struct pool *pool, struct error *e)
{
	cleanup(close) int home = open_dir(AT_FDCWD, pool->home);
	DIR *entries = home < 0 ? NULL : fdopendir(home);
	if (!entries)
		return error_errno(e, "list %s", pool->home);
	int at = TAKE_FD(home);
	int r = 0;
	for (struct dirent *entry; r == 0 && (entry = readdir(entries));)
		if (!text_equal(entry->d_name, ".") && !text_equal(entry->d_name, ".."))
			r = file_remove_tree(at, entry->d_name);
	closedir(entries);
	return r < 0 ? error_code(e, r, "empty %s", pool->home) : 0;
}

static int dir_grow(struct pool *pool, uint64_t size_bytes, struct error *e)
{
	(void)pool;
	(void)size_bytes;
	return error_set(
		e, -EOPNOTSUPP, "size: a dir pool is as large as the file system it is on");
}

static enum volume_form dir_stands_as(const struct pool *pool, const char *name)
{
	(void)pool;
	(void)name;
	return VOLUME_DIRECTORY;
}

static int project_of(int dir, uint32_t *ret, struct error *e)
{
	struct fsxattr attributes;
	if (ioctl(dir, FS_IOC_FSGETXATTR, &attributes) < 0)
		return error_errno(e, "read the project of a volume");
	*ret = attributes.fsx_projid;
	return 0;
}

static int set_limit(int dir, uint32_t project, uint64_t size_bytes, struct error *e)
{
	struct if_dqblk quota = {
		.dqb_bhardlimit = size_bytes / QUOTA_BLOCK_BYTES,
		.dqb_bsoftlimit = size_bytes / QUOTA_BLOCK_BYTES,
		.dqb_valid = QIF_BLIMITS,
	};
	int r = quota_call(dir, COMMAND(Q_SETQUOTA), project, &quota);
	return r < 0 ? error_code(e, r, "set the quota of a volume") : 0;
}

/* The directory is empty: what is made in it joins the project. */
static int make_project(int dir, uint64_t size_bytes, struct error *e)
{
	struct stat status;
	struct fsxattr attributes;
	if (fstat(dir, &status) < 0 || ioctl(dir, FS_IOC_FSGETXATTR, &attributes) < 0)
		return error_errno(e, "read the project of a volume");
	attributes.fsx_projid = (uint32_t)status.st_ino;
	attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
	if (ioctl(dir, FS_IOC_FSSETXATTR, &attributes) < 0)
		return error_errno(e, "set the project of a volume");
	return set_limit(dir, attributes.fsx_projid, size_bytes, e);
}

static int refuse_size(const struct pool *pool, uint64_t size_bytes, struct error *e)
{
	if (size_bytes == 0 || (pool->can & POOL_CAN_LIMIT))
		return 0;
	return error_set(e, -EINVAL,
		"size: the file system of %s has no project quotas, so a dir pool can't hold a size; "
		"a btrfs or loop pool can",
		pool->home);
}

/* A disk's size is its file's own: a quota is only the second fence. */
static uint64_t limit_of(enum volume_use use, uint64_t size_bytes)
{
	return use == VOLUME_BLOCK ? 0 : size_bytes;
}

/* Makes the empty directory of the volume and opens it. */
static int make_volume(struct pool *pool, const char *name, uint64_t size_bytes, struct error *e)
{
	int r = refuse_size(pool, size_bytes, e);
	if (r < 0)
		return r;
	const char *slash = strrchr(name, '/');
	cleanup(free) char *parent =
		slash ? alloc_text_n(name, (size_t)(slash - name)) : alloc_text(".");
	r = file_make_dirs(pool->dir, parent, 0711);
	if (r < 0)
		return error_code(e, r, "create %s/%s", pool->home, parent);
	if (mkdirat(pool->dir, name, 0700) < 0)
		return error_errno(e, "create the volume %s", name);
	cleanup(close) int dir = open_dir(pool->dir, name);
	r = dir < 0 ? error_errno(e, "open the volume %s", name) : 0;
	if (r == 0 && (pool->can & POOL_CAN_LIMIT))
		r = make_project(dir, size_bytes, e);
	if (r < 0) {
		unlinkat(pool->dir, name, AT_REMOVEDIR);
		return r;
	}
	return TAKE_FD(dir);
}

static int make_skeleton(int dir, enum volume_use use, uint64_t size_bytes, struct error *e)
{
	static const char *const parts[] = { "upper", "work", "rootfs" };
	if (use == VOLUME_BLOCK)
		return block_make(dir, size_bytes, e);
	if (use == VOLUME_CONTENT)
		return fchmod(dir, 0711) < 0 ? error_errno(e, "set the mode of the volume") : 0;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (mkdirat(dir, parts[i], 0755) < 0)
			return error_errno(e, "create %s", parts[i]);
	return 0;
}

static int dir_create(struct pool *pool, const char *name, enum volume_use use, uint64_t size_bytes,
	struct error *e)
{
	cleanup(close) int dir = make_volume(pool, name, limit_of(use, size_bytes), e);
	if (dir < 0)
		return dir;
	int r = make_skeleton(dir, use, size_bytes, e);
	if (r < 0)
		(void)!file_remove_tree(pool->dir, name);
	return r;
}

/* Out of sight first: a volume is whole or gone, also when we are killed half-way. */
static int dir_remove(struct pool *pool, const char *name, struct error *e)
{
	if (mkdirat(pool->dir, TRASH, 0700) < 0 && errno != EEXIST)
		return error_errno(e, "create %s/%s", pool->home, TRASH);
	cleanup(free) char *random = text_random_hex(8);
	cleanup(free) char *hidden = alloc_printf("%s/%s", TRASH, random);
	if (renameat(pool->dir, name, pool->dir, hidden) < 0)
		return errno == ENOENT ? 0 : error_errno(e, "remove the volume %s", name);
	int r = file_remove_tree(pool->dir, hidden);
	return r < 0 ? error_code(e, r, "remove the volume %s", name) : 0;
}

static int dir_copy(struct pool *pool, const char *from, const char *to, enum volume_use use,
	uint64_t size_bytes, struct error *e)
{
	cleanup(close) int source = open_dir(pool->dir, from);
	if (source < 0)
		return error_errno(e, "open the volume %s", from);
	if (pool_has_volume(pool, to))
		return error_set(e, -EEXIST, "the volume %s exists", to);
	/* Made where removed volumes lie and named when it is whole: a half one is swept away. */
	cleanup(free) char *random = text_random_hex(8);
	cleanup(free) char *hidden = alloc_printf("%s/%s", TRASH, random);
	cleanup(close) int copy = make_volume(pool, hidden, limit_of(use, size_bytes), e);
	if (copy < 0)
		return copy;
	const char *slash = strrchr(to, '/');
	cleanup(free) char *parent =
		slash ? alloc_text_n(to, (size_t)(slash - to)) : alloc_text(".");
	int r = tree_copy(source, copy, NULL, NULL, e);
	if (r == 0 && use == VOLUME_BLOCK)
		r = block_grow(copy, size_bytes, e);
	if (r == 0)
		r = file_make_dirs(pool->dir, parent, 0711);
	if (r == 0 && renameat2(pool->dir, hidden, pool->dir, to, RENAME_NOREPLACE) < 0)
		r = error_errno(e, "name the copy %s", to);
	if (r < 0)
		(void)!file_remove_tree(pool->dir, hidden);
	return r;
}

static int dir_rename(struct pool *pool, const char *from, const char *to, struct error *e)
{
	const char *slash = strrchr(to, '/');
	cleanup(free) char *parent =
		slash ? alloc_text_n(to, (size_t)(slash - to)) : alloc_text(".");
	int r = file_make_dirs(pool->dir, parent, 0711);
	if (r < 0)
		return error_code(e, r, "create %s", parent);
	if (renameat2(pool->dir, from, pool->dir, to, RENAME_NOREPLACE) < 0)
		return error_errno(e, "rename the volume %s to %s", from, to);
	return 0;
}

static int dir_resize(struct pool *pool, const char *name, enum volume_use use, uint64_t size_bytes,
	struct error *e)
{
	int r = refuse_size(pool, limit_of(use, size_bytes), e);
	if (r < 0)
		return r;
	cleanup(close) int dir = open_dir(pool->dir, name);
	if (dir < 0)
		return error_errno(e, "open the volume %s", name);
	if (use == VOLUME_BLOCK)
		r = block_grow(dir, size_bytes, e);
	size_bytes = limit_of(use, size_bytes);
	if (r < 0 || !(pool->can & POOL_CAN_LIMIT))
		return r;
	uint32_t project;
	r = project_of(dir, &project, e);
	return r < 0 ? r : set_limit(dir, project, size_bytes, e);
}

static int dir_used(struct pool *pool, const char *name, uint64_t *ret, struct error *e)
{
	cleanup(close) int dir = open_dir(pool->dir, name);
	if (dir < 0)
		return error_errno(e, "open the volume %s", name);
	if (!(pool->can & POOL_CAN_LIMIT))
		return error_set(e, -EOPNOTSUPP,
			"without project quotas nobody knows what the volume %s holds", name);
	uint32_t project;
	struct if_dqblk quota;
	int r = project_of(dir, &project, e);
	if (r == 0)
		r = quota_call(dir, COMMAND(Q_GETQUOTA), project, &quota);
	if (r < 0)
		return error_code(e, r, "read the quota of the volume %s", name);
	*ret = quota.dqb_curspace;
	return 0;
}

const struct pool_driver pool_dir = {
	.name = "dir",
	.probe = dir_probe,
	.make = dir_make,
	.open = dir_open,
	.destroy = dir_destroy,
	.grow = dir_grow,
	.stands_as = dir_stands_as,
	.create = dir_create,
	.remove = dir_remove,
	.copy = dir_copy,
	.rename = dir_rename,
	.resize = dir_resize,
	.used = dir_used,
	.space = pool_space_of_files,
};
