/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monitor.h - `berth-container run plan.json`: starts a container and stays until it ends.
 */
#pragma once

#include <stdint.h>

/* Returns the exit status of the program. `began_ns` is CLOCK_MONOTONIC at its first instruction. */
int monitor_main(int argc, char **argv, uint64_t began_ns);
