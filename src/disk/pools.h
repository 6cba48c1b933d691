/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pools.h - the list of pool drivers, and the choice among them.
 */
#pragma once

#include "disk/pool.h"

/* A driver by its name; NULL if there is none. */
const struct pool_driver *pools_find_driver(const char *name);

/* The names of all drivers, "btrfs, dir, loop"; the caller owns it. */
char *pools_driver_names(void) must_use;

/*
 * The first driver that can hold sizes in the directory `home` (which exists): measured, not guessed.
 * `why_not` gets what spoke against those before it.
 */
const struct pool_driver *pools_choose(const char *home, struct error *why_not);

/* Makes a pool in the empty directory `home`, and leaves it open. */
int pools_make(const struct pool_driver *driver, const char *home,
	const struct pool_options *options, struct pool **ret, struct error *e) must_use;

/* Opens the pool that stands in `home`. */
int pools_open(const struct pool_driver *driver, const char *home, struct pool **ret,
	struct error *e) must_use;
