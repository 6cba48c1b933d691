/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootfs.h - what only the host's root can mount for a container: its root, its /dev, what comes from
 * the host. All as detached mounts, which nobody sees until the container attaches them.
 */
#pragma once

#include "container/container.h"

/*
 * Makes the root: layers and volume as an overlay, or one directory; ids shown as `user_namespace` (-1:
 * as they are) maps them. Sets root.is_fresh.
 */
int rootfs_make(
	struct container *container, int user_namespace, int *ret, struct error *e) must_use;

/*
 * Sets `fd` and `is_file` of the mounts that are MOUNT_BIND and MOUNT_VOLUME, and of MOUNT_DEV where there
 * is a user namespace: its tmpfs must be the host's, or no device node in it could be opened.
 */
int rootfs_make_mounts(struct container *container, int user_namespace, struct error *e) must_use;

/* Makes one device node in the directory `dev`, the container's /dev. */
int rootfs_make_node(const struct container *container, int dev,
	const struct container_device *device, struct error *e) must_use;

/* Makes the tmpfs of MOUNT_DEV with its nodes and links. */
int rootfs_make_dev(
	const struct container *container, struct container_mount *mount, struct error *e) must_use;
