/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.h - the machine's clocks.
 */
#pragma once

#include <stdint.h>

void clock_init(void);

/* The cycle counter when the monotonic clock will show `ns`, at least; 0: it is not known. */
uint64_t clock_cycles_at(uint64_t ns);
