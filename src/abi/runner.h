/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runner.h - what berthd and a runner say to each other over `control`.
 *
 * berthd listens at `control` in the instance's directory before it spawns the runner, which inherits
 * the listener, accepts on it and is the truth about what runs. A daemon that was restarted connects
 * to the same socket: first contact and adoption are one path. Every message is one SOCK_SEQPACKET
 * record: a header and the struct that its type names, little-endian. The daemon says HELLO; the
 * runner answers STATE and from then on sends STATE at every change and EVENT as they come. Each other
 * request is answered by one message with its serial: DONE, ERROR, or what stands at the request.
 *
 * The runner finds its descriptors in the environment: BERTH_FDS=control=3,dir=4,...
 *   control   the listener                      dir     the instance's directory
 *   channel   a connection, as if accepted      others  as the plan names them ("fd:NAME")
 *
 * When the first process has ended, the runner writes RUNNER_EXIT_FILE into `dir`, one JSON object:
 *   {"wait_status": 256, "started_ns": 1, "ended_ns": 2, "oom_kills": 0, "error": "..."}
 * (times since the epoch; `error` only if the instance could not be started) and goes.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define RUNNER_VERSION     1
#define RUNNER_TEXT_MAX    480   /* bytes of an error, with its NUL */
#define RUNNER_CONSOLE_MAX 32768 /* bytes of console output kept in the runner */

#define RUNNER_PLAN_FILE    "plan.json"
#define RUNNER_CONTROL_FILE "control"
#define RUNNER_EXIT_FILE    "exit"
#define RUNNER_CONSOLE_FILE "console.log"

/*
 * A runner whose plan is called RUNNER_SPARE, and blanks up to RUNNER_SPARE_BYTES, was started before there is one. It
 * has `channel` only and says nothing; its first message is RUNNER_BEGIN, and from then on it is as any other.
 */
#define RUNNER_SPARE       "/spare" /* an id of an OCI container has no slash */
#define RUNNER_SPARE_BYTES 384

enum runner_type {
	/* daemon -> runner */
	RUNNER_HELLO = 1,  /* answered by STATE; the first process's pidfd comes with it */
	RUNNER_SIGNAL = 2, /* runner_number: a signal for the first process */
	RUNNER_STOP = 3,   /* ask for an orderly end: power button, SIGRTMIN+3, SIGTERM */
	RUNNER_ATTACH = 4, /* runner_attach and one stream descriptor: the console's other end */
	RUNNER_RESIZE = 5, /* runner_size: of the console's terminal */
	RUNNER_CONSOLE_LOG = 6,   /* answered by CONSOLE_LOG and the last bytes of output */
	RUNNER_CONSOLE_CLEAR = 7, /* forgets the output so far, in the file too */
	RUNNER_PAUSE = 8,         /* vmm; a container is frozen through its cgroup */
	RUNNER_RESUME = 9,        /* vmm */
	RUNNER_RESET = 10,        /* vmm */
	RUNNER_BALLOON = 11,      /* vmm; runner_number: bytes the guest shall have */
	RUNNER_STATS = 12,        /* answered by STATS */
	RUNNER_PLUG = 13,    /* vmm; runner_plug and its descriptor: a disk's file, a card's tap */
	RUNNER_UNPLUG = 14,  /* vmm; runner_plug: DONE when it is gone, ERROR EAGAIN until then */
	RUNNER_SUSPEND = 16, /* vmm; a file: all of the machine, which stands still from then on */
	RUNNER_DISK_RATES = 15, /* vmm; runner_plug: other limits for a disk */
	RUNNER_BEGIN = 17, /* to a spare runner: its plan's path and NUL; control, dir, its log */

	/* runner -> daemon */
	RUNNER_STATE = 64, /* runner_state; the pidfd as descriptor while it runs */
	RUNNER_EVENT = 65, /* runner_event */
	RUNNER_DONE = 66,  /* header only */
	RUNNER_ERROR = 67, /* runner_error */
};

enum runner_status {
	RUNNER_STARTING = 1,
	RUNNER_RUNNING = 2,
	RUNNER_PAUSED = 3,
	RUNNER_EXITED = 4, /* wait_status is set, or the error that came before says why */
};

