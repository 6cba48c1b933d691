/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wait.h - the processor's own interrupt controller, which wakes a sleeping machine.
 */
#pragma once

#include <stdint.h>

void wait_init(void);

/* What the legacy line `line` reports wakes, too. */
void wait_add_line(uint32_t line);

/* Sleeps until the monotonic clock passes `until_ns` (UINT64_MAX: for ever) or something wakes it; maybe sooner. */
void wait_until(uint64_t until_ns);
