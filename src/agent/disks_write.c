/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disks_write.c - an image to a disk while it comes: the network, the digest and the disk at once.
 *
 * Theory of operation. Buffers go round: one is filled from the stream and given to the kernel's SHA-256
 * (AF_ALG) while the others are being written by the kernel's asynchronous I/O (io_submit), past the page
 * cache (O_DIRECT), so that nothing is left to be flushed at the end.
 */
#include "agent/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "agent/hash.h"
#include "base/file.h"

#define BUFFERS      4
#define BUFFER_BYTES (1 * MIB)
#define BLOCK        4096
#define TELL_BYTES   (16 * MIB)

struct writer {
	int disk;
	aio_context_t context;
	struct iocb blocks[BUFFERS];
	bool is_busy[BUFFERS];
	uint8_t *memory;
	uint64_t at;
};

static int reap(struct writer *writer, long least, struct error *e)
{
	struct io_event events[BUFFERS];
	long n = syscall(SYS_io_getevents, writer->context, least, BUFFERS, events, NULL);
	if (n < 0)
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

static int free_buffer(struct writer *writer, size_t *ret, struct error *e)
{
	for (;;) {
		for (size_t i = 0; i < BUFFERS; i++)
			if (!writer->is_busy[i]) {
				*ret = i;
				return 0;
			}
		int r = reap(writer, 1, e);
		if (r < 0)
			return r;
	}
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

static int pump(struct writer *writer, struct call_stream *stream, int hash,
	disks_progress *progress, void *data, struct error *e)
{
	uint64_t told = 0;
	for (;;) {
		size_t which;
		int r = free_buffer(writer, &which, e);
		if (r < 0)
			return r;
		uint8_t *buffer = writer->memory + which * BUFFER_BYTES;
		ssize_t length = fill(stream, buffer);
		if (length < 0)
			return error_code(e, (int)length, "the image ends after %llu of %llu bytes",
				(unsigned long long)stream->done,
				(unsigned long long)stream->length);
		if (length == 0)
			return 0;
		r = hash_add(hash, buffer, (size_t)length, e);
		if (r == 0)
			r = submit(writer, which, (size_t)length, e);
		if (r < 0)
			return r;
		if (writer->at - told >= TELL_BYTES || writer->at == stream->length) {
			told = writer->at;
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

static void zero_beginning(int disk)
{
	uint64_t range[2] = { 0, BUFFER_BYTES };
	(void)ioctl(disk, BLKZEROOUT, range);
}

int disks_write(int disk, struct call_stream *stream, const char *digest, disks_progress *progress,
	void *data, struct error *e)
{
	struct writer writer = { .disk = disk };
	cleanup(close) int hash = -1;
	int r = hash_open(&hash, e);
	if (r < 0)
		return r;
	if (syscall(SYS_io_setup, BUFFERS, &writer.context) < 0)
		return error_errno(e, "asynchronous writes");
	writer.memory = mmap(NULL, BUFFERS * BUFFER_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (writer.memory == MAP_FAILED) {
		syscall(SYS_io_destroy, writer.context);
		return error_errno(e, "memory for the image");
	}
	r = pump(&writer, stream, hash, progress, data, e);
	int drained = drain(&writer, r < 0 ? NULL : e);
	r = r < 0 ? r : drained;
	if (r == 0)
		r = compare(hash, digest, e);
	if (r < 0)
		zero_beginning(disk);
	else if (fsync(disk) < 0)
		r = error_errno(e, "flush the disk");
	syscall(SYS_io_destroy, writer.context);
	munmap(writer.memory, BUFFERS * BUFFER_BYTES);
	return r;
}
