/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_runs.h - memory as a snapshot wants it: run by run.
 */
#pragma once

#include "unikernel/kernel.h"

enum snapshot_kind {
	SNAPSHOT_BYTES, /* as they stand here */
	SNAPSHOT_IMAGE, /* they show the root's image at `from` */
	SNAPSHOT_NONE,  /* nothing was ever written */
};

struct snapshot_run {
	enum snapshot_kind kind;
	int rights; /* PLATFORM_ */
	uint64_t address, bytes, from;
};

typedef int memory_each_run(void *data, const struct snapshot_run *run);

/* Every run of the region that is in use; stops with what `each` returns below zero. -EBUSY while there is a copy. */
int memory_runs(memory_each_run *each, void *data);
