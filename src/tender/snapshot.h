/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.h - a unikernel that waits, in a file, and started from it by mapping that copy-on-write.
 *
 * The file fits this build of berth-tender, this kernel and the image it was made with, and says so: with another one it
 * is refused. Addresses are the same in both processes, so neither has random ones (main.c).
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "tender/snapshot_place.h"

/* The signal that asks a unikernel for one; its program never sees it. */
#define SUSPEND_SIGNAL SIGPWR

/* What comes through a stream: `bytes` of the file, which stand `at`; the last one has none and a negative errno or 0. */
struct snapshot_piece {
	uint64_t at, bytes;
};

/* Starts the program anew without random addresses, unless it has none already; it may go on with random ones. */
void snapshot_same_addresses(char **words);

/* In the locked process, by `fd` alone: from unikernel_pause(). */
int snapshot_write(int fd, const struct snapshot_place *place);
/* The same through a stream, with its end. */
void snapshot_send(int fd, const struct snapshot_place *place);

/* Reads what the file was made with: 0, or -EINVAL with why it is none. */
int snapshot_read(int fd, struct snapshot_place *ret, struct error *e) must_use;

/* Before the lock: maps it all, the image by `image_fd`. */
int snapshot_map(
	int fd, int image_fd, const struct snapshot_place *place, struct error *e) must_use;
