/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segments.h - the segments of a Solo5 unikernel in its memory.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "model/elf64.h"

/* The memory of a unikernel. */
struct segments_memory {
	uint64_t base; /* where its address 0 is for us */
	uint64_t bytes;
	uint64_t first; /* the lowest address that a segment may have */
};

/*
 * Copies the segments to where they want to be; the first address behind them in *ret_end. -ENOEXEC says which one does not
 * fit, overlaps another, starts within a page, is writable and executable, or that none has the entry.
 */
int segments_load(const struct elf *elf, const struct segments_memory *memory, uint64_t *ret_end,
	struct error *e) must_use;

/* Gives them their rights; what is executable is readable, too, if `needs_reading`. */
int segments_protect(const struct elf *elf, const struct segments_memory *memory,
	bool needs_reading, struct error *e) must_use;
