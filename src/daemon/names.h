/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.h - which names users may give to objects.
 */
#pragma once

#include "base/error.h"

/*
 * 1 to 64 letters, digits, '-', '_' and '.', the first a letter or digit: for profiles, projects, pools,
 * volumes. -EINVAL: `FIELD: "..." is no name`.
 */
int name_check(const char *field, const char *name, struct error *e) must_use;
