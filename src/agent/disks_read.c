/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disks_read.c - a disk to the daemon, in pieces; those of zeros are not sent.
 */
#include "agent/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "agent/hash.h"
#include "base/file.h"

#define PIECE_BYTES  (4 * MIB)
#define TRIES        300
#define AGAIN_SECOND 1

static bool is_zero(const uint8_t *bytes, size_t length)
{
	return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

/* The daemon may be restarting: a piece is sent until it was taken, or the daemon refuses it. */
static int send_piece(const struct call_server *server, const char *to, uint64_t at,
	const uint8_t *bytes, size_t length, struct error *e)
{
	const struct timespec again = { .tv_sec = AGAIN_SECOND };
	char path[96];
	int r = -EIO;
	snprintf(path, sizeof(path), "%s?at=%llu", to, (unsigned long long)at);
	for (int i = 0; i < TRIES; i++) {
		cleanup(text_done) struct text answer = {};
		r = call_send(server, "POST", path, bytes, length, &answer, e);
		if (r != -EPIPE && r != -ECONNREFUSED && r != -ECONNRESET && r != -ETIMEDOUT)
			break;
		nanosleep(&again, NULL);
	}
	return r;
}

static int read_piece(int disk, uint8_t *buffer, uint64_t at, size_t length, struct error *e)
{
	for (size_t have = 0; have < length;) {
		ssize_t n = pread(disk, buffer + have, length - have, (off_t)(at + have));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? error_errno(e, "read the disk at %llu",
					       (unsigned long long)(at + have))
				     : error_set(e, -EIO, "the disk ends at %llu",
					       (unsigned long long)(at + have));
		have += (size_t)n;
	}
	return 0;
}

int disks_read(int disk, uint64_t bytes, const struct call_server *server, const char *to,
	disks_progress *progress, void *data, char ret_digest[HASH_HEX_SIZE], struct error *e)
{
	cleanup(close) int hash = -1;
	uint8_t *buffer =
		mmap(NULL, PIECE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED)
		return error_errno(e, "memory for the disk");
	int r = hash_open(&hash, e);
	for (uint64_t at = 0; r == 0 && at < bytes;) {
		size_t length = bytes - at < PIECE_BYTES ? (size_t)(bytes - at) : PIECE_BYTES;
		r = read_piece(disk, buffer, at, length, e);
		if (r == 0)
			r = hash_add(hash, buffer, length, e);
		if (r == 0 && !is_zero(buffer, length))
			r = send_piece(server, to, at, buffer, length, e);
		at += length;
		if (r == 0 && (at % (16 * PIECE_BYTES) == 0 || at == bytes))
			progress(data, at, bytes);
	}
	if (r == 0)
		r = hash_end(hash, ret_digest, e);
	munmap(buffer, PIECE_BYTES);
	return r;
}
