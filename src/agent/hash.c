/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash.c - AF_ALG.
 */
#include "agent/hash.h"

#include <errno.h>
#include <linux/if_alg.h>
#include <sys/socket.h>

#include "base/text.h"

#define DIGEST_BYTES 32

int hash_open(int *ret, struct error *e)
{
	struct sockaddr_alg name = {
		.salg_family = AF_ALG, .salg_type = "hash", .salg_name = "sha256"
	};
	cleanup(close) int fd = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0)
		return error_errno(e, "the kernel has no SHA-256");
	int hash = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	if (hash < 0)
		return error_errno(e, "begin a SHA-256");
	*ret = hash;
	return 0;
}

int hash_add(int hash, const uint8_t *bytes, size_t length, struct error *e)
{
	while (length > 0) {
		ssize_t n = send(hash, bytes, length, MSG_MORE);
		if (n < 0)
			return error_errno(e, "count the SHA-256");
		bytes += n;
		length -= (size_t)n;
	}
	return 0;
}

int hash_end(int hash, char hex[HASH_HEX_SIZE], struct error *e)
{
	uint8_t bytes[DIGEST_BYTES];
	if (send(hash, NULL, 0, 0) < 0 || read(hash, bytes, sizeof(bytes)) != sizeof(bytes))
		return error_errno(e, "end the SHA-256");
	text_hex(bytes, sizeof(bytes), hex);
	return 0;
}
