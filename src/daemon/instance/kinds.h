/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kinds.h - the list of the kinds of instances.
 */
#pragma once

#include "kind/kind.h"

/* By the API's `type`; "" and NULL are "container". -EINVAL with "type: ..." for one there is none of. */
int kinds_find(const char *type, const struct kind **ret, struct error *e) must_use;
