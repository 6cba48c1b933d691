/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_btrfs.h - the pool driver `btrfs`.
 */
#pragma once

#include "disk/pool.h"

extern const struct pool_driver pool_btrfs;
