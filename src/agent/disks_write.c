/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disks_write.c - an image to a disk while it comes: the network, the digest and the disk at once.
 *
 * Theory of operation. Buffers go round in their order: one is filled from the stream while those before it are being
 * written by the kernel's asynchronous I/O (io_submit), past the page cache (O_DIRECT), so that nothing is left to be
 * flushed at the end, and while a thread gives them to the kernel's SHA-256 (AF_ALG). One is filled anew when both are
 * done with it. So all of it takes as long as the slowest of the three.
 */
#include "agent/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "agent/clock.h"
#include "agent/hash.h"
#include "base/file.h"

#define BUFFERS      16
#define BUFFER_BYTES (1 * MIB)
#define BLOCK        4096
#define TELL_NS      (500 * NS_PER_MS)

/* What both threads see is under the lock. */
struct counter {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int hash;
	uint64_t given, counted; /* buffers, from the first on */
	bool is_over;            /* nothing more is given */
	int code;
	struct error why;
};

struct writer {
	int disk;
	aio_context_t context;
	struct iocb blocks[BUFFERS];
	bool is_busy[BUFFERS];
	size_t lengths[BUFFERS];
	uint8_t *memory;
	uint64_t at;
	struct counter counter;
};

static void *count(void *data)
{
	struct writer *writer = data;
	struct counter *counter = &writer->counter;
	pthread_mutex_lock(&counter->lock);
	while (counter->code == 0) {
		if (counter->counted == counter->given && counter->is_over)
			break;
		if (counter->counted == counter->given) {
			pthread_cond_wait(&counter->changed, &counter->lock);
			continue;
		}
		size_t which = (size_t)(counter->counted % BUFFERS);
		struct error why = {};
		pthread_mutex_unlock(&counter->lock);
		int r = hash_add(counter->hash, writer->memory + which * BUFFER_BYTES,
			writer->lengths[which], &why);
		pthread_mutex_lock(&counter->lock);
		counter->counted++;
		counter->code = r;
		counter->why = why;
		pthread_cond_broadcast(&counter->changed);
	}
	pthread_mutex_unlock(&counter->lock);
	return NULL;
}

static int counter_start(struct writer *writer, struct error *e)
{
	struct counter *counter = &writer->counter;
	pthread_mutex_init(&counter->lock, NULL);
	pthread_cond_init(&counter->changed, NULL);
	int r = pthread_create(&counter->thread, NULL, count, writer);
	return r ? error_code(e, -r, "begin to count the SHA-256") : 0;
}

/* All that was given is counted. */
static int counter_end(struct counter *counter, struct error *e)
{
	pthread_mutex_lock(&counter->lock);
	counter->is_over = true;
	pthread_cond_broadcast(&counter->changed);
	pthread_mutex_unlock(&counter->lock);
	pthread_join(counter->thread, NULL);
	if (counter->code < 0 && e)
		*e = counter->why;
	return counter->code;
}

static void counter_give(struct counter *counter)
{
	pthread_mutex_lock(&counter->lock);
	counter->given++;
	pthread_cond_broadcast(&counter->changed);
	pthread_mutex_unlock(&counter->lock);
}

/* Until the n-th buffer is counted. */
static int counter_wait(struct counter *counter, uint64_t n, struct error *e)
{
	pthread_mutex_lock(&counter->lock);
	while (counter->code == 0 && counter->counted <= n)
		pthread_cond_wait(&counter->changed, &counter->lock);
	int r = counter->code;
	if (r < 0)
		*e = counter->why;
	pthread_mutex_unlock(&counter->lock);
	return r;
}

static int reap(struct writer *writer, long least, struct error *e)
{
	struct io_event events[BUFFERS];
	long n = syscall(SYS_io_getevents, writer->context, least, BUFFERS, events, NULL);
	if (n < 0 && errno != EINTR)
		return error_errno(e, "wait for the disk");
	for (long i = 0; i < n; i++) {
		size_t which = (size_t)events[i].data;
		writer->is_busy[which] = false;
		if ((int64_t)events[i].res < 0)
			return error_code(e, (int)events[i].res, "write to the disk");
		if ((uint64_t)events[i].res != writer->blocks[which].aio_nbytes)
			return error_set(e, -EIO, "the disk took a part only");
	}
	return 0;
}

/* The n-th buffer's place is free: the disk and the digest are done with what was there. */
static int wait_for_place(struct writer *writer, uint64_t n, struct error *e)
{
	int r = 0;
	while (r == 0 && writer->is_busy[n % BUFFERS])
		r = reap(writer, 1, e);
	return r == 0 && n >= BUFFERS ? counter_wait(&writer->counter, n - BUFFERS, e) : r;
}

