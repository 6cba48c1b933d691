/* SPDX-License-Identifier: Apache-2.0 */
/*
 * platform_call.h - the one way to the host's kernel of a locked process (process.c).
 */
#pragma once

#include <stdint.h>

int64_t platform_syscall(
	int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
