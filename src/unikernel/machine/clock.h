/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.h - the machine's clocks.
 */
#pragma once

#include <stdint.h>

/* What a host says, where there is no better source: cycles in a second and the time since the epoch. 0: it says nothing. */
void clock_init(uint64_t cycles_per_second, uint64_t realtime_ns);

/* The cycle counter when the monotonic clock will show `ns`, at least; 0: it is not known. */
uint64_t clock_cycles_at(uint64_t ns);

/* In a machine that goes on from what was kept at `then_ns`: the monotonic clock does not go back. */
void clock_go_on(uint64_t then_ns, uint64_t cycles_per_second, uint64_t realtime_ns);
