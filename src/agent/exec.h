/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.h - runs one program for the host, with pipes or a terminal of its own.
 */
#pragma once

#include "agent/frame.h"

/* Serves an EXEC connection to its end. */
void exec_serve(int fd, struct frame *frame);
