/* SPDX-License-Identifier: Apache-2.0 */
/*
 * target.h - places in a container's root, resolved once, inside it, to a descriptor.
 */
#pragma once

#include <sys/types.h>

#include "base/base.h"
#include "base/error.h"

/*
 * The O_PATH descriptor of `path` below `root`; links are followed inside the root unless `no_links`,
 * magic links never. -errno.
 */
int target_open(int root, const char *path, bool no_links) must_use;

/* As target_open(), but directories that are missing are made, and at the end a directory or a file. */
int target_make(int root, const char *path, bool is_file, bool no_links, int *ret,
	struct error *e) must_use;

/* Opens the directory in which `path` stands, made if missing; *ret_name is its last part, in `path`. */
int target_parent(
	int root, const char *path, int *ret, const char **ret_name, struct error *e) must_use;