static int submit(struct writer *writer, size_t which, size_t length, struct error *e)
{
	struct iocb *block = &writer->blocks[which];
	uint8_t *buffer = writer->memory + which * BUFFER_BYTES;
	size_t padded = (length + BLOCK - 1) / BLOCK * BLOCK;
	memset(buffer + length, 0, padded - length);
	*block = (struct iocb){ .aio_data = which,
		.aio_lio_opcode = IOCB_CMD_PWRITE,
		.aio_fildes = (uint32_t)writer->disk,
		.aio_buf = (uint64_t)(uintptr_t)buffer,
		.aio_nbytes = padded,
		.aio_offset = (int64_t)writer->at };
	if (syscall(SYS_io_submit, writer->context, 1, &block) != 1)
		return error_errno(e, "begin a write");
	writer->is_busy[which] = true;
	writer->at += length;
	return 0;
}

static int drain(struct writer *writer, struct error *e)
{
	int r = 0;
	for (size_t i = 0; i < BUFFERS; i++)
		while (writer->is_busy[i] && r == 0)
			r = reap(writer, 1, e);
	return r;
}

/* Up to a whole buffer, or what is left. */
static ssize_t fill(struct call_stream *stream, uint8_t *buffer)
{
	size_t have = 0;
	while (have < BUFFER_BYTES) {
		ssize_t n = call_read(stream, buffer + have, BUFFER_BYTES - have);
		if (n < 0)
			return n;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

static int pump(struct writer *writer, struct call_stream *stream, disks_progress *progress,
	void *data, struct error *e)
{
	uint64_t told_ns = 0;
	for (uint64_t n = 0;; n++) {
		size_t which = (size_t)(n % BUFFERS);
		int r = wait_for_place(writer, n, e);
		if (r < 0)
			return r;
		ssize_t length = fill(stream, writer->memory + which * BUFFER_BYTES);
		if (length < 0)
			return error_code(e, (int)length, "the image ends after %llu of %llu bytes",
				(unsigned long long)stream->done,
				(unsigned long long)stream->length);
		if (length == 0)
			return 0;
		writer->lengths[which] = (size_t)length;
		r = submit(writer, which, (size_t)length, e);
		if (r < 0)
			return r;
		counter_give(&writer->counter);
		/* The disk and the digest have enough to do meanwhile. */
		if (now_ns() - told_ns >= TELL_NS) {
			told_ns = now_ns();
			progress(data, writer->at, stream->length);
		}
	}
}

static int compare(int hash, const char *digest, struct error *e)
{
	char hex[HASH_HEX_SIZE];
	int r = hash_end(hash, hex, e);
	if (r == 0 && !text_equal(hex, digest))
		r = error_set(
			e, -EBADMSG, "the image came with SHA-256 %s, not %.64s", hex, digest);
	return r;
}

/* All of it at once, until each part is over. */
static int copy(struct writer *writer, struct call_stream *stream, disks_progress *progress,
	void *data, struct error *e)
{
	int r = counter_start(writer, e);
	if (r < 0)
		return r;
	r = pump(writer, stream, progress, data, e);
	int drained = drain(writer, r < 0 ? NULL : e);
	r = r < 0 ? r : drained;
	int counted = counter_end(&writer->counter, r < 0 ? NULL : e);
	return r < 0 ? r : counted;
}

static void zero_beginning(int disk)
{
	uint64_t range[2] = { 0, BUFFER_BYTES };
	(void)ioctl(disk, BLKZEROOUT, range);
}

int disks_write(int disk, struct call_stream *stream, const char *digest, disks_progress *progress,
	void *data, struct error *e)
{
	struct writer writer = { .disk = disk, .counter = { .hash = -1 } };
	int r = hash_open(&writer.counter.hash, e);
	if (r < 0)
		return r;
	cleanup(close) int hash = writer.counter.hash;
	if (syscall(SYS_io_setup, BUFFERS, &writer.context) < 0)
		return error_errno(e, "asynchronous writes");
	writer.memory = mmap(NULL, BUFFERS * BUFFER_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (writer.memory == MAP_FAILED) {
		syscall(SYS_io_destroy, writer.context);
		return error_errno(e, "memory for the image");
	}
	r = copy(&writer, stream, progress, data, e);
	if (r == 0)
		r = compare(hash, digest, e);
	if (r < 0)
		zero_beginning(disk);
	else if (fsync(disk) < 0)
		r = error_errno(e, "flush the disk");
	/* Its writes are over by then, also after a failure: they are of the memory below. */
	syscall(SYS_io_destroy, writer.context);
	munmap(writer.memory, BUFFERS * BUFFER_BYTES);
	return r;
}
