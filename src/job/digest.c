/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digest.c - SHA-256 by nettle.
 */
#include "job/digest.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

#define BLOCK_BYTES (256 * KIB)

void digest_start(struct digest *digest)
{
	sha256_init(&digest->state);
	digest->bytes = 0;
}

void digest_add(struct digest *digest, const void *data, size_t length)
{
	sha256_update(&digest->state, length, data);
	digest->bytes += length;
}

void digest_end(struct digest *digest, char hex[DIGEST_HEX_SIZE])
{
	uint8_t bytes[SHA256_DIGEST_SIZE];
	sha256_digest(&digest->state, sizeof(bytes), bytes);
	text_hex(bytes, sizeof(bytes), hex);
}

int digest_add_rest(struct digest *digest, int fd, struct error *e)
{
	cleanup(free) char *block = alloc_array(BLOCK_BYTES, char);
	for (;;) {
		ssize_t got = read(fd, block, BLOCK_BYTES);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_errno(e, "read");
		if (got == 0)
			return 0;
		digest_add(digest, block, (size_t)got);
	}
}

bool digest_is_hex(const char *hex)
{
	return strlen(hex) == 64 && strspn(hex, "0123456789abcdef") == 64;
}
