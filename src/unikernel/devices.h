/* SPDX-License-Identifier: Apache-2.0 */
/*
 * devices.h - the console and what else stands in /dev.
 */
#pragma once

#include "unikernel/file.h"
#include "unikernel/path.h"

/* Fills /dev below the root and opens descriptors 0 to 2. */
int devices_init(const struct boot *boot);

void devices_random(void *to, uint64_t size);
