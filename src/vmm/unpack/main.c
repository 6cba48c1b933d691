/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - berth-unpack: unpacks the payload of a Linux kernel, jailed, and goes.
 *
 * usage: berth-unpack OFFSET BYTES     the kernel is standard input, the program goes to standard output
 *
 * A kernel may come from anybody, and a decompressor is much code: it runs in a process of its own that
 * can read the one file and write the other. The format is known by its first bytes.
 */
#include <bzlib.h>
#include <errno.h>
#include <fcntl.h>
#include <lz4.h>
#include <lzma.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "host/jail.h"

#define PAYLOAD_MAX (512 * MIB)
#define OUTPUT_MAX  (1 * GIB)
#define CHUNK       (1 * MIB)
#define LZ4_BLOCK   (8 * MIB)
#define MEMORY_MAX  (256 * MIB)
#define PAGE        ((size_t)4096)

struct job {
	const uint8_t *in;
	size_t in_bytes;
	uint8_t *out; /* CHUNK bytes */
	uint64_t written;
	bool is_sparse; /* the output is an empty file, in which pages of zeroes need not be */
	struct error *e;
};

static bool is_zero(const uint8_t *data, size_t bytes)
{
	return data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0;
}

/* How many of the bytes are written next: all up to a page of zeroes. With `is_hole`: how many are in such pages. */
static size_t run_of(const uint8_t *data, size_t bytes, uint64_t at, bool is_hole)
{
	size_t run = is_hole ? 0 : (size_t)(-at % PAGE);
	while (run + PAGE <= bytes && is_zero(data + run, PAGE) == is_hole)
		run += PAGE;
	return is_hole ? run : run + PAGE <= bytes ? run : bytes;
}

static int put(struct job *job, const void *data, size_t bytes)
{
	uint64_t at = job->written;
	int r = 0;
	job->written += bytes;
	if (job->written > OUTPUT_MAX)
		return error_set(
			job->e, -E2BIG, "it unpacks to more than %ju bytes", (uintmax_t)OUTPUT_MAX);
	for (const uint8_t *next = data; r == 0 && bytes > 0;) {
		size_t hole = job->is_sparse && at % PAGE == 0 ? run_of(next, bytes, at, true) : 0;
		size_t run = job->is_sparse ? run_of(next, bytes, at, false) : bytes;
		if (hole == 0)
			r = file_write_all(STDOUT_FILENO, next, run);
		else if (lseek(STDOUT_FILENO, (off_t)hole, SEEK_CUR) < 0)
			r = -errno;
		run = hole ? hole : run;
		next += run;
		at += run;
		bytes -= run;
	}
	return r < 0 ? error_code(job->e, r, "write what was unpacked") : 0;
}

/* What ends with a hole is as long as if it did not. */
static int finish(struct job *job)
{
	if (job->is_sparse && ftruncate(STDOUT_FILENO, (off_t)job->written) < 0)
		return error_errno(job->e, "write what was unpacked");
	return 0;
}

static bool is_empty_file(int fd)
{
	struct stat status;
	int flags = fcntl(fd, F_GETFL);
	return flags >= 0 && !(flags & O_APPEND) && fstat(fd, &status) == 0 &&
		S_ISREG(status.st_mode) && status.st_size == 0 && lseek(fd, 0, SEEK_CUR) == 0;
}

static int corrupt(struct job *job, const char *format)
{
	return error_set(job->e, -EINVAL, "its %s payload is corrupt or cut off", format);
}

static int unpack_gzip(struct job *job)
{
	z_stream stream = { .next_in = (uint8_t *)(uintptr_t)job->in,
		.avail_in = (uInt)job->in_bytes };
	if (inflateInit2(&stream, 15 + 16) != Z_OK)
		return corrupt(job, "gzip");
	int r = 0, status = Z_OK;
	while (r == 0 && status == Z_OK) {
		stream.next_out = job->out;
		stream.avail_out = CHUNK;
		status = inflate(&stream, Z_NO_FLUSH);
		if (status == Z_OK && stream.avail_out == CHUNK)
			break;
		if (status == Z_OK || status == Z_STREAM_END)
			r = put(job, job->out, CHUNK - stream.avail_out);
	}
	inflateEnd(&stream);
	return r < 0 || status == Z_STREAM_END ? r : corrupt(job, "gzip");
}

static int run_lzma(struct job *job, lzma_stream *stream, const char *format)
{
	int r = 0;
	lzma_ret status = LZMA_OK;
	stream->next_in = job->in;
	stream->avail_in = job->in_bytes;
	while (r == 0 && status == LZMA_OK) {
		stream->next_out = job->out;
		stream->avail_out = CHUNK;
		status = lzma_code(stream, LZMA_RUN);
		if (status == LZMA_OK && stream->avail_out == CHUNK)
			break;
		if (status == LZMA_OK || status == LZMA_STREAM_END)
			r = put(job, job->out, CHUNK - stream->avail_out);
	}
	lzma_end(stream);
	return r < 0 || status == LZMA_STREAM_END ? r : corrupt(job, format);
}

static int unpack_xz(struct job *job)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	if (lzma_stream_decoder(&stream, MEMORY_MAX, 0) != LZMA_OK)
		return corrupt(job, "xz");
	return run_lzma(job, &stream, "xz");
}

static int unpack_lzma(struct job *job)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	if (lzma_alone_decoder(&stream, MEMORY_MAX) != LZMA_OK)
		return corrupt(job, "lzma");
	return run_lzma(job, &stream, "lzma");
}

