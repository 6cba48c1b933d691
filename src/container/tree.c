/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.c - from detached mounts to a root: every target is resolved once, to a descriptor inside it.
 */
#include "container/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/file.h"
#include "base/text.h"
#include "container/rootfs.h"
#include "container/target.h"
#include "host/mount.h"

#define OPTIONS_MAX 32

static int mount_with_text(const char *fs, const char *source, const char *options, uint64_t set,
	int *ret, struct error *e)
{
	struct mount_option list[OPTIONS_MAX + 1] = {};
	cleanup(free) char *text = alloc_text(options ?: "");
	size_t count = 0;
	if (source)
		list[count++] = (struct mount_option){ "source", source };
	char *rest = text;
	for (char *word = strsep(&rest, ","); word; word = strsep(&rest, ",")) {
		if (!*word)
			continue;
		if (count == OPTIONS_MAX)
			return error_set(e, -EINVAL, "mount %s: too many options", fs);
		list[count].key = strsep(&word, "=");
		list[count++].value = word;
	}
	return mount_new(fs, list, set, ret, e);
}

/* Where a new /sys is refused (no network namespace of our own), the host's, read-only. */
static int copy_sys(struct container_mount *mount, struct error *e)
{
	int r = mount_clone(AT_FDCWD, "/sys", true, &mount->fd, e);
	if (r == 0)
		r = mount_change(mount->fd, mount->set | MOUNT_ATTR_RDONLY, 0, true);
	return r < 0 ? error_prefix(e, r, "copy /sys") : 0;
}

int tree_make_mounts(struct container *container, struct error *e)
{
	for (size_t i = 0; i < container->mount_count; i++) {
		struct container_mount *mount = &container->mounts[i];
		if (mount->kind == MOUNT_DEV && container->uid_count == 0) {
			/* With the host's rights it can be made here, in the order of the list. */
			int r = rootfs_make_dev(container, mount, e);
			if (r < 0)
				return error_prefix(e, r, "mount %s", mount->target);
		}
		if (mount->kind != MOUNT_NEW)
			continue;
		/* The set stays open to us until everything stands: read-only comes at the end. */
		uint64_t set = mount->set & ~(uint64_t)MOUNT_ATTR_RDONLY;
		int r = mount_with_text(
			mount->fs, mount->source, mount->options, set, &mount->fd, e);
		if (r == -EPERM && text_equal(mount->fs, "sysfs"))
			r = copy_sys(mount, e);
		if (r < 0)
			return error_prefix(e, r, "mount %s", mount->target);
	}
	return 0;
}

