/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proc.h - /proc and /sys as far as programs look.
 */
#pragma once

#include "unikernel/path.h"

struct program_place {
	uint64_t stack_start, stack_end;
};

int proc_init(const struct program_place *program);