static int unpack_bzip2(struct job *job)
{
	bz_stream stream = { .next_in = (char *)(uintptr_t)job->in,
		.avail_in = (unsigned)job->in_bytes };
	if (BZ2_bzDecompressInit(&stream, 0, 0) != BZ_OK)
		return corrupt(job, "bzip2");
	int r = 0, status = BZ_OK;
	while (r == 0 && status == BZ_OK) {
		stream.next_out = (char *)job->out;
		stream.avail_out = CHUNK;
		status = BZ2_bzDecompress(&stream);
		if (status == BZ_OK && stream.avail_out == CHUNK)
			break;
		if (status == BZ_OK || status == BZ_STREAM_END)
			r = put(job, job->out, CHUNK - stream.avail_out);
	}
	BZ2_bzDecompressEnd(&stream);
	return r < 0 || status == BZ_STREAM_END ? r : corrupt(job, "bzip2");
}

static int unpack_zstd(struct job *job)
{
	ZSTD_DStream *stream = ZSTD_createDStream();
	ZSTD_inBuffer in = { job->in, job->in_bytes, 0 };
	size_t left = 1;
	int r = 0;
	ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, 27);
	while (r == 0 && left != 0) {
		ZSTD_outBuffer out = { job->out, CHUNK, 0 };
		size_t before = in.pos;
		left = ZSTD_decompressStream(stream, &out, &in);
		if (ZSTD_isError(left) || (in.pos == before && out.pos == 0))
			break;
		r = put(job, job->out, out.pos);
	}
	ZSTD_freeDStream(stream);
	return r < 0 || left == 0 ? r : corrupt(job, "zstd");
}

/* The legacy frames that kernels use; the last four bytes are the unpacked size. */
static int unpack_lz4(struct job *job)
{
	uint8_t *block = malloc(LZ4_BLOCK);
	size_t at = 4;
	int r = block ? 0 : -ENOMEM;
	while (r == 0 && job->in_bytes - at > 4) {
		uint32_t bytes;
		memcpy(&bytes, job->in + at, sizeof(bytes));
		at += sizeof(bytes);
		if (bytes > job->in_bytes - at || bytes > INT32_MAX) {
			r = corrupt(job, "lz4");
			break;
		}
		int n = LZ4_decompress_safe(
			(const char *)job->in + at, (char *)block, (int)bytes, (int)LZ4_BLOCK);
		r = n < 0 ? corrupt(job, "lz4") : put(job, block, (size_t)n);
		at += bytes;
	}
	free(block);
	return r;
}

static const struct format {
	const char *magic;
	size_t bytes;
	int (*unpack)(struct job *job);
} formats[] = {
	{ "\x1f\x8b", 2, unpack_gzip },
	{ "\xfd"
	  "7zXZ",
		5, unpack_xz },
	{ "\x5d\0\0", 3, unpack_lzma },
	{ "BZh", 3, unpack_bzip2 },
	{ "\x28\xb5\x2f\xfd", 4, unpack_zstd },
	{ "\x02\x21\x4c\x18", 4, unpack_lz4 },
};

static int unpack(struct job *job)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (job->in_bytes > formats[i].bytes + 4 &&
			memcmp(job->in, formats[i].magic, formats[i].bytes) == 0)
			return formats[i].unpack(job);
	if (job->in_bytes > 4 && memcmp(job->in, "\177ELF", 4) == 0)
		return put(job, job->in, job->in_bytes);
	return error_set(job->e, -EINVAL,
		"its payload is in no known format (gzip, xz, lzma, bzip2, zstd, lz4)");
}

static const uint16_t allowed[] = { SYS_read, SYS_pread64, SYS_write, SYS_mmap, SYS_munmap,
	SYS_mremap, SYS_brk, SYS_madvise, SYS_futex, SYS_getrandom, SYS_fstat, SYS_newfstatat,
	SYS_lseek, SYS_ftruncate, SYS_exit, SYS_exit_group };

static int run(int argc, char **argv, struct error *e)
{
	uint64_t offset, bytes;
	if (argc != 3 || text_to_u64(argv[1], &offset) < 0 || text_to_u64(argv[2], &bytes) < 0)
		return error_set(e, -EINVAL, "usage: berth-unpack OFFSET BYTES <kernel >program");
	if (bytes == 0 || bytes > PAYLOAD_MAX)
		return error_set(e, -EINVAL, "its payload has %ju bytes", (uintmax_t)bytes);
	const struct jail jail = {
		.drop_capabilities = true,
		.limit_paths = true,
		.system_calls = allowed,
		.system_call_count = ARRAY_SIZE(allowed),
	};
	bool is_sparse = is_empty_file(STDOUT_FILENO);
	int r = jail_enter(&jail, e);
	if (r < 0)
		return r;
	uint8_t *in = malloc(bytes), *out = malloc(CHUNK);
	struct job job = {
		.in = in, .in_bytes = bytes, .out = out, .is_sparse = is_sparse, .e = e
	};
	if (!in || !out)
		r = error_set(e, -ENOMEM, "no memory for its payload");
	else
		r = file_read_at(STDIN_FILENO, in, bytes, offset);
	if (r == -ENODATA)
		error_set(e, r, "it is cut off");
	if (r == 0)
		r = unpack(&job);
	if (r == 0)
		r = finish(&job);
	free(in);
	free(out);
	return r;
}

int main(int argc, char **argv)
{
	struct error e = {};
	if (run(argc, argv, &e) == 0)
		return 0;
	/* The monitor reads the sentence. */
	(void)!write(STDERR_FILENO, e.text, strlen(e.text));
	return 1;
}
