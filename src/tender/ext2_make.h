/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ext2_make.h - an empty ext2 on a volume of which nothing was ever written.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/*
 * 1 if it was made; 0 if it was not tried: something was written on it, it is no file with holes, or it is smaller than
 * a MiB. One that was left half made is made anew. What it makes is what mke2fs makes with blocks of 4096 bytes and inodes of 256, one for each 16 KiB.
 */
int ext2_make(int fd, uint64_t bytes, struct error *e) must_use;
