/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.c - what all pools have in common.
 */
#include "disk/pool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/text.h"
#include "disk/block.h"

static const char *const uses[] = {
	[VOLUME_ROOT] = "root",
	[VOLUME_CONTENT] = "content",
	[VOLUME_BLOCK] = "block",
};

const char *volume_use_name(enum volume_use use)
{
	return uses[use];
}

enum volume_use volume_use_read(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(uses); i++)
		if (text_equal(uses[i], name))
			return (enum volume_use)i;
	return VOLUME_CONTENT;
}

char *pool_block_path(const struct pool *pool, const char *name)
{
	cleanup(free) char *path = pool_volume_path(pool, name);
	if (pool->driver->stands_as(pool, name) == VOLUME_IMAGE)
		return TAKE_PTR(path);
	return alloc_printf("%s/%s", path, BLOCK_FILE);
}

char *pool_volume_path(const struct pool *pool, const char *name)
{
	const char *end = pool->driver->stands_as(pool, name) == VOLUME_IMAGE ? ".img" : "";
	return alloc_printf("%s/%s%s", pool->volumes, name, end);
}

int pool_space_of_files(struct pool *pool, struct pool_space *ret, struct error *e)
{
	struct statvfs space;
	if (fstatvfs(pool->dir, &space) < 0)
		return error_errno(e, "measure %s", pool->volumes);
	*ret = (struct pool_space){
		.total_bytes = (uint64_t)space.f_blocks * space.f_frsize,
		.used_bytes = (uint64_t)(space.f_blocks - space.f_bfree) * space.f_frsize,
		.total_inodes = space.f_files,
		.used_inodes = space.f_files - space.f_ffree,
	};
	return 0;
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
