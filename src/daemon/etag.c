/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etag.c - SHA-256 over canonical JSON.
 */
#include "daemon/etag.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "base/text.h"

void etag_of(const json_t *object, char etag[ETAG_SIZE])
{
	cleanup(free) char *text =
		json_dumps(object, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY);
	unsigned char digest[32] = {};
	const char *bytes = text ? text : "";
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes, strlen(bytes), digest) < 0)
		abort(); /* the library has no SHA-256: nothing here would be true */
	text_hex(digest, sizeof(digest), etag);
}
