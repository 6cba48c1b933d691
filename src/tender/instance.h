/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance.h - `berth-tender run plan.json`: the runner of one unikernel.
 */
#pragma once

#include <stdint.h>

/* `words`: the command line. `began_ns`: CLOCK_MONOTONIC at the first instruction. Its exit status. */
int instance_main(char **words, const char *plan_path, uint64_t began_ns);
