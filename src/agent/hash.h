/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash.h - SHA-256, which the kernel counts.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

#define HASH_HEX_SIZE 65

/* What the kernel counts with here: "sha256-avx2"; each of its ways was timed once. */
const char *hash_quickest(void);
/* *ret is a descriptor. */
int hash_open(int *ret, struct error *e) must_use;
int hash_add(int hash, const uint8_t *bytes, size_t length, struct error *e) must_use;
int hash_end(int hash, char hex[HASH_HEX_SIZE], struct error *e) must_use;
