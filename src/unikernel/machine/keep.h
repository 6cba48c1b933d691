/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep.h - a machine that its tender keeps, and that goes on elsewhere.
 */
#pragma once

#include <stdint.h>

/* From here on `signal` has it kept. What it is started with, here and elsewhere, stands at `start_at`. */
void keep_start(uint64_t start_at, int signal);
