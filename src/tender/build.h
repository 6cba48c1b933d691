/* SPDX-License-Identifier: Apache-2.0 */
/*
 * build.h - has the image made that a unikernel starts from, and the file system of its storage, by a berth-job in
 * its jail.
 */
#pragma once

#include "tender/plan.h"

/* The image of the plan is there afterwards; -ENOEXEC says why its program cannot run. */
int build_image(const struct tender_plan *plan, struct error *e) must_use;

/* The path of another program of ours: beside this one when installed, in its folder when built. */
char *build_beside(const char *name, const char *built);

/* The volume has a clean file system as large as itself, unless somebody else's bytes are on it. */
int build_volume(int fd, uint64_t bytes, struct error *e) must_use;
