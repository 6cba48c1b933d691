/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_cache.h - unpacked kernels: by berth-unpack in a process of its own, kept beside each other.
 *
 * A kernel is known by its file: device, inode, size and the times of its last change.
 */
#pragma once

#include "vmm/boot/image.h"

struct kernel_cache {
	int dir;             /* where unpacked kernels are kept; -1: nowhere */
	const char *program; /* the path of berth-unpack */
};

/* For boot_options.unpack; `data` is a struct kernel_cache. */
int kernel_cache_unpack(void *data, const struct image *kernel, uint64_t offset, uint64_t bytes,
	int *ret_fd, struct error *e) must_use;
