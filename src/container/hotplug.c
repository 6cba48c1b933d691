/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hotplug.c - disks and device nodes of an instance that runs (doc/plan.md has the request).
 *
 * Theory of operation. Whatever can fail for the host's sake is made first, as detached mounts that nobody
 * sees. Then two children enter, one after the other. The first has the host's root and only the
 * instance's mount namespace: device nodes can be made only so, and only in the tmpfs that is the instance's
 * /dev. The second is the instance's own root: it takes mounts away and attaches the new ones, so that
 * nothing which the instance has prepared makes us do more than it could have done itself. Every path is
 * resolved inside the root.
 */
#include "container/hotplug.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "abi/runner.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "container/aside.h"
#include "container/plan.h"
#include "container/rootfs.h"
#include "container/target.h"
#include "container/tree.h"
#include "host/mount.h"
#include "host/process.h"
#include "model/json.h"

struct hotplug {
	struct container *container; /* its mounts and devices are what is to be added */
	json_t *request;
	const json_t *mounts;  /* targets to be taken away */
	const json_t *devices; /* so */
};

/* The plan of the instance with the request's mounts and devices in place of its own. */
static int read_plan(struct hotplug *h, int dir, struct error *e)
{
	cleanup(free) char *text = NULL;
	size_t length;
	cleanup(json_decref) json_t *plan = NULL;
	json_t *add = NULL, *remove = NULL, *mounts = NULL;
	int r = file_read(dir, RUNNER_PLAN_FILE, PLAN_BYTES_MAX, &text, &length, e);
	if (r == 0)
		r = json_parse(text, length, &plan, e);
	if (r == 0)
		r = json_read_object(h->request, "", "add", &add, e);
	if (r == 0)
		r = json_read_object(h->request, "", "remove", &remove, e);
	if (r == 0)
		r = json_read_text_array(remove, "remove", "mounts", &mounts, e);
	h->mounts = mounts;
	mounts = NULL;
	if (r == 0)
		r = json_read_text_array(remove, "remove", "devices", &mounts, e);
	h->devices = mounts;
	if (r < 0)
		return r;
	static const char *const lists[] = { "mounts", "devices" };
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		json_t *list = json_object_get(add, lists[i]);
		json_object_set_new(plan, lists[i], list ? json_incref(list) : json_array());
	}
	cleanup(free) char *merged = json_dumps(plan, JSON_COMPACT);
	r = plan_read(merged, strlen(merged), &h->container, e);
	if (r < 0)
		return r;
	/* Those that every container has stand before them. */
	struct container *c = h->container;
	size_t wanted = json_array_size(json_object_get(plan, "mounts"));
	memmove(c->mounts, c->mounts + c->mount_count - wanted, wanted * sizeof(*c->mounts));
	c->mount_count = wanted;
	return 0;
}

/* Numbers are the host's; in the instance the same path may be anything. */
static int read_nodes(struct container *c, struct error *e)
{
	size_t kept = 0;
	for (size_t i = 0; i < c->device_count; i++) {
		struct container_device device = c->devices[i];
		struct stat stat;
		if (!device.source)
			return error_set(e, -EINVAL, "devices.source: is missing");
		if (lstat(device.source, &stat) < 0) {
			if (errno == ENOENT && device.is_optional)
				continue;
			return error_errno(e, "device %s", device.source);
		}
		if (!S_ISBLK(stat.st_mode) && !S_ISCHR(stat.st_mode))
			return error_set(e, -EINVAL, "device %s: no device node", device.source);
		device.type = S_ISBLK(stat.st_mode) ? 'b' : 'c';
		device.major = major(stat.st_rdev);
		device.minor = minor(stat.st_rdev);
		device.source = NULL;
		c->devices[kept++] = device;
	}
	c->device_count = kept;
	return 0;
}

static int make_mounts(struct hotplug *h, int pidfd, struct error *e)
{
	struct container *c = h->container;
	cleanup(close) int user_namespace = -1;
	pid_t pid = aside_pid(pidfd);
	if (pid < 0)
		return error_code(e, pid, "find the instance");
	if (c->uid_count) {
		char path[64];
		snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
		user_namespace = open(path, O_RDONLY | O_CLOEXEC);
		if (user_namespace < 0)
			return error_errno(e, "open the user namespace");
	}
	/* The number may have gone to another process since; the pidfd cannot. */
	if (process_signal(pidfd, 0) < 0)
		return error_set(e, -ESRCH, "the instance has ended");
	return rootfs_make_mounts(c, user_namespace, e);
}

