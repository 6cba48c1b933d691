/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.c - a fixed amount of transfers past the page cache, several at a time.
 *
 * usage: disk DEVICE read|write|flush sequential|random BLOCK COUNT THREADS
 *
 * flush writes a block and waits until it is on the medium, each time.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "suite.h"

#define THREADS_MAX 32

struct work {
	pthread_t thread;
	int fd, number;
	int is_write, is_flush, is_random;
	uint64_t block, count, first, blocks;
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void *transfer(void *data)
{
	const struct work *work = data;
	uint64_t state = 88172645463325252u + (uint64_t)work->number;
	uint8_t *buffer = aligned_alloc(4096, work->block);
	if (!buffer)
		fail("memory");
	memset(buffer, 0x5a, work->block);
	for (uint64_t i = 0; i < work->count; i++) {
		uint64_t at = work->is_random ? random_next(&state) : work->first + i;
		off_t offset = (off_t)(at % work->blocks * work->block);
		ssize_t n = work->is_write ? pwrite(work->fd, buffer, work->block, offset)
					   : pread(work->fd, buffer, work->block, offset);
		if (n != (ssize_t)work->block)
			fail("transfer");
		if (work->is_flush && fdatasync(work->fd) < 0)
			fail("flush");
	}
	free(buffer);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct work works[THREADS_MAX];
	if (argc != 7)
		return 2;
	int fd = open(argv[1], O_RDWR | O_DIRECT);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (size <= 0)
		fail(argv[1]);
	uint64_t block = strtoull(argv[4], NULL, 0), count = strtoull(argv[5], NULL, 0);
	int threads = atoi(argv[6]);
	if (block == 0 || threads < 1 || threads > THREADS_MAX)
		return 2;
	for (int i = 0; i < threads; i++) {
		struct work *work = &works[i];
		*work = (struct work){ .fd = fd, .number = i, .block = block };
		work->is_flush = strcmp(argv[2], "flush") == 0;
		work->is_write = work->is_flush || strcmp(argv[2], "write") == 0;
		work->is_random = strcmp(argv[3], "random") == 0;
		work->count = count / (uint64_t)threads;
		work->first = (uint64_t)i * work->count;
		work->blocks = (uint64_t)size / block;
		if (pthread_create(&work->thread, NULL, transfer, work) != 0)
			fail("thread");
	}
	for (int i = 0; i < threads; i++)
		pthread_join(works[i].thread, NULL);
	return 0;
}
