/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loopdev.h - a file as a block device that vanishes with its last user.
 *
 * Every device made here clears itself (LO_FLAGS_AUTOCLEAR) when the last mount and the last descriptor
 * are gone: a killed process leaves nothing behind. The same file must never stand on two devices, or two
 * file systems would write over each other: loopdev_attach() finds the one that exists.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

struct loopdev {
	int fd; /* keeps the device until something is mounted from it */
	char path[32];
};

static inline void loopdev_close_cleanup(struct loopdev *local)
{
	if (local->fd >= 0)
		close(local->fd);
}

/*
 * Attaches the open file `file` (named `name` in errors) or opens the device that it is attached to.
 * `is_fresh` saves the search: the caller knows that nobody else uses the file.
 */
int loopdev_attach(int file, const char *name, bool is_read_only, bool is_fresh,
	struct loopdev *ret, struct error *e) must_use;

/* Opens the device that `file` is attached to; -ENOENT if there is none. */
int loopdev_find(int file, struct loopdev *ret) must_use;

/* Tells the device that its file has grown. */
int loopdev_refresh(const struct loopdev *device, struct error *e) must_use;
