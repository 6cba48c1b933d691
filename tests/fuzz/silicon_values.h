/* SPDX-License-Identifier: Apache-2.0 */
/*
 * silicon_values.h - what registers and memory hold before random instructions, the same for the same seed.
 */
#pragma once

#include <stdint.h>

void values_seed(uint64_t seed);

uint64_t random64(void);
uint64_t below(uint64_t limit);

/* Of integers, and now and then any. */
uint64_t interesting(void);

/* A double or two floats, most at an edge of what a double, a float or a half holds. */
uint64_t interesting_floats(void);
