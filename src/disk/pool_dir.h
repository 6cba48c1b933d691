/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_dir.h - the pool driver `dir`.
 */
#pragma once

#include "disk/pool.h"

extern const struct pool_driver pool_dir;
