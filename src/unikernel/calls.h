/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.h - the table of all system calls.
 */
#pragma once

#include "unikernel/call.h"

/* Puts the tables of the subjects together; before the first call. */
void calls_init(void);
