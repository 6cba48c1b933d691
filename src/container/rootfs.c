/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootfs.c - layers, volumes, binds and device nodes, by descriptor.
 */
#include "container/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/text.h"
#include "container/caps.h"
#include "container/target.h"
#include "host/mount.h"

static const struct container_device usual_devices[] = {
	{ .path = "/dev/null", .type = 'c', .major = 1, .minor = 3, .mode = 0666 },
	{ .path = "/dev/zero", .type = 'c', .major = 1, .minor = 5, .mode = 0666 },
	{ .path = "/dev/full", .type = 'c', .major = 1, .minor = 7, .mode = 0666 },
	{ .path = "/dev/random", .type = 'c', .major = 1, .minor = 8, .mode = 0666 },
	{ .path = "/dev/urandom", .type = 'c', .major = 1, .minor = 9, .mode = 0666 },
	{ .path = "/dev/tty", .type = 'c', .major = 5, .minor = 0, .mode = 0666 },
};

static const struct {
	const char *name;
	const char *to;
} usual_links[] = {
	{ "fd", "/proc/self/fd" },
	{ "stdin", "/proc/self/fd/0" },
	{ "stdout", "/proc/self/fd/1" },
	{ "stderr", "/proc/self/fd/2" },
	{ "core", "/proc/kcore" },
	{ "ptmx", "pts/ptmx" },
};

static const char *const usual_dirs[] = { "pts", "shm", "mqueue" };

/*
 * A detached copy of a directory or file of the host, with ids mapped. Private unless asked otherwise: a
 * copy of a shared mount would show the host what is mounted in it.
 */
static int clone_source(const char *path, bool is_recursive, uint64_t propagation,
	int user_namespace, int *ret, struct error *e)
{
	cleanup(close) int fd = -1;
	struct mount_attr attr = { .propagation = propagation ? propagation : MS_PRIVATE };
	unsigned int flags = AT_EMPTY_PATH | (is_recursive ? AT_RECURSIVE : 0);
	int r = mount_clone(AT_FDCWD, path, is_recursive, &fd, e);
	if (r == 0 && mount_setattr(fd, "", flags, &attr, sizeof(attr)) < 0)
		r = error_errno(e, "set the propagation");
	if (r == 0 && user_namespace >= 0)
		r = mount_idmap(fd, user_namespace, is_recursive, e);
	if (r < 0)
		return error_prefix(e, r, "%s", path);
	*ret = TAKE_FD(fd);
	return 0;
}

