/* SPDX-License-Identifier: Apache-2.0 */
/*
 * large.h - memory that is used much, in large pages of the host.
 */
#pragma once

#include "base/base.h"

#define LARGE_BYTES (2 * MIB)

/*
 * Addresses without access: as many bytes, from `offset` behind a multiple of LARGE_BYTES on. MAP_FAILED and errno if there
 * are none.
 */
void *large_reserve(uint64_t bytes, uint64_t offset);

/* There with `access` (PROT_*): the first bytes of a file, shared, or (-1) memory of its own. */
void *large_map(uint64_t bytes, uint64_t offset, int access, int fd);

/*
 * Puts what stands at this multiple of LARGE_BYTES into one page, all of it: what was not there yet is there then, as zeroes.
 * False if the host has none, or cannot (Linux before 6.1); then all is as it was.
 */
bool large_collapse(void *at);
