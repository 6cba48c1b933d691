/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.h - what berthd asks `berth-container files`, the helper for an instance's files.
 *
 * The helper serves the root of one instance, running or stopped, until its channel ends. Descriptors
 * in BERTH_FDS: `channel` (SOCK_SEQPACKET), `dir` (the instance's directory, for plan.json) and, if the
 * instance runs, `pidfd` of its first process; without it the root is mounted where only the helper sees
 * it, and the caller sees to it that the instance is not started meanwhile.
 *
 * The helper first says FILES_READY or RUNNER_ERROR. A request is a files_request, its path (and for a
 * link, behind the path's NUL, the target), and at most one descriptor. Each is answered by a
 * files_answer with its serial, or by RUNNER_ERROR (struct runner_error) whose text names the path.
 * Ids are the instance's own. No path leads out of the root. The bytes of a file go through the
 * descriptor of the request: the daemon never holds a file of an instance.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#include "abi/runner.h"

#define FILES_PATH_MAX 4096 /* bytes of each of the two texts, with its NUL */

enum files_type {
	FILES_READY = 128,
	FILES_STAT = 129, /* of what stands there, a link itself too */
	FILES_GET =
		130, /* into the descriptor: a file's bytes, a link's target, or a directory's names,
				each with a NUL behind it */
	FILES_PUT = 131,   /* from the descriptor's position to its end; made with mode, uid, gid */
	FILES_MKDIR = 132, /* with mode, uid, gid; FILES_PARENTS */
	FILES_SYMLINK = 133, /* with uid, gid; in place of a link that is there */
	FILES_DELETE = 134,  /* FILES_RECURSIVE, else an empty directory at most */
	FILES_CHANGE =
		135, /* mode, uid, gid of what is there, as far as FILES_KEEP does not say no */
	FILES_SFTP = 136, /* serves SFTP version 3 on the descriptor, a stream, until it ends */
	FILES_DONE = 137, /* the answer */
};

#define FILES_APPEND    1u
#define FILES_PARENTS   2u
#define FILES_RECURSIVE 4u
#define FILES_KEEP \
	UINT32_MAX /* for mode, uid or gid: leave it, or for what is new: 0644, 0755, 0 */

struct files_request {
	struct runner_header header;
	uint32_t flags;
	uint32_t mode; /* the permission bits, 07777 */
	uint32_t uid;
	uint32_t gid;
	uint64_t limit_bytes; /* FILES_GET: -EFBIG if there are more; 0: no limit */
};
static_assert(sizeof(struct files_request) == 40, "wire");

struct files_answer {
	struct runner_header header;
	uint32_t mode; /* as of stat(2), with the type of the file */
	uint32_t uid;
	uint32_t gid;
	uint32_t reserved;
	uint64_t size_bytes;
	uint64_t modified_ns; /* since the epoch */
};
static_assert(sizeof(struct files_answer) == 48, "wire");
