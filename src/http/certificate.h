/* SPDX-License-Identifier: Apache-2.0 */
/*
 * certificate.h - X.509 certificates: makes a server's own, reads a client's.
 *
 * Nobody here believes a signature: a certificate is known by its fingerprint, as ssh knows a key.
 */
#pragma once

#include "base/error.h"

#define FINGERPRINT_SIZE     65 /* SHA-256 in hex */
#define CERTIFICATE_MAX_SIZE 65536

struct certificate {
	char fingerprint[FINGERPRINT_SIZE];
	char *pem;
	uint64_t from_s, until_s; /* since the epoch */
};

void certificate_done(struct certificate *certificate);
static inline void certificate_done_cleanup(struct certificate *local)
{
	certificate_done(local);
}

/* PEM, DER in base64 (as clients send it), or DER. -EINVAL if it is none of them. */
int certificate_read(
	const void *bytes, size_t length, struct certificate *ret, struct error *e) must_use;

/* A new key (ECDSA P-384) and its self-signed certificate for `host`, both PEM; the caller owns them. */
int certificate_make(
	const char *host, char **ret_certificate, char **ret_key, struct error *e) must_use;
