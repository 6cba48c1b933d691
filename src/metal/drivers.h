/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drivers.h - the list of drivers for BMCs.
 */
#pragma once

#include "metal/bmc.h"

/* -EINVAL if there is none of that name. */
int drivers_find(const char *name, const struct bmc_driver **ret, struct error *e) must_use;
