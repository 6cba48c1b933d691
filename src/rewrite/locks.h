/* SPDX-License-Identifier: Apache-2.0 */
/*
 * locks.h - takes the lock off atomic instructions of a program that has a processor for itself.
 */
#pragma once

#include "rewrite/sites.h"

/* In `image`, a copy of the program's bytes; returns how many. */
uint32_t locks_remove(const struct elf *elf, const struct sites *sites, uint8_t *image);
