/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map.h - bytes of files in memory.
 */
#pragma once

#include "unikernel/node.h"

/*
 * As memory_map(), with what the file has from `offset` (whole pages) on: the image's own pages where it has them, else
 * a copy; zero behind its end. -EACCES for executable bytes that are not the image's.
 */
int64_t map_file(uint64_t address, uint64_t size, uint64_t rights, uint64_t flags,
	struct node *node, uint64_t offset);

/* How many bytes from `offset` on stand in whole pages of the image, the first at *ret_from; 0: none. */
uint64_t map_image_bytes(const struct node *node, uint64_t offset, uint64_t *ret_from);
