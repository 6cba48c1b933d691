/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opened.h - open regular files and directories, and files whose text is made when they are opened.
 */
#pragma once

#include "unikernel/file.h"
#include "unikernel/node.h"

/* Opens a node that is there; O_TRUNC is carried out. 0 with *ret, or -errno. */
int64_t opened_new(struct node *node, uint32_t flags, const char *path, struct file **ret);

bool opened_is_directory(const struct file *file);

/* getdents64: bytes, 0 at the end, -EINVAL if `size` is too small for one entry. */
int64_t opened_list(struct file *file, uint8_t *to, uint64_t size);
