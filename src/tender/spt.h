/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spt.h - runs a Solo5 unikernel of the target spt in this process, locked by a filter.
 */
#pragma once

#include "tender/solo5.h"

#define SPT_MEMORY_MIN (2 * MIB)
#define SPT_MEMORY_MAX (1024 * GIB)

/*
 * Maps the unikernel and its memory, closes every descriptor that is not its, locks the process and jumps.
 * Returns only if something failed before the jump. The process must be a PIE without threads.
 */
int spt_run(struct solo5 *solo5, uint64_t memory_bytes, const char *command_line,
	struct error *e) must_use;
