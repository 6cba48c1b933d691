/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digest.h - SHA-256 over bytes as they pass.
 */
#pragma once

#include <nettle/sha2.h>

#include "base/base.h"
#include "base/error.h"

#define DIGEST_HEX_SIZE 65

struct digest {
	struct sha256_ctx state;
	uint64_t bytes;
};

void digest_start(struct digest *digest);
void digest_add(struct digest *digest, const void *data, size_t length);
void digest_end(struct digest *digest, char hex[DIGEST_HEX_SIZE]);

/* Adds what is left in `fd`, from its position on. */
int digest_add_rest(struct digest *digest, int fd, struct error *e) must_use;

/* Whether it is 64 lower-case hex digits. */
bool digest_is_hex(const char *hex);