static int change_nodes(void *data, int root, struct error *e)
{
	struct hotplug *h = data;
	struct statfs fs;
	cleanup(close) int dev = target_open(root, "/dev", true);
	if (dev < 0 || fstatfs(dev, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
		return error_set(e, -EINVAL, "/dev: it is no tmpfs in the instance any more");
	size_t i;
	json_t *path;
	json_array_foreach(json_mutable(h->devices), i, path)
	{
		const char *name, *text = json_string_value(path);
		cleanup(close) int dir = -1;
		if (!text_starts(text, "/dev/") ||
			target_parent(dev, text + strlen("/dev"), &dir, &name, NULL) < 0)
			continue;
		struct stat stat;
		if (fstatat(dir, name, &stat, AT_SYMLINK_NOFOLLOW) == 0 &&
			(S_ISCHR(stat.st_mode) || S_ISBLK(stat.st_mode)))
			(void)unlinkat(dir, name, 0);
	}
	int r = 0;
	for (i = 0; i < h->container->device_count && r == 0; i++)
		r = rootfs_make_node(h->container, dev, &h->container->devices[i], e);
	return r;
}

/* What stands there now is the instance's business; it may be gone. */
static int take_away(int root, const char *path, struct error *e)
{
	const char *name;
	cleanup(close) int dir = -1;
	int r = target_parent(root, path, &dir, &name, e);
	if (r < 0)
		return r;
	if (fchdir(dir) < 0)
		return error_errno(e, "%s", path);
	if (umount2(name, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		return error_errno(e, "unmount %s", path);
	return 0;
}

static int change_mounts(void *data, int root, struct error *e)
{
	struct hotplug *h = data;
	struct container *c = h->container;
	size_t i;
	json_t *path;
	json_array_foreach(json_mutable(h->mounts), i, path)
	{
		int r = take_away(root, json_string_value(path), e);
		if (r < 0)
			return r;
	}
	int r = tree_make_mounts(c, e);
	if (r == 0)
		r = tree_attach(c, root, e);
	for (i = 0; i < c->mount_count && r == 0; i++)
		if (c->mounts[i].kind == MOUNT_NEW && (c->mounts[i].set & MOUNT_ATTR_RDONLY))
			r = mount_change(c->mounts[i].fd, MOUNT_ATTR_RDONLY, 0, false);
	/* All or none: what was attached before the one that could not be goes again. */
	for (i = 0; i < c->mount_count && r < 0; i++)
		(void)!take_away(root, c->mounts[i].target, NULL);
	return r;
}

static int change(struct hotplug *h, struct error *e)
{
	cleanup(close) int dir = process_named_fd("dir");
	cleanup(close) int pidfd = process_named_fd("pidfd");
	if (dir < 0 || pidfd < 0)
		return error_set(e, -EINVAL, "the descriptors dir and pidfd are wanted");
	int r = aside_request(&h->request, e);
	if (r == 0)
		r = read_plan(h, dir, e);
	if (r == 0)
		r = read_nodes(h->container, e);
	if (r == 0)
		r = make_mounts(h, pidfd, e);
	if (r == 0 && (h->container->device_count || json_array_size(h->devices)))
		r = aside_enter(h->container, pidfd, CLONE_NEWNS, change_nodes, h, e);
	if (r == 0 && (h->container->mount_count || json_array_size(h->mounts)))
		r = aside_enter(
			h->container, pidfd, CLONE_NEWUSER | CLONE_NEWNS, change_mounts, h, e);
	return r;
}

int hotplug_main(void)
{
	struct error e = {};
	struct hotplug h = {};
	int channel = process_named_fd("channel");
	if (channel < 0) {
		log_error("devices: the descriptor channel is wanted");
		return 2;
	}
	int r = change(&h, &e);
	aside_answer(channel, r, &e);
	container_free(h.container);
	json_decref(h.request);
	return r < 0 ? 1 : 0;
}
