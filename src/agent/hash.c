/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash.c - AF_ALG, by the quickest of the kernel's implementations.
 *
 * The kernel takes the one that should be the quickest: with the widest vectors. Where those are emulated it is the
 * slowest, so each is timed once.
 */
#include "agent/hash.h"

#include <errno.h>
#include <linux/if_alg.h>
#include <stdio.h>
#include <sys/socket.h>

#include "agent/clock.h"
#include "base/text.h"

#define DIGEST_BYTES 32
#define SAMPLE_BYTES (64 * KIB)

static const char *const names[] = { "sha256-ni", "sha256-avx2", "sha256-avx", "sha256-ssse3",
	"sha256-generic" };
static const char *quickest;

static int open_name(const char *text, int *ret, struct error *e)
{
	struct sockaddr_alg name = { .salg_family = AF_ALG, .salg_type = "hash" };
	snprintf((char *)name.salg_name, sizeof(name.salg_name), "%s", text);
	cleanup(close) int fd = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0)
		return error_errno(e, "the kernel has no SHA-256");
	int hash = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	if (hash < 0)
		return error_errno(e, "begin a SHA-256");
	*ret = hash;
	return 0;
}

static void find_quickest(void)
{
	uint64_t least = UINT64_MAX;
	cleanup(free) uint8_t *sample = alloc_array(SAMPLE_BYTES, uint8_t);
	quickest = "sha256";
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup(close) int hash = -1;
		if (open_name(names[i], &hash, NULL) < 0)
			continue;
		uint64_t begin = now_ns();
		if (hash_add(hash, sample, SAMPLE_BYTES, NULL) < 0 || now_ns() - begin >= least)
			continue;
		least = now_ns() - begin;
		quickest = names[i];
	}
}

const char *hash_quickest(void)
{
	if (!quickest)
		find_quickest();
	return quickest;
}

int hash_open(int *ret, struct error *e)
{
	return open_name(hash_quickest(), ret, e);
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
