/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monitor.h - `berth-container run plan.json`: starts a container and stays until it ends.
 */
#pragma once

#include <stdint.h>

/* `argv` is the whole program's; `began_ns` CLOCK_MONOTONIC at its first instruction. Its exit status. */
int monitor_main(const char *plan, char **argv, uint64_t began_ns);
