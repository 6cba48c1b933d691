/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot_place.h - where a unikernel that is kept lies, and what it meets again.
 */
#pragma once

#include <stdint.h>

#define SNAPSHOT_MEMORY_AT UINT64_C(0x200000000000)
#define SNAPSHOT_IMAGE_AT  UINT64_C(0x300000000000)

/* What it has to meet again. */
struct snapshot_place {
	uint64_t memory_bytes;
	uint64_t image_bytes, image_time; /* the file's last change, in ns */
	uint64_t vdso;
	uint64_t volume_bytes; /* or more */
	uint64_t clock_ns;     /* CLOCK_MONOTONIC when it was written: it does not go back */
};
