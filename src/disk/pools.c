/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pools.c - the list of pool drivers.
 */
#include "disk/pools.h"

#include "base/text.h"
#include "disk/pool_btrfs.h"
#include "disk/pool_dir.h"
#include "disk/pool_loop.h"

/* Best first. */
static const struct pool_driver *const drivers[] = { &pool_btrfs, &pool_dir, &pool_loop };

const struct pool_driver *pools_find_driver(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (text_equal(drivers[i]->name, name))
			return drivers[i];
	return NULL;
}

char *pools_driver_names(void)
{
	struct text names = {};
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		text_printf(&names, "%s%s", i ? ", " : "", drivers[i]->name);
	return text_take(&names);
}

const struct pool_driver *pools_choose(const char *home, struct error *why_not)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (drivers[i]->probe(home, why_not) == 0)
			return drivers[i];
	/* Holds no sizes, but holds files. */
	return &pool_dir;
}

static struct pool *pool_new(const struct pool_driver *driver, const char *home)
{
	struct pool *pool = alloc(struct pool);
	pool->driver = driver;
	pool->home = alloc_text(home);
	pool->dir = -1;
	return pool;
}

int pools_make(const struct pool_driver *driver, const char *home,
	const struct pool_options *options, struct pool **ret, struct error *e)
{
	cleanup(pool_free) struct pool *pool = pool_new(driver, home);
	int r = driver->make(pool, options, e);
	if (r < 0) {
		/* The first reason counts. */
		(void)!driver->destroy(pool, NULL);
		return r;
	}
	*ret = TAKE_PTR(pool);
	return 0;
}

int pools_open(
	const struct pool_driver *driver, const char *home, struct pool **ret, struct error *e)
{
	cleanup(pool_free) struct pool *pool = pool_new(driver, home);
	int r = driver->open(pool, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(pool);
	return 0;
}
