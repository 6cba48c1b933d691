/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_loop.h - the pool driver `loop`.
 */
#pragma once

#include "disk/pool.h"

extern const struct pool_driver pool_loop;
