/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source.c - volumes and roots as detached mounts.
 */
#include "job/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/text.h"
#include "host/loopdev.h"
#include "host/mount.h"

/* A descriptor for reading in place of one that only stands for a mount. */
static int open_for_reading(int mount, const char *path, struct error *e)
{
	int fd = openat(mount, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? error_errno(e, "open %s", path) : fd;
}

/* The device that stands already, if somebody uses the image: two would write over each other. */
static int mount_volume(const json_t *volume, bool is_read_only, int *ret, struct error *e)
{
	const char *path = json_string_value(json_object_get(volume, "path"));
	const char *stands = json_string_value(json_object_get(volume, "type"));
	if (!path || !stands)
		return error_set(e, -EINVAL, "volume: it has no path or type");
	if (text_equal(stands, "directory"))
		return mount_clone(AT_FDCWD, path, false, ret, e);
	const char *file_system = json_string_value(json_object_get(volume, "fs"));
	/* To read it as well: its journal may have to be replayed, and a device of a file that can't be written can't. */
	cleanup(close) int file = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (file < 0)
		return error_errno(e, "open %s", path);
	cleanup(loopdev_close) struct loopdev device = { .fd = -1 };
	int r = loopdev_attach(file, path, false, false, &device, e);
	if (r < 0)
		return r;
	const char *type = file_system ? file_system : "ext4";
	const uint64_t attributes = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID;
	struct mount_option options[] = { { "source", device.path }, { "ro", NULL }, {} };
	r = is_read_only ? mount_new(type, options, attributes, ret, e) : -EBUSY;
	if (r != -EBUSY)
		return r;
	/* Who uses it writes to it: a file system is one or the other for all. */
	options[1].key = "rw";
	return mount_new(
		type, options, attributes | (is_read_only ? MOUNT_ATTR_RDONLY : 0), ret, e);
}

int source_open_volume(const json_t *volume, bool is_read_only, struct error *e)
{
	cleanup(close) int mount = -1;
	int r = mount_volume(volume, is_read_only, &mount, e);
	return r < 0 ? r : open_for_reading(mount, ".", e);
}

static void close_all(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

static int mount_layers(const json_t *layers, int *mounts, size_t *count, struct error *e)
{
	size_t index;
	json_t *layer;
	json_array_foreach(layers, index, layer)
	{
		const char *path = json_string_value(layer);
		if (!path || *count >= MOUNT_LAYERS_MAX)
			return error_set(e, -EINVAL, "layers: entry %zu", index);
		int r = mount_clone(AT_FDCWD, path, false, &mounts[*count], e);
		if (r < 0)
			return r;
		(*count)++;
	}
	return 0;
}

bool source_is_block(const json_t *volume)
{
	return text_equal(json_string_value(json_object_get(volume, "type")), "block");
}

int source_open_block(const json_t *volume, bool is_written, struct error *e)
{
	const char *path = json_string_value(json_object_get(volume, "path"));
	int fd = open(path ?: "", (is_written ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? error_errno(e, "open %s", path ?: "the volume") : fd;
}

static int open_layers(const json_t *layers, struct error *e)
{
	int mounts[MOUNT_LAYERS_MAX];
	size_t count = 0;
	cleanup(close) int overlay = -1;
	int r = mount_layers(layers, mounts, &count, e);
	if (r == 0 && count == 1)
		overlay = fcntl(mounts[0], F_DUPFD_CLOEXEC, 3);
	else if (r == 0)
		r = mount_overlay(
			&(struct mount_overlay){
				.layers = mounts, .layer_count = count, .volume = -1 },
			&overlay, e);
	close_all(mounts, count);
	return r < 0 ? r : open_for_reading(overlay, ".", e);
}

int source_open_root(const json_t *root, struct error *e)
{
	const json_t *layers = json_object_get(root, "layers");
	cleanup(close) int volume = -1;
	if (source_is_block(json_object_get(root, "volume")))
		return open_layers(layers, e);
	int r = mount_volume(json_object_get(root, "volume"), true, &volume, e);
	if (r < 0)
		return r;
	if (json_array_size(layers) == 0)
		return open_for_reading(volume, "rootfs", e);
	int mounts[MOUNT_LAYERS_MAX];
	size_t count = 0;
	/* What the instance wrote is the top layer of a tree that nobody writes. */
	r = mount_clone(volume, "upper", false, &mounts[0], e);
	if (r < 0)
		return r;
	count = 1;
	cleanup(close) int overlay = -1;
	r = mount_layers(layers, mounts, &count, e);
	if (r == 0)
		r = mount_overlay(
			&(struct mount_overlay){
				.layers = mounts, .layer_count = count, .volume = -1 },
			&overlay, e);
	close_all(mounts, count);
	return r < 0 ? r : open_for_reading(overlay, ".", e);
}