enum runner_event_kind {
	RUNNER_EVENT_OOM = 1,      /* value: processes killed so far for want of memory */
	RUNNER_EVENT_DETACHED = 2, /* the console's other end went or did not keep up */
	RUNNER_EVENT_READY = 3,    /* the guest said that it is up (vmm, agent) */
	RUNNER_EVENT_PANIC = 4,    /* the guest said that it is lost (vmm) */
	RUNNER_EVENT_REBOOT = 5,   /* the guest wants to be started again */
	RUNNER_EVENT_ROOM =
		6, /* value 0: a disk's volume is full and the machine waits; 1: it goes on (vmm) */
};

struct runner_header {
	uint32_t length; /* of the whole message */
	uint16_t version;
	uint16_t type;   /* enum runner_type */
	uint32_t serial; /* the answer carries that of its request; 0 in what nobody asked for */
	uint32_t reserved;
};
static_assert(sizeof(struct runner_header) == 16, "wire");

struct runner_number {
	struct runner_header header;
	uint64_t value;
};
static_assert(sizeof(struct runner_number) == 24, "wire");

struct runner_size {
	struct runner_header header;
	uint16_t columns;
	uint16_t rows;
	uint32_t reserved;
};
static_assert(sizeof(struct runner_size) == 24, "wire");

#define RUNNER_ATTACH_REPLAY 1u /* first send what RUNNER_CONSOLE_LOG would */
#define RUNNER_ATTACH_STEAL  2u /* detach who is attached; without it: ERROR, EBUSY */

struct runner_attach {
	struct runner_header header;
	uint32_t flags;
	uint16_t columns; /* 0: leave the size */
	uint16_t rows;
};
static_assert(sizeof(struct runner_attach) == 24, "wire");

struct runner_state {
	struct runner_header header;
	uint32_t status; /* enum runner_status */
	int32_t pid;     /* of the first process, in the daemon's namespace; 0 if there is none */
	int32_t wait_status;    /* as of wait(2) */
	uint32_t oom_kills;     /* so far */
	uint64_t started_ns;    /* since the epoch; 0 if it has not */
	uint64_t ended_ns;      /* since the epoch; 0 if it has not */
	uint64_t start_took_ns; /* from the runner's first instruction to the instance's */
};
static_assert(sizeof(struct runner_state) == 56, "wire");

struct runner_event {
	struct runner_header header;
	uint32_t kind; /* enum runner_event_kind */
	uint32_t reserved;
	uint64_t value;
};
static_assert(sizeof(struct runner_event) == 32, "wire");

struct runner_error {
	struct runner_header header;
	int32_t code; /* a negative errno */
	uint32_t reserved;
	char text[RUNNER_TEXT_MAX];
};
static_assert(sizeof(struct runner_error) == 24 + RUNNER_TEXT_MAX, "wire");

/* The header is followed by at most RUNNER_CONSOLE_MAX bytes, oldest first. */
struct runner_console_log {
	struct runner_header header;
	uint64_t total_bytes; /* written since the start, of which these are the last */
};
static_assert(sizeof(struct runner_console_log) == 24, "wire");

#define RUNNER_PLUG_DISK     1u
#define RUNNER_PLUG_NIC      2u
#define RUNNER_PLUG_READONLY 1u

struct runner_plug {
	struct runner_header header;
	uint32_t kind;
	uint32_t flags;
	uint64_t bytes_per_second, operations_per_second; /* 0: no limit */
	uint8_t mac[6];
	uint8_t reserved[2];
	char id[64]; /* with its NUL */
};
static_assert(sizeof(struct runner_plug) == 112, "wire");

struct runner_stats {
	struct runner_header header;
	uint64_t balloon_bytes;     /* memory that the guest has now */
	uint64_t guest_free_bytes;  /* as the guest says, or UINT64_MAX */
	uint64_t guest_total_bytes; /* as the guest says, or UINT64_MAX */
};
static_assert(sizeof(struct runner_stats) == 40, "wire");

/*
 * `berth-container exec`: a helper that enters a running instance, runs one program there and lives as
 * long as it. Descriptors in BERTH_FDS: `channel` (below), `pidfd` of the instance's first process,
 * `dir` (its plan.json is read), `request` (a file of JSON, see doc/plan.md), and `stdin`, `stdout`,
 * `stderr` or, with a terminal, `console`: a stream socket that the helper pumps to the terminal.
 * The daemon sends RUNNER_SIGNAL and RUNNER_RESIZE; the helper sends RUNNER_STATE (RUNNING with the
 * program's pid, EXITED with its wait status) or RUNNER_ERROR, once, before the program runs: -ENOENT
 * or -EACCES for the program itself, other codes for what went wrong around it.
 */
