/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.h - the table of all system calls.
 */
#pragma once

#include "unikernel/call.h"

/* Puts the tables of the subjects together; before the first call. */
void calls_init(void);

/* By number; entry.S calls through it. */
extern serve *calls_table[CALLS_IN_TABLE] __attribute__((__visibility__("hidden")));
