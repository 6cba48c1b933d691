/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_loop.c - a pool of files, each an ext4 file system of the volume's size: works on any host.
 *
 * Whoever uses a volume attaches it to a loop device and mounts it where only it can see it. Files are
 * sparse: a volume takes what was written. A volume without a size gets POOL_LOOP_DEFAULT_BYTES. ext4 grows
 * while it is mounted (with CAP_SYS_RESOURCE); the device and its file system are one object in the kernel, so
 * mounting the same device a second time, in the job's own namespace, gives a place to ask from.
 */
#include "disk/pool_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "base/file.h"
#include "base/text.h"
#include "disk/block.h"
#include "disk/program.h"
#include "disk/tree.h"
#include "host/loopdev.h"

#define POOL_LOOP_DEFAULT_BYTES (10 * GIB)
#define VOLUME_MIN_BYTES        (4 * MIB)
#define JOURNAL_FROM_BYTES      (64 * MIB)
#define SKELETON                ".skeleton"
#define HALF                    ".half" /* files that are not whole yet; swept when the pool opens */
#define MOUNT_POINT             ".mount"
/* linux/ext4.h is not exported. */
#define EXT4_RESIZE_IOCTL _IOW('f', 16, uint64_t)

static int loop_probe(const char *home, struct error *e)
{
	(void)home;
	if (access("/dev/loop-control", R_OK | W_OK) < 0)
		return error_set(e, -EOPNOTSUPP, "loop: there is no /dev/loop-control");
	if (!program_exists("mke2fs"))
		return error_set(
			e, -EOPNOTSUPP, "loop: the program mke2fs is missing (package e2fsprogs)");
	return 0;
}

static int loop_open(struct pool *pool, struct error *e)
{
	static const char *const parts[] = { SKELETON "/upper", SKELETON "/work",
		SKELETON "/rootfs", HALF, MOUNT_POINT };
	pool->dir = open(pool->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pool->dir < 0)
		return error_errno(e, "open %s", pool->home);
	pool->volumes = alloc_text(pool->home);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int r = file_make_dirs(pool->dir, parts[i], 0755);
		if (r < 0)
			return error_code(e, r, "create %s/%s", pool->home, parts[i]);
	}
	pool->can = POOL_CAN_LIMIT;
	pool->slow = POOL_SLOW_CREATE | POOL_SLOW_REMOVE | POOL_SLOW_COPY | POOL_SLOW_RESIZE;
	return 0;
}

static int loop_make(struct pool *pool, const struct pool_options *options, struct error *e)
{
	if (options->source)
		return error_set(
			e, -EINVAL, "source: a loop pool has its own place; leave it empty");
	if (options->size_bytes)
		return error_set(
			e, -EINVAL, "size: a loop pool is as large as the file system it is on");
	return loop_open(pool, e);
}

static int loop_destroy(struct pool *pool, struct error *e)
{
	static const char *const parts[] = { SKELETON, HALF, MOUNT_POINT, "containers",
		"containers-snapshots", "virtual-machines", "virtual-machines-snapshots", "custom",
		"custom-snapshots" };
	cleanup(close) int home = open(pool->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int r = file_remove_tree(home, parts[i]);
		if (r < 0)
			return error_code(e, r, "remove %s/%s", pool->home, parts[i]);
	}
	return 0;
}

static int loop_grow(struct pool *pool, uint64_t size_bytes, struct error *e)
{
	(void)pool;
	(void)size_bytes;
	return error_set(
		e, -EOPNOTSUPP, "size: a loop pool is as large as the file system it is on");
}

static enum volume_form loop_stands_as(const struct pool *pool, const char *name)
{
	(void)pool;
	(void)name;
	return VOLUME_IMAGE;
}

static char *half_path(const struct pool *pool)
{
	cleanup(free) char *random = text_random_hex(8);
	return alloc_printf("%s/%s/%s.img", pool->home, HALF, random);
}

