/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.h - what the host and the agent in a guest say to each other over a vsock stream.
 *
 * The agent listens at AGENT_PORT. A connection carries frames: a header and `bytes` bytes. Each side
 * checks a frame's length before it reads a field. The first frame from the host says what the
 * connection is for:
 *   HELLO      answered by HELLO (text: the agent's version and the kernel's)
 *   EXEC       then DATA (input; an empty one ends it), RESIZE, SIGNAL; answered by STDOUT and STDERR
 *              as it comes and EXIT at the end, or ERROR
 *   GET        answered by INFO and, for a file, DATA..., an empty DATA; for a directory the names,
 *              each with a NUL; for a link its target; or ERROR
 *   PUT        for a file then DATA..., an empty DATA; answered by DONE or ERROR
 *   REMOVE     answered by DONE or ERROR
 *   CONFIGURE  lines of text, answered by DONE or ERROR
 *   SHUTDOWN   answered by DONE
 *   USAGE      answered by USAGE
 *   SFTP       answered by DONE, from which on the stream is SFTP version 3 in the guest's root, or ERROR
 *   CPUS       number of CPUs to use; CLOCK; each answered by DONE or ERROR
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define AGENT_PORT 1024
#define AGENT_GUEST_API_PORT \
	1025 /* of the host: what asks at /dev/lxd/sock in the guest is passed on to it */
#define AGENT_VERSION   1
#define AGENT_FRAME_MAX 65536 /* bytes behind a header */

enum agent_type {
	AGENT_HELLO = 1,
	AGENT_EXEC = 2,
	AGENT_DATA = 3,
	AGENT_RESIZE = 4,
	AGENT_SIGNAL = 5,
	AGENT_GET = 6,
	AGENT_PUT = 7,
	AGENT_REMOVE = 8,
	AGENT_CONFIGURE = 9,
	AGENT_SHUTDOWN = 10,
	AGENT_USAGE = 11,
	AGENT_CPUS = 12,
	AGENT_CLOCK = 13,
	AGENT_SFTP = 14,

	AGENT_DONE = 64,
	AGENT_ERROR = 65,
	AGENT_STDOUT = 66,
	AGENT_STDERR = 67,
	AGENT_EXIT = 68,
	AGENT_INFO = 69,
};

struct agent_header {
	uint32_t bytes; /* behind the header */
	uint16_t version;
	uint16_t type; /* enum agent_type */
};
static_assert(sizeof(struct agent_header) == 8, "wire");

#define AGENT_EXEC_TERMINAL 1u

/* Then NUL-terminated strings: the working directory, `arguments`, `environment`. */
struct agent_exec {
	uint32_t flags;
	uint32_t uid, gid;
	uint16_t columns, rows;
	uint16_t arguments, environment;
	uint32_t reserved;
};
static_assert(sizeof(struct agent_exec) == 24, "wire");

struct agent_resize {
	uint16_t columns, rows;
	uint32_t reserved;
};
static_assert(sizeof(struct agent_resize) == 8, "wire");

struct agent_clock {
	uint64_t since_epoch_ns;
};
static_assert(sizeof(struct agent_clock) == 8, "wire");

struct agent_number { /* SIGNAL: its number; EXIT: as of wait(2); SHUTDOWN: 0 off, 1 reboot */
	int32_t value;
	uint32_t reserved;
};
static_assert(sizeof(struct agent_number) == 8, "wire");

/* Then the text, without a NUL. */
struct agent_error {
	int32_t code; /* a negative errno of Linux */
	uint32_t reserved;
};
static_assert(sizeof(struct agent_error) == 8, "wire");

/* INFO; and PUT, then the path and a NUL, and for a link its target and a NUL. */
struct agent_file {
	uint32_t mode; /* as st_mode, with the type: file, directory or symbolic link */
	uint32_t uid, gid;
	uint32_t reserved;
	uint64_t bytes;
};
static_assert(sizeof(struct agent_file) == 24, "wire");

struct agent_usage {
	uint64_t memory_total, memory_available; /* bytes */
	uint64_t cpu_ns;                         /* of all processes so far */
	uint64_t disk_total, disk_free;          /* of the root file system, bytes */
	uint32_t processes, cpus;
	uint64_t up_ns;
};
static_assert(sizeof(struct agent_usage) == 56, "wire");

/*
 * CONFIGURE, a line each:
 *   hostname NAME
 *   address MAC ADDRESS/PREFIX     (brings the card up)
 *   gateway MAC ADDRESS
 *   nameserver ADDRESS
 *   search DOMAIN
 */
