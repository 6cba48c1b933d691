/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure.h - what a call to the host costs: from a process, and from a virtual machine of it.
 */
#pragma once

#include "base/error.h"

/* ns of a call, the least of some. */
uint64_t measure_process(void);
int measure_machine(uint64_t *ret, struct error *e);