/* Gives the whole file at `half` its name, or removes it. */
static int name_half(struct pool *pool, const char *half, const char *name, int r, struct error *e)
{
	cleanup(free) char *path = pool_volume_path(pool, name);
	cleanup(free) char *parent = alloc_text(path);
	*strrchr(parent, '/') = '\0';
	if (r == 0) {
		r = file_make_dirs(AT_FDCWD, parent, 0711);
		if (r < 0)
			error_code(e, r, "create %s", parent);
	}
	if (r == 0 && renameat2(AT_FDCWD, half, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
		r = error_errno(e, "create the volume %s", name);
	if (r < 0)
		unlink(half);
	return r;
}

static int format(struct pool *pool, const char *path, enum volume_use use, uint64_t size_bytes,
	struct error *e)
{
	cleanup(free) char *skeleton = alloc_printf("%s/%s", pool->home, SKELETON);
	char program[] = "mke2fs", quiet[] = "-q", force[] = "-F", type[] = "-t", ext4[] = "ext4",
	     none[] = "-m", zero[] = "0", extended[] = "-E", options[] = "-O";
	char lazy[] = "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0";
	char no_journal[] = "^has_journal", journal[] = "has_journal", from[] = "-d";
	char *argv[] = { program, quiet, force, type, ext4, none, zero, extended, lazy, options,
		size_bytes < JOURNAL_FROM_BYTES ? no_journal : journal, NULL, NULL, NULL, NULL };
	size_t count = 11;
	if (use == VOLUME_ROOT) {
		argv[count++] = from;
		argv[count++] = skeleton;
	}
	char path_argument[4096];
	snprintf(path_argument, sizeof(path_argument), "%s", path);
	argv[count] = path_argument;
	return program_run(argv, -1, e);
}

static int loop_create(struct pool *pool, const char *name, enum volume_use use,
	uint64_t size_bytes, struct error *e)
{
	if (size_bytes == 0)
		size_bytes = POOL_LOOP_DEFAULT_BYTES;
	if (size_bytes < VOLUME_MIN_BYTES)
		return error_set(e, -EINVAL, "size: a volume of a loop pool needs at least %d MiB",
			(int)(VOLUME_MIN_BYTES / MIB));
	if (pool_has_volume(pool, name))
		return error_set(e, -EEXIST, "the volume %s exists", name);
	cleanup(free) char *half = half_path(pool);
	cleanup(close) int fd = open(half, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(e, "create %s", half);
	int r = use == VOLUME_BLOCK                    ? block_grow_file(fd, size_bytes, e)
		: ftruncate(fd, (off_t)size_bytes) < 0 ? error_errno(e, "set the size of %s", half)
						       : 0;
	if (r == 0 && use != VOLUME_BLOCK)
		r = format(pool, half, use, size_bytes, e);
	return name_half(pool, half, name, r, e);
}

static int loop_remove(struct pool *pool, const char *name, struct error *e)
{
	cleanup(free) char *path = pool_volume_path(pool, name);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_errno(e, "remove %s", path);
	return 0;
}

static int open_volume(struct pool *pool, const char *name, struct error *e)
{
	cleanup(free) char *path = pool_volume_path(pool, name);
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? error_errno(e, "open %s", path) : fd;
}

/*
 * Mounts the volume in a mount namespace of this process's own and returns an open descriptor of its
 * root. The namespace, and so the mount, goes with the process.
 */
static int mount_here(struct pool *pool, int file, const char *name, struct error *e)
{
	cleanup(loopdev_close) struct loopdev device = { .fd = -1 };
	int r = loopdev_attach(file, name, false, false, &device, e);
	if (r < 0)
		return r;
	cleanup(free) char *mount_point = alloc_printf("%s/%s", pool->home, MOUNT_POINT);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return error_errno(e, "make a mount namespace");
	if (mount(device.path, mount_point, "ext4", MS_NODEV | MS_NOSUID | MS_NOATIME, "") < 0)
		return error_errno(e, "mount the volume %s", name);
	int root = open(mount_point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = root < 0 ? error_errno(e, "open %s", mount_point) : 0;
	umount2(mount_point, MNT_DETACH);
	return r < 0 ? r : root;
}

/* ext4 asks for it before it grows a mounted file system. */
static bool may_grow_mounted(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	return syscall(SYS_capget, &header, data) == 0 &&
		(data[0].effective & (UINT32_C(1) << CAP_SYS_RESOURCE));
}

static int grow_mounted(struct pool *pool, int file, const struct loopdev *device, const char *name,
	uint64_t size_bytes, struct error *e)
{
	if (!may_grow_mounted())
		return error_set(e, -EBUSY,
			"size: this host does not let berth grow the volume %s while it is used "
			"(no CAP_SYS_RESOURCE); stop its instances first",
			name);
	if (ftruncate(file, (off_t)size_bytes) < 0)
		return error_errno(e, "grow the volume %s", name);
	int r = loopdev_refresh(device, e);
	cleanup(close) int root = r < 0 ? r : mount_here(pool, file, name, e);
	if (root < 0)
		return root;
	struct statvfs space;
	uint64_t blocks = fstatvfs(root, &space) == 0 ? size_bytes / space.f_bsize : 0;
	if (ioctl(root, EXT4_RESIZE_IOCTL, &blocks) < 0)
		return error_errno(e, "grow the file system of the volume %s", name);
	return 0;
}

static int grow_unmounted(int file, char *path, uint64_t size_bytes, struct error *e)
{
	char *const check[] = { (char[]){ "e2fsck" }, (char[]){ "-f" }, (char[]){ "-p" }, path,
		NULL };
	int r = program_run(check, -1, e);
	if (r < 0)
		return r;
	if (ftruncate(file, (off_t)size_bytes) < 0)
		return error_errno(e, "grow %s", path);
	char *const grow[] = { (char[]){ "resize2fs" }, path, NULL };
	return program_run(grow, -1, e);
}

static int grow_volume(struct pool *pool, int file, char *path, const char *name,
	uint64_t size_bytes, struct error *e)
{
	struct stat status;
	if (fstat(file, &status) < 0)
		return error_errno(e, "stat the volume %s", name);
	if (size_bytes == (uint64_t)status.st_size)
		return 0;
	if (size_bytes < (uint64_t)status.st_size)
		return error_set(e, -EINVAL,
			"size: a volume of a loop pool can only grow; it has %jd bytes now",
			(intmax_t)status.st_size);
	cleanup(loopdev_close) struct loopdev device = { .fd = -1 };
	if (loopdev_find(file, &device) < 0)
		return grow_unmounted(file, path, size_bytes, e);
	return grow_mounted(pool, file, &device, name, size_bytes, e);
}

static int loop_resize(struct pool *pool, const char *name, enum volume_use use,
	uint64_t size_bytes, struct error *e)
{
	cleanup(close) int file = open_volume(pool, name, e);
	if (file < 0)
		return file;
	if (use == VOLUME_BLOCK)
		return block_grow_file(file, size_bytes, e);
	cleanup(free) char *path = pool_volume_path(pool, name);
	return grow_volume(pool, file, path, name, size_bytes ?: POOL_LOOP_DEFAULT_BYTES, e);
}

/* What is in the page cache of a mounted volume must be in the file before it is copied. */
static int flush_volume(struct pool *pool, int file, const char *name, struct error *e)
{
	struct loopdev device;
	if (loopdev_find(file, &device) < 0)
		return 0;
	close(device.fd);
	cleanup(close) int root = mount_here(pool, file, name, e);
	if (root < 0)
		return root;
	return syncfs(root) < 0 ? error_errno(e, "write out the volume %s", name) : 0;
}

static int loop_copy(struct pool *pool, const char *from, const char *to, enum volume_use use,
	uint64_t size_bytes, struct error *e)
{
	if (pool_has_volume(pool, to))
		return error_set(e, -EEXIST, "the volume %s exists", to);
	cleanup(close) int source = open_volume(pool, from, e);
	int r = source < 0 ? source : use == VOLUME_BLOCK ? 0 : flush_volume(pool, source, from, e);
	if (r < 0)
		return r;
	cleanup(free) char *half = half_path(pool);
	cleanup(close) int copy = open(half, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (copy < 0)
		return error_errno(e, "create %s", half);
	r = tree_copy_file(source, copy, e);
	struct stat status;
	if (r == 0 && use == VOLUME_BLOCK)
		r = block_grow_file(copy, size_bytes, e);
	else if (r == 0 && size_bytes && fstat(copy, &status) == 0 &&
		size_bytes > (uint64_t)status.st_size)
		r = grow_volume(pool, copy, half, to, size_bytes, e);
	return name_half(pool, half, to, r, e);
}

static int loop_rename(struct pool *pool, const char *from, const char *to, struct error *e)
{
	cleanup(free) char *path = pool_volume_path(pool, from);
	cleanup(free) char *target = pool_volume_path(pool, to);
	cleanup(free) char *parent = alloc_text(target);
	*strrchr(parent, '/') = '\0';
	int r = file_make_dirs(AT_FDCWD, parent, 0711);
	if (r < 0)
		return error_code(e, r, "create %s", parent);
	if (renameat2(AT_FDCWD, path, AT_FDCWD, target, RENAME_NOREPLACE) < 0)
		return error_errno(e, "rename the volume %s to %s", from, to);
	return 0;
}

static int loop_used(struct pool *pool, const char *name, uint64_t *ret, struct error *e)
{
	cleanup(free) char *path = pool_volume_path(pool, name);
	struct stat status;
	if (stat(path, &status) < 0)
		return error_errno(e, "stat %s", path);
	*ret = (uint64_t)status.st_blocks * 512;
	return 0;
}

const struct pool_driver pool_loop = {
	.name = "loop",
	.probe = loop_probe,
	.make = loop_make,
	.open = loop_open,
	.destroy = loop_destroy,
	.grow = loop_grow,
	.stands_as = loop_stands_as,
	.create = loop_create,
	.remove = loop_remove,
	.copy = loop_copy,
	.rename = loop_rename,
	.resize = loop_resize,
	.used = loop_used,
	.space = pool_space_of_files,
};
