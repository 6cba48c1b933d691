/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_btrfs.c - a pool of btrfs subvolumes, limited by quota groups.
 *
 * Theory of operation. The pool is the directory HOME/mnt: a subvolume of the host's own btrfs where HOME
 * lies on one, else the file system in the file HOME/pool.btrfs, mounted there from a loop device. Simple
 * quotas (Linux 6.7) are used where the kernel has them: they count an extent where it was written, so a
 * snapshot costs nothing and what it shares with its origin is not counted again. Older kernels get full
 * quota groups, which count what a volume refers to.
 *
 * The limit of a root stands on the subvolume's own group 0/ID. A content volume is mounted bare into
 * instances, where its users could make subvolumes in it; so its limit stands on the group 1/ID above it,
 * which new subvolumes join by themselves.
 */
#include "disk/pool_btrfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "base/file.h"
#include "base/text.h"
#include "disk/block.h"
#include "disk/program.h"
#include "host/loopdev.h"

#define POOL_FILE             "pool.btrfs"
#define POOL_MIN_BYTES        (256 * MIB)
#define QUOTA_ENABLE_SIMPLE   4 /* newer than Debian 12's header */
#define QGROUP_LEVEL_SHIFT    48
#define SUBVOLUME_ROOT_INODE  256
#define SUBVOLUME_NESTING_MAX 64

static uint64_t group_above(uint64_t id)
{
	return (UINT64_C(1) << QGROUP_LEVEL_SHIFT) | id;
}

static int is_on_btrfs(const char *path)
{
	struct statfs status;
	return statfs(path, &status) == 0 && status.f_type == BTRFS_SUPER_MAGIC;
}

