/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disks.h - the disks of a server: which there are, an image written to one, all of them erased.
 */
#pragma once

#include "agent/call.h"
#include "agent/hash.h"

#define DISKS_MAX 64

struct disk_fact {
	char name[32]; /* "nvme0n1" */
	char model[64], serial[64];
	uint64_t bytes;
	bool is_rotational, is_nvme, is_removable;
};

/* Those that could hold a system, in the order of their names. How many. */
size_t disks_find(struct disk_fact disks[DISKS_MAX]);

/*
 * The one that is called `wanted` (a name or a serial number), or for NULL and "" the smallest that holds
 * `bytes`. -ENOENT with a sentence.
 */
int disks_choose(const struct disk_fact *disks, size_t count, const char *wanted, uint64_t bytes,
	const struct disk_fact **ret, struct error *e) must_use;

/* Told of what was written so far. */
typedef void disks_progress(void *data, uint64_t done, uint64_t total);

/*
 * Writes the stream to the disk, past the page cache, while it comes; `digest` is its SHA-256 in hex, which
 * the kernel counts on the way. -EBADMSG if it is another, then the disk's beginning is zeroed.
 */
int disks_write(int disk, struct call_stream *stream, const char *digest, disks_progress *progress,
	void *data, struct error *e) must_use;

/*
 * Sends all `bytes` of the disk to the daemon's `to` ("?at=OFFSET"), without what is zero. ret_digest is the SHA-256
 * of all of it.
 */
int disks_read(int disk, uint64_t bytes, const struct call_server *server, const char *to,
	disks_progress *progress, void *data, char ret_digest[HASH_HEX_SIZE],
	struct error *e) must_use;

/*
 * Erases it by what it can do best, and looks whether it reads as zeros. *ret_method is how: "nvme-crypto",
 * "nvme-format", "ata-enhanced", "ata-erase", "discard", "overwrite".
 */
int disks_erase(const struct disk_fact *disk, const char **ret_method, struct error *e) must_use;
