/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routes.h - all collections of the API.
 */
#pragma once

#include "daemon/api.h"

/* Tables of routes; NULL is last. */
extern const struct route *const routes[];
