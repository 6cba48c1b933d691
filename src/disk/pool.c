/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.c - what all pools have in common.
 */
#include "disk/pool.h"

#include <fcntl.h>
#include <sys/stat.h>

char *pool_volume_path(const struct pool *pool, const char *name)
{
	const char *end = pool->driver->stands_as(pool, name) == VOLUME_IMAGE ? ".img" : "";
	return alloc_printf("%s/%s%s", pool->volumes, name, end);
}

bool pool_has_volume(const struct pool *pool, const char *name)
{
	cleanup(free) char *path = pool_volume_path(pool, name);
	return access(path, F_OK) == 0;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	if (pool->dir >= 0)
		close(pool->dir);
	free(pool->home);
	free(pool->volumes);
	free(pool);
}
