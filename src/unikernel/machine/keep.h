/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep.h - a machine that its tender or its monitor keeps, and that goes on elsewhere.
 */
#pragma once

#include <stdint.h>

/* From here on `signal` has it kept. What it is started with, here and elsewhere, stands at `start_at`. */
void keep_start(uint64_t start_at, int signal);

/* The same by a monitor and its ports of abi/keep.h; what it is told anew stands at `line_at`, a command line. */
void keep_start_by_port(uint16_t port, uint64_t line_at);