static int open_image(const char *path, const char *fs, bool is_readonly, int user_namespace,
	int *ret, struct error *e)
{
	cleanup(close) int file = open(path, (is_readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (file < 0)
		return error_errno(e, "open the image %s", path);
	cleanup(close) int fd = -1;
	int r = mount_image(file, fs, is_readonly, &fd, e);
	if (r == 0 && user_namespace >= 0)
		r = mount_idmap(fd, user_namespace, false, e);
	if (r < 0)
		return error_prefix(e, r, "%s", path);
	*ret = TAKE_FD(fd);
	return 0;
}

static int open_volume(const char *path, const char *fs, bool is_readonly, int user_namespace,
	int *ret, struct error *e)
{
	return fs ? open_image(path, fs, is_readonly, user_namespace, ret, e)
		  : clone_source(path, false, 0, user_namespace, ret, e);
}

/* The directory `rootfs` of a volume, as a mount of its own. */
static int clone_below(int volume, const char *name, int user_namespace, const char *path, int *ret,
	struct error *e)
{
	cleanup(close) int fd = -1;
	int r = mount_clone(volume, name, false, &fd, e);
	if (r < 0)
		return error_prefix(e, r, "%s/%s", path, name);
	if (user_namespace >= 0)
		r = mount_idmap(fd, user_namespace, false, e);
	if (r < 0)
		return error_prefix(e, r, "%s/%s", path, name);
	*ret = TAKE_FD(fd);
	return 0;
}

static int make_plain(
	const struct container_root *root, int user_namespace, int *ret, struct error *e)
{
	if (root->plain)
		return clone_source(root->plain, true, 0, -1, ret, e);
	if (!root->fs) {
		cleanup(free) char *path = alloc_printf("%s/rootfs", root->volume);
		return clone_source(path, false, 0, user_namespace, ret, e);
	}
	cleanup(close) int volume = -1;
	int r = open_image(root->volume, root->fs, false, -1, &volume, e);
	return r < 0 ? r : clone_below(volume, "rootfs", user_namespace, root->volume, ret, e);
}

static void close_all(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

static uint32_t host_uid(const struct container *c, uint32_t uid)
{
	return container_host_id(c->uids, c->uid_count, uid);
}

static uint32_t host_gid(const struct container *c, uint32_t gid)
{
	return container_host_id(c->gids, c->gid_count, gid);
}

/*
 * An overlay works on its layers as who mounted it, so that must be somebody whom the ids of the layers
 * know: the container's root. Rights on the host stay what they are.
 */
static int mount_as(
	uint32_t uid, uint32_t gid, const struct mount_overlay *overlay, int *ret, struct error *e)
{
	(void)setfsgid(gid);
	(void)setfsuid(uid);
	int r = caps_raise(e);
	if (r == 0)
		r = mount_overlay(overlay, ret, e);
	(void)setfsuid(geteuid());
	(void)setfsgid(getegid());
	return r;
}

static int make_overlay(struct container *c, int user_namespace, int *ret, struct error *e)
{
	const struct container_root *root = &c->root;
	int layers[CONTAINER_LAYERS_MAX];
	size_t count = 0;
	cleanup(close) int volume = -1;
	int r = 0;
	for (; count < root->layer_count && r == 0; count += r == 0)
		r = clone_source(root->layers[count], false, 0, user_namespace, &layers[count], e);
	if (r == 0 && root->volume)
		r = open_volume(root->volume, root->fs, false, user_namespace, &volume, e);
	/* Whatever ran here has written its name, or it is written now: see tree_write_names(). */
	c->root.is_fresh = r == 0 && volume >= 0 &&
		faccessat(volume, "upper/etc/hostname", F_OK, AT_SYMLINK_NOFOLLOW) < 0;
	if (r == 0 && count == 1 && volume < 0)
		*ret = layers[--count]; /* one layer, nothing to write: itself */
	else if (r == 0)
		r = mount_as(host_uid(c, 0), host_gid(c, 0),
			&(struct mount_overlay){ .layers = layers,
				.layer_count = count,
				.volume = volume,
				.upper = "upper",
				.work = "work",
				.is_volatile = root->is_volatile },
			ret, e);
	close_all(layers, count);
	return r;
}

int rootfs_make(struct container *container, int user_namespace, int *ret, struct error *e)
{
	const struct container_root *root = &container->root;
	int r = root->plain || root->layer_count == 0
		? make_plain(root, user_namespace, ret, e)
		: make_overlay(container, user_namespace, ret, e);
	return r < 0 ? error_prefix(e, r, "root") : 0;
}

int rootfs_make_node(
	const struct container *c, int dev, const struct container_device *device, struct error *e)
{
	struct container_device node = *device;
	if (node.source) {
		struct stat stat;
		if (lstat(node.source, &stat) < 0)
			return errno == ENOENT && node.is_optional
				? 0
				: error_errno(e, "device %s", node.source);
		bool is_block = S_ISBLK(stat.st_mode);
		if (!is_block && !S_ISCHR(stat.st_mode))
			return error_set(e, -EINVAL, "device %s: no device node", node.source);
		node.type = is_block ? 'b' : 'c';
		node.major = major(stat.st_rdev);
		node.minor = minor(stat.st_rdev);
	}
	if (!text_starts(node.path, "/dev/"))
		return error_set(
			e, -EOPNOTSUPP, "device %s: only below /dev can it be made", node.path);
	const char *name;
	cleanup(close) int dir = -1;
	int r = target_parent(dev, node.path + strlen("/dev"), &dir, &name, e);
	if (r < 0)
		return r;
	mode_t type = node.type == 'b' ? S_IFBLK : node.type == 'p' ? S_IFIFO : S_IFCHR;
	(void)unlinkat(dir, name, 0);
	if (mknodat(dir, name, type | node.mode, makedev(node.major, node.minor)) < 0)
		return error_errno(e, "device %s: make it", node.path);
	/* Not by mknod's mode: our umask took bits away. */
	if (fchownat(dir, name, host_uid(c, node.uid), host_gid(c, node.gid), AT_SYMLINK_NOFOLLOW) <
			0 ||
		fchmodat(dir, name, node.mode, 0) < 0)
		return error_errno(e, "device %s: give it away", node.path);
	return 0;
}

static int fill_dev(const struct container *c, int dev, struct error *e)
{
	uint32_t uid = host_uid(c, 0), gid = host_gid(c, 0);
	for (size_t i = 0; i < ARRAY_SIZE(usual_devices); i++) {
		int r = rootfs_make_node(c, dev, &usual_devices[i], e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < c->device_count; i++) {
		int r = rootfs_make_node(c, dev, &c->devices[i], e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < ARRAY_SIZE(usual_links); i++)
		if (symlinkat(usual_links[i].to, dev, usual_links[i].name) < 0 ||
			fchownat(dev, usual_links[i].name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
			return error_errno(e, "/dev/%s: make it", usual_links[i].name);
	for (size_t i = 0; i < ARRAY_SIZE(usual_dirs); i++)
		if (mkdirat(dev, usual_dirs[i], 0755) < 0 ||
			fchownat(dev, usual_dirs[i], uid, gid, 0) < 0)
			return error_errno(e, "/dev/%s: make it", usual_dirs[i]);
	cleanup(close) int console =
		openat(dev, "console", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (console < 0 || fchown(console, uid, gid) < 0)
		return error_errno(e, "/dev/console: make it");
	return 0;
}

int rootfs_make_dev(
	const struct container *container, struct container_mount *mount, struct error *e)
{
	const struct container *c = container;
	struct mount_option options[CONTAINER_LIST_MAX / 8 + 1] = {};
	cleanup(free) char *text = alloc_text(mount->options ?: "");
	size_t count = 0;
	char *rest = text;
	options[count++] = (struct mount_option){ "source", mount->source ?: "tmpfs" };
	for (char *word = strsep(&rest, ","); word && count < ARRAY_SIZE(options) - 1;
		word = strsep(&rest, ",")) {
		if (!*word)
			continue;
		options[count].key = strsep(&word, "=");
		options[count++].value = word;
	}
	cleanup(close) int fd = -1;
	int r = mount_new("tmpfs", options, mount->set & ~(uint64_t)MOUNT_ATTR_RDONLY, &fd, e);
	if (r == 0 && fchownat(fd, "", host_uid(c, 0), host_gid(c, 0), AT_EMPTY_PATH) < 0)
		r = error_errno(e, "/dev: give it away");
	if (r == 0)
		r = fill_dev(c, fd, e);
	if (r < 0)
		return r;
	mount->fd = TAKE_FD(fd);
	return 0;
}

static int make_bind(struct container_mount *mount, int user_namespace, struct error *e)
{
	if (mount->is_optional && access(mount->source, F_OK) < 0)
		return 0;
	int r = clone_source(mount->source, mount->is_recursive, mount->propagation,
		mount->is_shifted ? user_namespace : -1, &mount->fd, e);
	if (r == 0)
		r = mount_change(mount->fd, mount->set, mount->clear, mount->is_recursive);
	struct stat stat;
	if (r == 0 && fstat(mount->fd, &stat) < 0)
		return error_errno(e, "stat %s", mount->source);
	if (r == 0)
		mount->is_file = !S_ISDIR(stat.st_mode);
	return r;
}

int rootfs_make_mounts(struct container *container, int user_namespace, struct error *e)
{
	int r = 0;
	for (size_t i = 0; i < container->mount_count && r == 0; i++) {
		struct container_mount *mount = &container->mounts[i];
		switch (mount->kind) {
		case MOUNT_BIND:
			r = make_bind(mount, user_namespace, e);
			break;
		case MOUNT_VOLUME:
			r = open_volume(mount->source, mount->fs, mount->set & MOUNT_ATTR_RDONLY,
				user_namespace, &mount->fd, e);
			if (r == 0)
				r = mount_change(mount->fd, mount->set, mount->clear, false);
			break;
		case MOUNT_DEV:
			if (container->uid_count > 0)
				r = rootfs_make_dev(container, mount, e);
			break;
		case MOUNT_NEW:
		case MOUNT_CGROUP:
			break;
		}
		if (r < 0)
			return error_prefix(e, r, "mount %s", mount->target);
	}
	return 0;
}
