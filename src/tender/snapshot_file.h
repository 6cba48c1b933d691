/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot_file.h - what stands in a snapshot's file, and whether it can be: pure.
 *
 * A unikernel wrote it, so that nothing in it is believed: what is mapped before the lock is looked at here.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "tender/snapshot_place.h"
#include "unikernel/memory_runs.h"

#define SNAPSHOT_MAGIC     UINT64_C(0x70616e7368747262) /* "brthsnap" */
#define SNAPSHOT_VERSION   4u
#define SNAPSHOT_RUNS_MOST 4096u

/* Memory that wants more than to be there. */
struct snapshot_entry {
	uint64_t address, bytes, from; /* of the image, or of this file */
	uint32_t kind, rights;         /* enum snapshot_kind, PLATFORM_ */
};

/* Which program wrote it. */
struct snapshot_build {
	uint64_t sum; /* over the code that the pointers in it point to */
	uint64_t end, data, bss;
};

/* What the memory is of: the variables of a process, or the registers of a machine, stand at data_at. */
enum snapshot_engine { SNAPSHOT_PROCESS, SNAPSHOT_KVM, SNAPSHOT_ENGINES };

struct snapshot_head {
	uint64_t magic;
	uint32_t version, entry_count;
	struct snapshot_build build;
	struct snapshot_place place;
	uint64_t data_at, bss_at, elsewhere_at, memory_at; /* in the file */
	uint32_t engine, reserved;                         /* enum snapshot_engine */
};

/* 0, or -EINVAL with why it is none for this program. */
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
