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

#define SNAPSHOT_MEMORY_AT UINT64_C(0x200000000000)
#define SNAPSHOT_IMAGE_AT  UINT64_C(0x300000000000)

/* The signal that asks a unikernel for one; its program never sees it. */
#define SUSPEND_SIGNAL SIGPWR

/* What it has to meet again. */
struct snapshot_place {
	uint64_t memory_bytes;
	uint64_t image_bytes, image_time; /* the file's last change, in ns */
	uint64_t vdso;
	uint64_t volume_bytes; /* or more */
	uint64_t clock_ns;     /* CLOCK_MONOTONIC when it was written: it does not go back */
};

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
