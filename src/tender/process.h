/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.h - the platform `process`: a library OS and its program in this process, locked by a filter.
 */
#pragma once

#include "abi/report.h"
#include "base/base.h"
#include "base/error.h"
#include "tender/card.h"
#include "tender/snapshot.h"

struct unikernel_options {
	uint64_t memory_bytes;
	char **arguments; /* the program's, its name first */
	uint32_t argument_count;
	char **environment;
	uint32_t environment_count;
	const void *root; /* its erofs image, or NULL */
	uint64_t root_bytes;
	const struct card *card; /* or NULL */
	int root_fd; /* from which it was mapped, so that the program need not be copied; 0: none */
	int volume_fd; /* its storage; 0: none */
	uint64_t volume_bytes;
	bool is_volume_private; /* what it writes there only it sees: others have it */
	bool is_named;          /* the first argument names the program, as a shell's would */
	int to_fd;              /* a snapshot is written there, once, and it ends; 0: none */
	int from_fd;            /* it goes on from that snapshot; 0: it begins */
	int channel_fd;         /* a stream: snapshots, whenever SUSPEND_SIGNAL comes; 0: none */
	struct snapshot_place place; /* what a snapshot meets again: of the image */
	uint64_t clock_ahead_ns;     /* of the host's CLOCK_MONOTONIC: that of its time namespace */
	const char *directory;       /* where the program begins, or NULL */
	int ready_fd;                /* closed when the process is locked; 0: none */
	struct report *report;       /* or NULL */
	bool is_verbose;             /* at the end it says which calls the program missed */
};

/* Runs the rewritten program `data`. Returns only if something failed before the program began. */
int process_run(const void *data, size_t size, const struct unikernel_options *options,
	struct error *e) must_use;
