/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - reads plan.json (doc/plan.md) into struct container.
 */
#pragma once

#include "container/container.h"

#define PLAN_BYTES_MAX MIB

/* -EINVAL with the member's path; the caller frees *ret with container_free(). */
int plan_read(const char *text, size_t length, struct container **ret, struct error *e) must_use;

/* The same from a file below `dir`. */
int plan_read_file(int dir, const char *path, struct container **ret, struct error *e) must_use;
