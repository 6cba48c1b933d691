/* SPDX-License-Identifier: Apache-2.0 */
/*
 * erofs.h - the read-only image below the tree: uncompressed erofs as mkfs.erofs writes it.
 */
#pragma once

#include "unikernel/node.h"

/* The root directory of an image; -EINVAL if it is none or is one that this reader does not know. */
int erofs_root(const void *image, uint64_t size, struct node **ret);
