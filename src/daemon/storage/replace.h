/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replace.h - a volume's content replaced as a whole, also when the daemon is killed meanwhile.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "daemon/storage/volume_ref.h"

struct storage;
struct storage_pool;

/* At start: what a killed daemon began is put right. -ENOENT if there is no content at all. */
int storage_replace_mend(struct storage *storage, struct storage_pool *pool,
	const struct volume_ref *ref, json_t *record, struct error *e) must_use;
