/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.h - the head of a file with the state of a unikernel: which engine wrote it, of what, and where the rest stands.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define SNAPSHOT_MAGIC   UINT64_C(0x70616e7368747262) /* "brthsnap" */
#define SNAPSHOT_VERSION 4u

/*
 * What stands at data_at: the variables of a process, the registers of a tender's machine (its memory stands at memory_at), or
 * all that berth-vmm writes of one.
 */
enum snapshot_engine { SNAPSHOT_PROCESS, SNAPSHOT_KVM, SNAPSHOT_SOFT, SNAPSHOT_ENGINES };

/* Which program wrote it; zeroes: one that says itself what it can read. */
struct snapshot_build {
	uint64_t sum; /* over the code that the pointers in it point to */
	uint64_t end, data, bss;
};

/* What it has to meet again. */
struct snapshot_place {
	uint64_t memory_bytes;            /* of a machine of berth-vmm: all of it */
	uint64_t image_bytes, image_time; /* the file's last change, in ns */
	uint64_t vdso;
	uint64_t volume_bytes; /* or more */
	uint64_t clock_ns;     /* CLOCK_MONOTONIC when it was written: it does not go back */
};

struct snapshot_head {
	uint64_t magic;
	uint32_t version, entry_count;
	struct snapshot_build build;
	struct snapshot_place place;
	uint64_t data_at, bss_at, elsewhere_at, memory_at; /* in the file */
	uint32_t engine, reserved;                         /* enum snapshot_engine */
};
static_assert(sizeof(struct snapshot_head) == 136, "snapshot_head");