static int open_dir(int dir, const char *path)
{
	return openat(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int enable_quota(int dir, struct error *e)
{
	struct btrfs_ioctl_quota_ctl_args simple = { .cmd = QUOTA_ENABLE_SIMPLE };
	if (ioctl(dir, BTRFS_IOC_QUOTA_CTL, &simple) == 0 || errno == EEXIST)
		return 0;
	struct btrfs_ioctl_quota_ctl_args full = { .cmd = BTRFS_QUOTA_CTL_ENABLE };
	if (ioctl(dir, BTRFS_IOC_QUOTA_CTL, &full) == 0)
		return 0;
	return error_errno(e, "enable quotas");
}

static int btrfs_probe(const char *home, struct error *e)
{
	if (is_on_btrfs(home))
		return 0;
	if (access("/dev/loop-control", R_OK | W_OK) < 0)
		return error_set(e, -EOPNOTSUPP, "btrfs: there is no /dev/loop-control");
	if (!program_exists("mkfs.btrfs"))
		return error_set(e, -EOPNOTSUPP,
			"btrfs: the program mkfs.btrfs is missing (package btrfs-progs)");
	char *known = NULL;
	int r = file_read(AT_FDCWD, "/proc/filesystems", 64 * KIB, &known, NULL, e);
	if (r < 0)
		return r;
	bool has_btrfs = strstr(known, "\tbtrfs\n") != NULL;
	free(known);
	/* A module that is not loaded yet is not in the list. */
	if (!has_btrfs) {
		char *const load[] = { (char[]){ "modprobe" }, (char[]){ "btrfs" }, NULL };
		if (program_run(load, -1, NULL) < 0)
			return error_set(
				e, -EOPNOTSUPP, "btrfs: this kernel has no btrfs file system");
	}
	return 0;
}

/* Half of what is free: sparse, so it takes only what is written. */
static uint64_t usual_size(const char *home)
{
	struct statvfs space;
	if (statvfs(home, &space) < 0)
		return 0;
	uint64_t half = (uint64_t)space.f_bavail * space.f_frsize / 2;
	return half / MIB * MIB;
}

static int make_file(struct pool *pool, uint64_t size_bytes, struct error *e)
{
	if (size_bytes < POOL_MIN_BYTES)
		return error_set(e, -EINVAL, "size: a btrfs pool needs at least %d MiB",
			(int)(POOL_MIN_BYTES / MIB));
	cleanup(free) char *path = alloc_printf("%s/%s", pool->home, POOL_FILE);
	cleanup(close) int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(e, "create %s", path);
	if (ftruncate(fd, (off_t)size_bytes) < 0)
		return error_errno(e, "set the size of %s", path);
	char *const make[] = { (char[]){ "mkfs.btrfs" }, (char[]){ "-q" }, (char[]){ "-f" },
		(char[]){ "-m" }, (char[]){ "single" }, path, NULL };
	return program_run(make, -1, e);
}

static int btrfs_open(struct pool *pool, struct error *e);

static int btrfs_make(struct pool *pool, const struct pool_options *options, struct error *e)
{
	if (options->source)
		return error_set(e, -EINVAL,
			"source: a btrfs pool makes its own file or subvolume; leave it empty");
	int r;
	if (is_on_btrfs(pool->home)) {
		cleanup(close) int home = open_dir(AT_FDCWD, pool->home);
		struct btrfs_ioctl_vol_args_v2 args = { .name = "mnt" };
		r = home < 0 || ioctl(home, BTRFS_IOC_SUBVOL_CREATE_V2, &args) < 0
			? error_errno(e, "create the subvolume %s/mnt", pool->home)
			: 0;
	} else {
		r = make_file(pool, options->size_bytes ?: usual_size(pool->home), e);
		cleanup(free) char *mount_point = alloc_printf("%s/mnt", pool->home);
		if (r == 0 && mkdir(mount_point, 0711) < 0)
			r = error_errno(e, "create %s", mount_point);
	}
	if (r == 0)
		r = btrfs_open(pool, e);
	return r < 0 ? r : enable_quota(pool->dir, e);
}

/*
 * The same device again if the pool is still mounted somewhere: instances that outlived a killed daemon
 * keep it alive, and a second device would be a second writer.
 */
static int mount_file(const char *file, const char *mount_point, struct error *e)
{
	cleanup(close) int fd = open(file, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "open %s", file);
	cleanup(loopdev_close) struct loopdev device = { .fd = -1 };
	int r = loopdev_attach(fd, file, false, false, &device, e);
	if (r < 0)
		return r;
	if (mount(device.path, mount_point, "btrfs", MS_NOATIME | MS_NODEV | MS_NOSUID, "") < 0)
		return error_errno(e, "mount %s", file);
	return 0;
}

static bool is_mount_point(const char *home, const char *path)
{
	struct stat above, here;
	return stat(home, &above) == 0 && stat(path, &here) == 0 && above.st_dev != here.st_dev;
}

static int btrfs_open(struct pool *pool, struct error *e)
{
	cleanup(free) char *file = alloc_printf("%s/%s", pool->home, POOL_FILE);
	cleanup(free) char *mount_point = alloc_printf("%s/mnt", pool->home);
	if (access(file, F_OK) == 0 && !is_mount_point(pool->home, mount_point)) {
		int r = mount_file(file, mount_point, e);
		if (r < 0)
			return r;
	}
	cleanup(close) int dir = open_dir(AT_FDCWD, mount_point);
	if (dir < 0)
		return error_errno(e, "open %s", mount_point);
	pool->volumes = TAKE_PTR(mount_point);
	pool->dir = TAKE_FD(dir);
	pool->can = POOL_CAN_LIMIT | POOL_CAN_SHRINK | POOL_CAN_FREEZE;
	/* A snapshot writes out what its origin has in memory: as long as that takes. */
	pool->slow = POOL_SLOW_COPY;
	return 0;
}

static enum volume_form btrfs_stands_as(const struct pool *pool, const char *name)
{
	(void)pool;
	(void)name;
	return VOLUME_DIRECTORY;
}

/* Opens the directory that holds `name`, made if it is missing, and points *ret_last at the last part. */
static int open_parent(struct pool *pool, const char *name, const char **ret_last, struct error *e)
{
	const char *slash = strrchr(name, '/');
	*ret_last = slash ? slash + 1 : name;
	cleanup(free) char *parent =
		slash ? alloc_text_n(name, (size_t)(slash - name)) : alloc_text(".");
	int fd = open_dir(pool->dir, parent);
	if (fd < 0 && errno == ENOENT && file_make_dirs(pool->dir, parent, 0711) == 0)
		fd = open_dir(pool->dir, parent);
	return fd < 0 ? error_errno(e, "open %s", parent) : fd;
}

static int subvolume_id(int subvolume, uint64_t *ret, struct error *e)
{
	struct btrfs_ioctl_ino_lookup_args *args = alloc(struct btrfs_ioctl_ino_lookup_args);
	args->objectid = BTRFS_FIRST_FREE_OBJECTID;
	int r = ioctl(subvolume, BTRFS_IOC_INO_LOOKUP, args) < 0
		? error_errno(e, "find the number of a subvolume")
		: 0;
	*ret = r < 0 ? 0 : args->treeid;
	free(args);
	return r;
}

static int set_limit(int subvolume, uint64_t group, uint64_t size_bytes, struct error *e)
{
	struct btrfs_ioctl_qgroup_limit_args args = {
		.qgroupid = group,
		.lim = { .flags = BTRFS_QGROUP_LIMIT_MAX_RFER,
			/* All ones take a limit away. */
			.max_rfer = size_bytes ? size_bytes : UINT64_MAX },
	};
	if (ioctl(subvolume, BTRFS_IOC_QGROUP_LIMIT, &args) < 0)
		return error_errno(e, "set the limit of a subvolume");
	return 0;
}

/* Whether the subvolume's limit stands on the group above its own. */
static bool has_group_above(int subvolume, uint64_t id)
{
	struct btrfs_ioctl_search_args *search = alloc(struct btrfs_ioctl_search_args);
	search->key = (struct btrfs_ioctl_search_key){
		.tree_id = BTRFS_QUOTA_TREE_OBJECTID,
		.min_type = BTRFS_QGROUP_INFO_KEY,
		.max_type = BTRFS_QGROUP_INFO_KEY,
		.min_offset = group_above(id),
		.max_offset = group_above(id),
		.max_objectid = 0,
		.max_transid = UINT64_MAX,
		.nr_items = 1,
	};
	bool has = ioctl(subvolume, BTRFS_IOC_TREE_SEARCH, search) == 0 && search->key.nr_items > 0;
	free(search);
	return has;
}

static int make_group_above(int subvolume, uint64_t id, struct error *e)
{
	struct btrfs_ioctl_qgroup_create_args create = { .create = 1, .qgroupid = group_above(id) };
	if (ioctl(subvolume, BTRFS_IOC_QGROUP_CREATE, &create) < 0 && errno != EEXIST)
		return error_errno(e, "create a quota group");
	struct btrfs_ioctl_qgroup_assign_args assign = {
		.assign = 1, .src = id, .dst = group_above(id)
	};
	if (ioctl(subvolume, BTRFS_IOC_QGROUP_ASSIGN, &assign) < 0 && errno != EEXIST)
		return error_errno(e, "assign a quota group");
	return 0;
}

static int limit_subvolume(int subvolume, enum volume_use use, uint64_t size_bytes, struct error *e)
{
	if (size_bytes == 0 && use != VOLUME_CONTENT)
		return 0;
	if (use == VOLUME_BLOCK)
		size_bytes = block_limit(size_bytes);
	uint64_t id;
	int r = subvolume_id(subvolume, &id, e);
	if (r == 0 && use == VOLUME_CONTENT)
		r = make_group_above(subvolume, id, e);
	if (r == 0 && size_bytes)
		r = set_limit(
			subvolume, use == VOLUME_CONTENT ? group_above(id) : id, size_bytes, e);
	return r;
}

static int name_into(char *field, size_t size, const char *name, struct error *e)
{
	if (strlen(name) >= size)
		return error_set(e, -ENAMETOOLONG, "%s: the name is too long", name);
	strcpy(field, name);
	return 0;
}

static int make_skeleton(int subvolume, struct error *e)
{
	static const char *const parts[] = { "upper", "work", "rootfs" };
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (mkdirat(subvolume, parts[i], 0755) < 0)
			return error_errno(e, "create %s", parts[i]);
	return 0;
}

static int destroy_subvolume(int parent, const char *name, unsigned depth, struct error *e);

/* A subvolume that is not whole goes again. */
static int undo(int parent, const char *name, int r)
{
	if (r < 0)
		(void)!destroy_subvolume(parent, name, 0, NULL);
	return r;
}

static int btrfs_create(struct pool *pool, const char *name, enum volume_use use,
	uint64_t size_bytes, struct error *e)
{
	const char *last;
	cleanup(close) int parent = open_parent(pool, name, &last, e);
	if (parent < 0)
		return parent;
	struct btrfs_ioctl_vol_args_v2 args = {};
	int r = name_into(args.name, sizeof(args.name), last, e);
	if (r < 0)
		return r;
	if (ioctl(parent, BTRFS_IOC_SUBVOL_CREATE_V2, &args) < 0)
		return error_errno(e, "create the volume %s", name);
	cleanup(close) int subvolume = open_dir(parent, last);
	if (subvolume < 0)
		return undo(parent, last, error_errno(e, "open the volume %s", name));
	r = use == VOLUME_ROOT        ? make_skeleton(subvolume, e)
		: use == VOLUME_BLOCK ? block_make(subvolume, size_bytes, e)
				      : 0;
	if (r == 0 && fchmod(subvolume, use == VOLUME_CONTENT ? 0711 : 0700) < 0)
		r = error_errno(e, "set the mode of the volume %s", name);
	if (r == 0)
		r = limit_subvolume(subvolume, use, size_bytes, e);
	return undo(parent, last, r);
}

/* Destroys the subvolumes that an instance made inside its volume, deepest first. */
static int destroy_nested(int dir, unsigned depth, struct error *e)
{
	if (depth > SUBVOLUME_NESTING_MAX)
		return error_set(e, -E2BIG, "more than %d directories deep", SUBVOLUME_NESTING_MAX);
	int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = again < 0 ? NULL : fdopendir(again);
	if (!entries)
		return error_errno(e, "list a volume");
	int r = 0;
	for (struct dirent *entry; r == 0 && (entry = readdir(entries));) {
		if (entry->d_type != DT_DIR || text_equal(entry->d_name, ".") ||
			text_equal(entry->d_name, ".."))
			continue;
		struct stat status;
		if (fstatat(dir, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (status.st_ino == SUBVOLUME_ROOT_INODE) {
			r = destroy_subvolume(dir, entry->d_name, depth + 1, e);
			continue;
		}
		cleanup(close) int inside = open_dir(dir, entry->d_name);
		if (inside >= 0)
			r = destroy_nested(inside, depth + 1, e);
	}
	closedir(entries);
	return r;
}

static void drop_group_above(int parent, uint64_t id)
{
	struct btrfs_ioctl_qgroup_create_args drop = { .create = 0, .qgroupid = group_above(id) };
	/* What is left of it vanishes with the next clean-up; nothing depends on it. */
	(void)!ioctl(parent, BTRFS_IOC_QGROUP_CREATE, &drop);
}

static int destroy_subvolume(int parent, const char *name, unsigned depth, struct error *e)
{
	struct btrfs_ioctl_vol_args args = {};
	int r = name_into(args.name, sizeof(args.name), name, e);
	if (r < 0)
		return r;
	cleanup(close) int subvolume = open_dir(parent, name);
	if (subvolume < 0)
		return errno == ENOENT ? 0 : error_errno(e, "open %s", name);
	uint64_t id = 0;
	r = subvolume_id(subvolume, &id, e);
	if (r < 0)
		return r;
	bool has_above = has_group_above(subvolume, id);
	if (ioctl(parent, BTRFS_IOC_SNAP_DESTROY, &args) < 0) {
		if (errno != ENOTEMPTY)
			return error_errno(e, "destroy the subvolume %s", name);
		/* A full volume has no room left even to lose something. */
		r = has_above ? set_limit(subvolume, group_above(id), 0, e) : 0;
		if (r == 0)
			r = destroy_nested(subvolume, depth, e);
		if (r == 0 && ioctl(parent, BTRFS_IOC_SNAP_DESTROY, &args) < 0)
			r = error_errno(e, "destroy the subvolume %s", name);
	}
	if (r == 0 && has_above)
		drop_group_above(parent, id);
	return r;
}

static int btrfs_remove(struct pool *pool, const char *name, struct error *e)
{
	const char *last;
	cleanup(close) int parent = open_parent(pool, name, &last, e);
	return parent < 0 ? parent : destroy_subvolume(parent, last, 0, e);
}

static int btrfs_copy(struct pool *pool, const char *from, const char *to, enum volume_use use,
	uint64_t size_bytes, struct error *e)
{
	cleanup(close) int source = open_dir(pool->dir, from);
	if (source < 0)
		return error_errno(e, "open the volume %s", from);
	const char *last;
	cleanup(close) int parent = open_parent(pool, to, &last, e);
	if (parent < 0)
		return parent;
	struct btrfs_ioctl_vol_args_v2 args = { .fd = source };
	int r = name_into(args.name, sizeof(args.name), last, e);
	if (r < 0)
		return r;
	if (ioctl(parent, BTRFS_IOC_SNAP_CREATE_V2, &args) < 0)
		return error_errno(e, "copy the volume %s", from);
	cleanup(close) int copy = open_dir(parent, last);
	if (copy < 0)
		return undo(parent, last, error_errno(e, "open the volume %s", to));
	r = limit_subvolume(copy, use, size_bytes, e);
	if (r == 0 && use == VOLUME_BLOCK)
		r = block_grow(copy, size_bytes, e);
	return undo(parent, last, r);
}

static int btrfs_rename(struct pool *pool, const char *from, const char *to, struct error *e)
{
	const char *last;
	cleanup(close) int parent = open_parent(pool, to, &last, e);
	if (parent < 0)
		return parent;
	if (renameat2(pool->dir, from, parent, last, RENAME_NOREPLACE) < 0)
		return error_errno(e, "rename the volume %s to %s", from, to);
	return 0;
}

static int btrfs_resize(struct pool *pool, const char *name, enum volume_use use,
	uint64_t size_bytes, struct error *e)
{
	cleanup(close) int subvolume = open_dir(pool->dir, name);
	if (subvolume < 0)
		return error_errno(e, "open the volume %s", name);
	uint64_t id;
	int r = subvolume_id(subvolume, &id, e);
	if (r == 0 && use == VOLUME_BLOCK)
		r = block_grow(subvolume, size_bytes, e);
	if (r < 0)
		return r;
	if (use == VOLUME_BLOCK)
		size_bytes = block_limit(size_bytes);
	return set_limit(
		subvolume, has_group_above(subvolume, id) ? group_above(id) : id, size_bytes, e);
}

static int group_used(int subvolume, uint64_t group, uint64_t *ret, struct error *e)
{
	struct btrfs_ioctl_search_args *search = alloc(struct btrfs_ioctl_search_args);
	search->key = (struct btrfs_ioctl_search_key){
		.tree_id = BTRFS_QUOTA_TREE_OBJECTID,
		.min_type = BTRFS_QGROUP_INFO_KEY,
		.max_type = BTRFS_QGROUP_INFO_KEY,
		.min_offset = group,
		.max_offset = group,
		.max_transid = UINT64_MAX,
		.nr_items = 1,
	};
	int r = 0;
	if (ioctl(subvolume, BTRFS_IOC_TREE_SEARCH, search) < 0) {
		r = error_errno(e, "read the use of a volume");
	} else if (search->key.nr_items == 0) {
		*ret = 0;
	} else {
		struct btrfs_qgroup_info_item item;
		memcpy(&item, search->buf + sizeof(struct btrfs_ioctl_search_header), sizeof(item));
		*ret = item.rfer;
	}
	free(search);
	return r;
}

static int btrfs_used(struct pool *pool, const char *name, uint64_t *ret, struct error *e)
{
	cleanup(close) int subvolume = open_dir(pool->dir, name);
	if (subvolume < 0)
		return error_errno(e, "open the volume %s", name);
	uint64_t id;
	int r = subvolume_id(subvolume, &id, e);
	if (r < 0)
		return r;
	return group_used(subvolume, has_group_above(subvolume, id) ? group_above(id) : id, ret, e);
}

static int btrfs_grow(struct pool *pool, uint64_t size_bytes, struct error *e)
{
	cleanup(free) char *path = alloc_printf("%s/%s", pool->home, POOL_FILE);
	cleanup(close) int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat status;
	if (fd < 0 || fstat(fd, &status) < 0)
		return error_set(e, -EOPNOTSUPP, "size: this pool shares the host's file system");
	if (size_bytes < (uint64_t)status.st_size)
		return error_set(e, -EINVAL, "size: a pool can only grow");
	cleanup(loopdev_close) struct loopdev device = { .fd = -1 };
	int r = loopdev_find(fd, &device);
	if (r < 0)
		return error_code(e, r, "find the device of %s", path);
	if (ftruncate(fd, (off_t)size_bytes) < 0)
		return error_errno(e, "grow %s", path);
	r = loopdev_refresh(&device, e);
	if (r < 0)
		return r;
	struct btrfs_ioctl_vol_args args = { .name = "max" };
	if (ioctl(pool->dir, BTRFS_IOC_RESIZE, &args) < 0)
		return error_errno(e, "grow the file system of %s", path);
	return 0;
}

static int btrfs_destroy(struct pool *pool, struct error *e)
{
	cleanup(free) char *file = alloc_printf("%s/%s", pool->home, POOL_FILE);
	if (access(file, F_OK) < 0) {
		cleanup(close) int home = open_dir(AT_FDCWD, pool->home);
		return home < 0 ? error_errno(e, "open %s", pool->home)
				: destroy_subvolume(home, "mnt", 0, e);
	}
	if (pool->dir >= 0)
		close(TAKE_FD(pool->dir));
	cleanup(free) char *mount_point = alloc_printf("%s/mnt", pool->home);
	if (umount2(mount_point, MNT_DETACH) < 0 && errno != EINVAL)
		return error_errno(e, "unmount %s", mount_point);
	if (unlink(file) < 0)
		return error_errno(e, "remove %s", file);
	if (rmdir(mount_point) < 0)
		return error_errno(e, "remove %s", mount_point);
	return 0;
}

const struct pool_driver pool_btrfs = {
	.name = "btrfs",
	.probe = btrfs_probe,
	.make = btrfs_make,
	.open = btrfs_open,
	.destroy = btrfs_destroy,
	.grow = btrfs_grow,
	.stands_as = btrfs_stands_as,
	.create = btrfs_create,
	.remove = btrfs_remove,
	.copy = btrfs_copy,
	.rename = btrfs_rename,
	.resize = btrfs_resize,
	.used = btrfs_used,
	.space = pool_space_of_files,
};
