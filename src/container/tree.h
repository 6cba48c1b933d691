/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.h - the container's tree of files, put together inside its own namespaces.
 */
#pragma once

#include "container/container.h"

/*
 * Makes the file systems that belong to the container's own namespaces (MOUNT_NEW), detached. Before
 * tree_enter(): the kernel lets a user namespace mount /proc and /sys only where a whole one is seen.
 */
int tree_make_mounts(struct container *container, struct error *e) must_use;

/* Makes `root` the root of this mount namespace, and the host's is gone. */
int tree_enter(int root, struct error *e) must_use;

/* Attaches all mounts in their order but MOUNT_CGROUP. */
int tree_attach(struct container *container, int root, struct error *e) must_use;

/* Attaches MOUNT_CGROUP, in the cgroup namespace of the container. */
int tree_attach_cgroups(struct container *container, int root, struct error *e) must_use;

/* Sets the sysctls through the container's own /proc. */
int tree_set_sysctls(const struct container *container, struct error *e) must_use;

/* Hides and write-protects paths, and the root if it is to be read-only. */
int tree_protect(const struct container *container, int root, struct error *e) must_use;

/* Binds a terminal on /dev/console. */
int tree_bind_console(int root, int terminal, struct error *e) must_use;

/* Opens a new terminal in the container's /dev/pts: both ends. */
int tree_open_terminal(int root, int *ret_master, int *ret_slave, struct error *e) must_use;

/*
 * Writes the plan's files, /etc/resolv.conf of an application if there is none or an empty one, and /etc/hostname of a
 * system that never ran.
 */
int tree_write_names(const struct container *container, int root, struct error *e) must_use;
