/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.h - the root file system of a disk, whole or partitioned, and a file system that grows with its device.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/*
 * Mounts at `target` what is a system: of the device or its largest partitions the first with an init, or
 * without one in any the first that can be mounted.
 */
int disk_mount_root(const char *device, const char *target, struct error *e) must_use;

/* Grows an ext4 that is mounted at `path` to the size of its device; does nothing for others. */
void disk_grow(const char *device, const char *path);
