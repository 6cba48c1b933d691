/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pools.h - storage pools made and removed.
 */
#pragma once

#include "daemon/storage/volumes.h"

/*
 * Makes a pool; `record` {"driver", "description", "config"} is kept with it. All that can be refused is
 * refused before it returns; `done` comes later.
 */
int pool_create(struct storage *storage, const char *name, const struct pool_driver *driver,
	uint64_t size_bytes, json_t *record, storage_done *done, void *data,
	struct error *e) must_use;

/* Removes a pool that nobody uses, at once. -EINVAL if somebody does. */
int pool_delete(struct storage *storage, const char *name, struct error *e) must_use;
