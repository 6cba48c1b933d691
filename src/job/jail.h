/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail.h - what a task gives up before it looks at hostile bytes. There is no way back.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/*
 * For a task that reads archives and trees itself: an empty root directory, no network, nothing writable
 * or readable but what is below `dirs` (and what is open), and only the system calls of files.
 */
int jail_files(const int *dirs, size_t dir_count, struct error *e) must_use;

/*
 * For a task that runs a program of the host over hostile bytes: it finds the system's files read-only and may
 * write below the directories among `opened` only; it can set owners but has no other right of root. The
 * program inherits `opened`, to be named as /proc/self/fd/N; files among them can be used as they were opened.
 */
int jail_program(const int *opened, size_t count, bool with_network, struct error *e) must_use;
