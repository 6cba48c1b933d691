/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block.h - the file of a block volume in a pool of directories: bytes without a file system that berth knows.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

#define BLOCK_FILE          "disk.img"
#define BLOCK_DEFAULT_BYTES (10 * GIB)
#define BLOCK_SECTOR        512

/*
 * What a volume's limit must be for a disk of that size to be filled to its last byte: the file system
 * that the file is on keeps its own notes of it.
 */
uint64_t block_limit(uint64_t size_bytes);

/* Makes the sparse file in the volume's directory, of whole sectors. Size 0: BLOCK_DEFAULT_BYTES. */
int block_make(int dir, uint64_t size_bytes, struct error *e) must_use;

/* Grows it; size 0 keeps it. -EINVAL for a smaller one: nobody but its owner knows what stands at its end. */
int block_grow(int dir, uint64_t size_bytes, struct error *e) must_use;
/* The same for a file that is open. */
int block_grow_file(int fd, uint64_t size_bytes, struct error *e) must_use;
