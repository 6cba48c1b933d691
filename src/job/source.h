/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source.h - opens what a plan document calls a volume or a root, where only this process sees it.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"

/*
 * {"type": "directory", "path"} or {"type": "image", "path", "fs"}: the open directory of its content.
 */
int source_open_volume(const json_t *volume, bool is_read_only, struct error *e) must_use;

/*
 * {"layers": [paths, top first], "volume": {...}}: the open directory of the whole root, read-only. Over a volume
 * of bytes only the layers are seen: what a guest's kernel made of those is not for ours to read.
 */
int source_open_root(const json_t *root, struct error *e) must_use;

/* The file of {"type": "block", "path"}, for reading and with `is_written` for writing, too. */
int source_open_block(const json_t *volume, bool is_written, struct error *e) must_use;
bool source_is_block(const json_t *volume);
