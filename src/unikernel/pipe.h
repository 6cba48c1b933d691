/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipe.h - bytes from one file to another: pipes, and pairs of connected unix stream sockets.
 */
#pragma once

#include "unikernel/file.h"

int64_t pipe_new(uint32_t flags, struct file **ret_read, struct file **ret_write);
int64_t pipe_new_pair(uint32_t flags, struct file **ret_a, struct file **ret_b);

bool pipe_is_socket(const struct file *file);
int64_t pipe_shutdown(struct file *file, int how);
