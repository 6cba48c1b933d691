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

/* Random bytes come from this key from here on. */
void devices_seed(const uint8_t random[32]);
