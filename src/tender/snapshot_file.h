/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot_file.h - what stands in a snapshot's file, and whether it can be.
 *
 * A unikernel wrote it, so that nothing in it is believed: what is mapped before the lock is looked at here.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "tender/snapshot_place.h"
#include "unikernel/memory_runs.h"

#define SNAPSHOT_RUNS_MOST 4096u

/* Memory that wants more than to be there. */
struct snapshot_entry {
	uint64_t address, bytes, from; /* of the image, or of this file */
	uint32_t kind, rights;         /* enum snapshot_kind, PLATFORM_ */
};

/* The head at the file's beginning, checked: 0, or -EINVAL with why it is none for this program. */
int snapshot_read_head(int fd, const struct snapshot_build *build, enum snapshot_engine engine,
	struct snapshot_head *ret, struct error *e) must_use;

/* Pure, as all below. */
int snapshot_check_head(const struct snapshot_head *head, const struct snapshot_build *build,
	enum snapshot_engine engine, struct error *e) must_use;

/* 0, or -EINVAL with what it does not find again. */
int snapshot_check_place(const struct snapshot_place *was, const struct snapshot_place *is,
	struct error *e) must_use;

/*
 * Whether it may be mapped: in the memory, or where a program is linked to; executable only what shows the image, and
 * that not writable. `*ret_is_inside`: in the memory.
 */
bool snapshot_check_entry(const struct snapshot_entry *entry, const struct snapshot_place *place,
	bool *ret_is_inside);
