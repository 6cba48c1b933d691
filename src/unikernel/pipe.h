/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipe.h - bytes from one file to another.
 */
#pragma once

#include "unikernel/file.h"

int64_t pipe_new(uint32_t flags, struct file **ret_read, struct file **ret_write);
