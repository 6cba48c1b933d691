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

/* Sets `fd` and `is_file` of the mounts that are MOUNT_BIND, MOUNT_VOLUME and MOUNT_DEV. */
int rootfs_make_mounts(struct container *container, int user_namespace, struct error *e) must_use;
