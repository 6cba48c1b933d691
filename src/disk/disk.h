/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.h - the contract of a disk back end: requests in, results out.
 *
 * A driver (raw.c) opens a disk; virtio/block.c and others use it and close it. Offsets and lengths are
 * bytes and multiples of DISK_SECTOR. One thread at a time uses a disk; nothing here locks.
 *
 * disk_submit() takes requests, disk_start() sets them off, `event_fd` becomes readable when some have
 * ended, and disk_complete() calls their `done`, never from within submit or start.
 */
#pragma once

#include <sys/uio.h>

#include "base/base.h"
#include "base/error.h"

#define DISK_SECTOR 512

enum disk_operation { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD, DISK_ZERO };

struct disk_request {
	enum disk_operation operation;
	bool is_durable;         /* a write that is on the medium when it is done */
	bool may_unmap;          /* zeroes that need no room */
	const struct iovec *iov; /* borrowed until it is done; its bytes are all read or written */
	int iov_count;
	uint64_t offset;
	uint64_t bytes; /* the sum of `iov`, or what to discard or zero */

	/* `result` is 0 or -EIO, -ENOSPC, ... The request is the caller's again. */
	void (*done)(struct disk_request *request, int result);

	/* The driver's. */
	int result;
	struct disk_request *next;
};

struct disk {
	const struct disk_driver *driver;
	uint64_t size_bytes;
	uint32_t block_bytes; /* what a write should be a multiple of */
	bool read_only;
	bool can_discard;
	int event_fd;
	uint32_t pending; /* submitted and not done */
};

/* Every member is set. */
struct disk_driver {
	const char *name;
	void (*submit)(struct disk *disk, struct disk_request *request);
	void (*start)(struct disk *disk);
	void (*complete)(struct disk *disk);
	/* Waits for all that is submitted and calls their `done`. */
	void (*drain)(struct disk *disk);
	void (*close)(struct disk *disk);
};

/* Checks the request against the disk's size first: -EINVAL, and `done` is not called. */
int disk_submit(struct disk *disk, struct disk_request *request) must_use;
void disk_start(struct disk *disk);
void disk_complete(struct disk *disk);
void disk_drain(struct disk *disk);
void disk_close(struct disk *disk);
DEFINE_CLEANUP(struct disk *, disk_close);

/*
 * A flat file or block device as a disk. The descriptor is the disk's on success. `name` is for the
 * sentences. -EINVAL if its size is 0 or no multiple of DISK_SECTOR, or the errno of lseek(2).
 */
int raw_open_fd(
	int fd, const char *name, bool read_only, struct disk **ret, struct error *e) must_use;

/* As raw_open_fd(), or the errno of open(2). */
int raw_open(const char *path, bool read_only, struct disk **ret, struct error *e) must_use;
