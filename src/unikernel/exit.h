/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exit.h - the end of a unikernel.
 */
#pragma once

#include <stdbool.h>

/* What was written is on the volume. */
void kernel_exit(int status) __attribute__((__noreturn__));

/* Ends the unikernel with a sentence on the console; for what only a fault of ours can cause. */
void kernel_panic(const char *sentence) __attribute__((__noreturn__));

/* While it is true what is done is done for no call: a fault is none of a bad pointer, but our own. */
extern bool kernel_has_no_caller;