int tree_enter(int root, struct error *e)
{
	int r = mount_all_private(e);
	if (r < 0)
		return r;
	/* On the host's root, which has nothing that a container could have changed. */
	if (move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return error_errno(e, "attach the root");
	if (fchdir(root) < 0)
		return error_errno(e, "enter the root");
	/* Both the same: the host's root comes to stand on the new one, and goes. */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return error_errno(e, "pivot_root");
	if (umount2(".", MNT_DETACH) < 0)
		return error_errno(e, "leave the host's root");
	if (fchdir(root) < 0 || chroot(".") < 0)
		return error_errno(e, "enter the root");
	return 0;
}

/* Whether a link in the way of this mount would be an attack: the kernel's own trees. */
static bool wants_no_links(const struct container_mount *mount)
{
	return mount->kind == MOUNT_DEV || mount->kind == MOUNT_CGROUP ||
		(mount->kind == MOUNT_NEW && !text_equal(mount->fs, "tmpfs"));
}

static int attach_one(const struct container_mount *mount, int root, struct error *e)
{
	cleanup(close) int target = -1;
	int r = target_make(root, mount->target, mount->is_file, wants_no_links(mount), &target, e);
	if (r == 0)
		r = mount_attach(mount->fd, target, e);
	if (r < 0)
		return error_prefix(e, r, "mount %s", mount->target);
	if (mount->propagation && mount->kind != MOUNT_BIND) {
		struct mount_attr attr = { .propagation = mount->propagation };
		unsigned int flags = AT_EMPTY_PATH | (mount->is_recursive ? AT_RECURSIVE : 0);
		if (mount_setattr(mount->fd, "", flags, &attr, sizeof(attr)) < 0)
			return error_errno(e, "mount %s: set its propagation", mount->target);
	}
	return 0;
}

int tree_attach(struct container *container, int root, struct error *e)
{
	for (size_t i = 0; i < container->mount_count; i++) {
		struct container_mount *mount = &container->mounts[i];
		if (mount->kind == MOUNT_CGROUP || mount->fd < 0)
			continue;
		int r = attach_one(mount, root, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The controllers of the v1 hierarchy that `dir` is in: "memory" of /sys/fs/cgroup/memory/a/b. */
static char *controllers_of(const char *dir)
{
	static const char top[] = "/sys/fs/cgroup/";
	if (!text_starts(dir, top))
		return NULL;
	dir += strlen(top);
	return alloc_text_n(dir, strcspn(dir, "/"));
}

/* One directory a v1 hierarchy below a tmpfs, so that programs find their limits where they look. */
static int attach_v1(const struct container *container, int top, uint64_t set, struct error *e)
{
	for (size_t i = 0; container->cgroups && container->cgroups[i]; i++) {
		cleanup(free) char *names = controllers_of(container->cgroups[i]);
		if (!names || text_equal(names, "devices") || text_equal(names, "freezer"))
			continue;
		bool is_v2 = text_equal(names, "unified");
		cleanup(close) int fd = -1;
		/* A hierarchy that cannot be shown is no reason not to run. */
		if (mount_with_text(is_v2 ? "cgroup2" : "cgroup", "cgroup", is_v2 ? NULL : names,
			    set | MOUNT_ATTR_RDONLY, &fd, NULL) < 0)
			continue;
		if (mkdirat(top, names, 0755) < 0)
			return error_errno(e, "make /sys/fs/cgroup/%s", names);
		if (move_mount(fd, "", top, names, MOVE_MOUNT_F_EMPTY_PATH) < 0)
			return error_errno(e, "attach /sys/fs/cgroup/%s", names);
	}
	return 0;
}

static int attach_cgroup(
	const struct container *container, struct container_mount *mount, int root, struct error *e)
{
	int r;
	if (container->shows_v1) {
		r = mount_with_text("tmpfs", mount->source, "mode=0755,size=64k,nr_inodes=64",
			mount->set & ~(uint64_t)MOUNT_ATTR_RDONLY, &mount->fd, e);
		if (r == 0)
			r = attach_one(mount, root, e);
		if (r == 0)
			r = attach_v1(container, mount->fd, mount->set, e);
		if (r == 0)
			r = mount_change(mount->fd, MOUNT_ATTR_RDONLY, 0, false);
		return r;
	}
	r = mount_with_text("cgroup2", mount->source, NULL, mount->set, &mount->fd, e);
	return r < 0 ? r : attach_one(mount, root, e);
}

int tree_attach_cgroups(struct container *container, int root, struct error *e)
{
	for (size_t i = 0; i < container->mount_count; i++) {
		struct container_mount *mount = &container->mounts[i];
		if (mount->kind != MOUNT_CGROUP)
			continue;
		int r = attach_cgroup(container, mount, root, e);
		if (r < 0)
			return error_prefix(e, r, "mount %s", mount->target);
	}
	return 0;
}

static bool is_own_sysctl(const char *name)
{
	/* Those that a namespace has for itself. */
	static const char *const own[] = { "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni",
		"kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
		"kernel.shm_rmid_forced", "kernel.domainname", "kernel.hostname" };
	if (text_starts(name, "net.") || text_starts(name, "fs.mqueue."))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (text_equal(name, own[i]))
			return true;
	return false;
}

static int set_sysctl(int proc, const char *name, const char *value, struct error *e)
{
	if (!is_own_sysctl(name))
		return error_set(e, -EPERM, "sysctl %s: it is the host's, too", name);
	cleanup(free) char *path = alloc_printf("sys/%s", name);
	for (char *at = path; *at; at++)
		*at = *at == '.' ? '/' : *at;
	struct open_how how = { .flags = O_WRONLY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS |
			RESOLVE_NO_MAGICLINKS };
	cleanup(close) int fd = (int)syscall(SYS_openat2, proc, path, &how, sizeof(how));
	if (fd < 0)
		return error_errno(e, "sysctl %s", name);
	if (write(fd, value, strlen(value)) < 0)
		return error_errno(e, "sysctl %s: write \"%s\"", name, value);
	return 0;
}

/* The container's own /proc, by the descriptor from which it was attached. */
static int own_proc(const struct container *container)
{
	for (size_t i = 0; i < container->mount_count; i++) {
		const struct container_mount *mount = &container->mounts[i];
		struct statfs fs;
		if (mount->kind == MOUNT_NEW && text_equal(mount->fs, "proc") && mount->fd >= 0 &&
			fstatfs(mount->fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC)
			return mount->fd;
	}
	return -1;
}

int tree_set_sysctls(const struct container *container, struct error *e)
{
	if (json_object_size(container->sysctls) == 0)
		return 0;
	int proc = own_proc(container);
	if (proc < 0)
		return error_set(e, -EINVAL, "sysctl: the container has no /proc of its own");
	const char *name;
	json_t *value;
	json_object_foreach(container->sysctls, name, value)
	{
		int r = set_sysctl(proc, name, json_string_value(value), e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What is put on the paths to hide: taken from the container's tree, after it was looked at. */
struct masks {
	int null;  /* the device node null */
	int empty; /* a directory with nothing in it */
};

static int find_null(int root, struct masks *masks, struct error *e)
{
	if (masks->null >= 0)
		return 0;
	cleanup(close) int fd = target_open(root, "/dev/null", true);
	struct stat stat;
	if (fd < 0 || fstat(fd, &stat) < 0 || !S_ISCHR(stat.st_mode) ||
		stat.st_rdev != makedev(1, 3))
		return error_set(
			e, -EINVAL, "/dev/null: not the null device; nothing is hidden by it");
	masks->null = TAKE_FD(fd);
	return 0;
}

static int mask_directory(struct masks *masks, int target, struct error *e)
{
	if (masks->empty >= 0) {
		cleanup(close) int copy = -1;
		int r = mount_clone(masks->empty, "", false, &copy, e);
		return r < 0 ? r : mount_attach(copy, target, e);
	}
	int r = mount_with_text("tmpfs", "none", "mode=0555,size=4k,nr_inodes=1",
		MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
		&masks->empty, e);
	return r < 0 ? r : mount_attach(masks->empty, target, e);
}

static int mask(int root, struct masks *masks, const char *path, struct error *e)
{
	cleanup(close) int target = target_open(root, path, true);
	if (target == -ENOENT || target == -ENOTDIR || target == -EACCES)
		return 0;
	struct stat stat;
	if (target < 0 || fstat(target, &stat) < 0)
		return error_code(e, target < 0 ? target : -errno, "hide %s", path);
	int r;
	if (S_ISDIR(stat.st_mode)) {
		r = mask_directory(masks, target, e);
	} else {
		cleanup(close) int copy = -1;
		r = find_null(root, masks, e);
		if (r == 0)
			r = mount_clone(masks->null, "", false, &copy, e);
		if (r == 0)
			r = mount_attach(copy, target, e);
	}
	return r < 0 ? error_prefix(e, r, "hide %s", path) : 0;
}

static int write_protect(int root, const char *path, struct error *e)
{
	cleanup(close) int target = target_open(root, path, true);
	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0)
		return error_code(e, target, "write-protect %s", path);
	cleanup(close) int copy = -1;
	int r = mount_clone(target, "", true, &copy, e);
	if (r == 0)
		r = mount_change(copy, MOUNT_ATTR_RDONLY, 0, true);
	if (r == 0)
		r = mount_attach(copy, target, e);
	return r < 0 ? error_prefix(e, r, "write-protect %s", path) : 0;
}

int tree_protect(const struct container *container, int root, struct error *e)
{
	struct masks masks = { .null = -1, .empty = -1 };
	int r = 0;
	for (size_t i = 0; r == 0 && container->masked && container->masked[i]; i++)
		r = mask(root, &masks, container->masked[i], e);
	for (size_t i = 0; r == 0 && container->readonly && container->readonly[i]; i++)
		r = write_protect(root, container->readonly[i], e);
	if (masks.null >= 0)
		close(masks.null);
	if (masks.empty >= 0)
		close(masks.empty);
	for (size_t i = 0; r == 0 && i < container->mount_count; i++) {
		const struct container_mount *mount = &container->mounts[i];
		if (mount->fd < 0 || !(mount->set & MOUNT_ATTR_RDONLY) ||
			mount->kind == MOUNT_CGROUP || mount->kind == MOUNT_BIND)
			continue;
		r = mount_change(mount->fd, MOUNT_ATTR_RDONLY, 0, false);
		if (r < 0)
			return error_code(e, r, "make %s read-only", mount->target);
	}
	struct mount_attr attr = { .propagation = container->root.propagation };
	if (r == 0 && attr.propagation &&
		mount_setattr(root, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return error_errno(e, "set the propagation of the root");
	if (r == 0 && container->root.is_readonly) {
		r = mount_change(root, MOUNT_ATTR_RDONLY, 0, false);
		if (r < 0)
			return error_code(e, r, "make the root read-only");
	}
	return r;
}

int tree_open_terminal(int root, int *ret_master, int *ret_slave, struct error *e)
{
	struct statfs fs;
	/* devpts lets nobody make or rename files in it: "ptmx" below it is what it should be. */
	cleanup(close) int pts = target_open(root, "/dev/pts", true);
	if (pts < 0 || fstatfs(pts, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC)
		return error_set(e, -EINVAL, "/dev/pts: no file system of terminals");
	cleanup(close) int master = openat(pts, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW);
	if (master < 0)
		return error_errno(e, "open a terminal");
	int unlock = 0;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return error_errno(e, "unlock a terminal");
	cleanup(close) int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return error_errno(e, "open a terminal's other end");
	*ret_master = TAKE_FD(master);
	*ret_slave = TAKE_FD(slave);
	return 0;
}

int tree_bind_console(int root, int terminal, struct error *e)
{
	cleanup(close) int target = -1;
	cleanup(close) int copy = -1;
	int r = target_make(root, "/dev/console", true, true, &target, e);
	if (r == 0)
		r = mount_clone(terminal, "", false, &copy, e);
	if (r == 0)
		r = mount_attach(copy, target, e);
	return r < 0 ? error_prefix(e, r, "/dev/console") : 0;
}

static void add_lines(struct text *text, const json_t *list, const char *word)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *value = json_string_value(json_array_get(list, i));
		if (value && !strpbrk(value, "\n\r"))
			text_printf(text, "%s %s\n", word, value);
	}
}

/* Opens a file of the image to write it; -1 if what stands there is no regular file: not our business. */
static int open_regular(int root, const char *path, uint64_t *ret_size)
{
	const char *name;
	cleanup(close) int dir = -1;
	if (target_parent(root, path, &dir, &name, NULL) < 0)
		return -1;
	cleanup(close) int file =
		openat(dir, name, O_CREAT | O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
	struct stat stat;
	if (file < 0 || fstat(file, &stat) < 0 || !S_ISREG(stat.st_mode) || stat.st_nlink > 1)
		return -1;
	*ret_size = (uint64_t)stat.st_size;
	return TAKE_FD(file);
}

static int write_hostname(const struct container *container, int root, struct error *e)
{
	uint64_t size;
	cleanup(close) int file = open_regular(root, "/etc/hostname", &size);
	if (file < 0)
		return 0;
	cleanup(free) char *line = alloc_printf("%s\n", container->hostname);
	int r = ftruncate(file, 0) < 0 ? -errno : file_write_all(file, line, strlen(line));
	return r < 0 ? error_code(e, r, "write /etc/hostname") : 0;
}

/* What stands in the way and is no file of the instance's own is left alone. */
static int write_file(const struct container_file *file, int root, struct error *e)
{
	uint64_t size;
	struct stat before;
	cleanup(close) int there = target_open(root, file->path, false);
	bool is_there = there >= 0 && fstat(there, &before) == 0;
	if (is_there && (file->is_only_new || !S_ISREG(before.st_mode)))
		return 0;
	cleanup(close) int fd = open_regular(root, file->path, &size);
	if (fd < 0)
		return 0;
	int r = ftruncate(fd, 0) < 0 ? -errno
				     : file_write_all(fd, file->content, strlen(file->content));
	if (r == 0 && !is_there && fchmod(fd, file->mode) < 0)
		r = -errno;
	return r < 0 ? error_code(e, r, "write %s", file->path) : 0;
}

int tree_write_names(const struct container *container, int root, struct error *e)
{
	for (size_t i = 0; i < container->file_count; i++) {
		int r = write_file(&container->files[i], root, e);
		if (r < 0)
			return r;
	}
	if (container->is_system && container->root.is_fresh && container->hostname) {
		int r = write_hostname(container, root, e);
		if (r < 0)
			return r;
	}
	if (!container->resolver)
		return 0;
	uint64_t size;
	cleanup(close) int file = open_regular(root, "/etc/resolv.conf", &size);
	if (file < 0 || size > 0)
		return 0;
	cleanup(text_done) struct text text = {};
	add_lines(&text, json_object_get(container->resolver, "nameservers"), "nameserver");
	add_lines(&text, json_object_get(container->resolver, "search"), "search");
	int r = file_write_all(file, text_str(&text), text.length);
	return r < 0 ? error_code(e, r, "write /etc/resolv.conf") : 0;
}
