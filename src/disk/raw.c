/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw.c - a flat file or block device as a disk, through io_uring.
 *
 * Where the kernel refuses io_uring the same requests run as plain system calls inside submit, and
 * their ends are reported by the same eventfd. A transfer that the kernel cuts short is finished with
 * plain calls, too: it is rare.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <limits.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/disk.h"

#define RING_ENTRIES 128
#define ZERO_BYTES   65536

struct raw {
	struct disk disk;
	int fd;
	bool has_ring;
	struct io_uring ring;
	uint32_t in_ring;
	struct disk_request *ended; /* without a ring: done but not reported */
	struct disk_request **ended_end;
};

static struct raw *raw_of(struct disk *disk)
{
	return container_of(disk, struct raw, disk);
}

/* Transfers what is left behind the first `skip` bytes. */
static int transfer(struct raw *raw, const struct disk_request *request, uint64_t skip)
{
	uint64_t at = request->offset + skip;
	for (int i = 0; i < request->iov_count; i++) {
		uint8_t *data = request->iov[i].iov_base;
		size_t bytes = request->iov[i].iov_len;
		if (skip >= bytes) {
			skip -= bytes;
			continue;
		}
		for (size_t done = skip; done < bytes;) {
			ssize_t n = request->operation == DISK_READ
				? pread(raw->fd, data + done, bytes - done, (off_t)at)
				: pwrite(raw->fd, data + done, bytes - done, (off_t)at);
			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return n < 0 ? -errno : -EIO;
			done += (size_t)n;
			at += (uint64_t)n;
		}
		skip = 0;
	}
	return request->is_durable && fdatasync(raw->fd) < 0 ? -errno : 0;
}

static int write_zeroes(struct raw *raw, uint64_t offset, uint64_t bytes)
{
	static const uint8_t zeroes[ZERO_BYTES];
	while (bytes > 0) {
		size_t part = bytes < sizeof(zeroes) ? bytes : sizeof(zeroes);
		ssize_t n = pwrite(raw->fd, zeroes, part, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		offset += (uint64_t)n;
		bytes -= (uint64_t)n;
	}
	return 0;
}

static int fallocate_mode(const struct disk_request *request)
{
	if (request->operation == DISK_DISCARD || request->may_unmap)
		return FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	return FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
}

/* What to answer after fallocate() said `result`. */
static int after_fallocate(struct raw *raw, const struct disk_request *request, int result)
{
	if (result != -EOPNOTSUPP)
		return result;
	/* A discard is a hint. */
	return request->operation == DISK_DISCARD
		? 0
		: write_zeroes(raw, request->offset, request->bytes);
}

static int run(struct raw *raw, const struct disk_request *request)
{
	switch (request->operation) {
	case DISK_READ:
	case DISK_WRITE:
		return transfer(raw, request, 0);
	case DISK_FLUSH:
		return fdatasync(raw->fd) < 0 ? -errno : 0;
	case DISK_DISCARD:
	case DISK_ZERO:
		return after_fallocate(raw, request,
			fallocate(raw->fd, fallocate_mode(request), (off_t)request->offset,
				(off_t)request->bytes) < 0
				? -errno
				: 0);
	}
	return -EINVAL;
}

static void end_later(struct raw *raw, struct disk_request *request, int result)
{
	request->result = result;
	request->next = NULL;
	*raw->ended_end = request;
	raw->ended_end = &request->next;
	uint64_t one = 1;
	/* It fails only when the counter is full: then it is readable already. */
	if (write(raw->disk.event_fd, &one, sizeof(one)) < 0)
		return;
}

static void prepare(struct raw *raw, struct io_uring_sqe *sqe, struct disk_request *request)
{
	switch (request->operation) {
	case DISK_READ:
		io_uring_prep_readv(
			sqe, raw->fd, request->iov, (unsigned)request->iov_count, request->offset);
		break;
	case DISK_WRITE:
		io_uring_prep_writev2(sqe, raw->fd, request->iov, (unsigned)request->iov_count,
			request->offset, request->is_durable ? RWF_DSYNC : 0);
		break;
	case DISK_FLUSH:
		io_uring_prep_fsync(sqe, raw->fd, IORING_FSYNC_DATASYNC);
		break;
	case DISK_DISCARD:
	case DISK_ZERO:
		io_uring_prep_fallocate(sqe, raw->fd, fallocate_mode(request),
			(off_t)request->offset, (off_t)request->bytes);
		break;
	}
	io_uring_sqe_set_data(sqe, request);
}

static void raw_submit(struct disk *disk, struct disk_request *request)
{
	struct raw *raw = raw_of(disk);
	struct io_uring_sqe *sqe = NULL;
	if (request->bytes == 0 && request->operation != DISK_FLUSH) {
		end_later(raw, request, 0);
		return;
	}
	if (raw->has_ring && raw->in_ring < RING_ENTRIES)
		sqe = io_uring_get_sqe(&raw->ring);
	if (!sqe) {
		end_later(raw, request, run(raw, request));
		return;
	}
	raw->in_ring++;
	prepare(raw, sqe, request);
}

static void raw_start(struct disk *disk)
{
	struct raw *raw = raw_of(disk);
	if (!raw->has_ring || io_uring_sq_ready(&raw->ring) == 0)
		return;
	int r;
	do
		r = io_uring_submit(&raw->ring);
	while (r == -EINTR);
}

static int ring_result(struct raw *raw, const struct disk_request *request, int result)
{
	switch (request->operation) {
	case DISK_READ:
	case DISK_WRITE:
		if (result == -EINTR || result == -EAGAIN)
			result = 0;
		if (result >= 0 && (uint64_t)result < request->bytes)
			return transfer(raw, request, (uint64_t)result);
		return result < 0 ? result : 0;
	case DISK_FLUSH:
		return result;
	case DISK_DISCARD:
	case DISK_ZERO:
		return after_fallocate(raw, request, result);
	}
	return -EINVAL;
}

static void finish(struct raw *raw, struct disk_request *request, int result)
{
	raw->disk.pending--;
	request->done(request, result);
}

static void raw_complete(struct disk *disk)
{
	struct raw *raw = raw_of(disk);
	uint64_t count;
	/* EAGAIN: a drain has been here before. */
	if (read(disk->event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	while (raw->ended) {
		struct disk_request *request = raw->ended;
		raw->ended = request->next;
		if (!raw->ended)
			raw->ended_end = &raw->ended;
		finish(raw, request, request->result);
	}
	struct io_uring_cqe *cqe;
	while (raw->has_ring && io_uring_peek_cqe(&raw->ring, &cqe) == 0) {
		struct disk_request *request = io_uring_cqe_get_data(cqe);
		int result = cqe->res;
		io_uring_cqe_seen(&raw->ring, cqe);
		raw->in_ring--;
		finish(raw, request, ring_result(raw, request, result));
	}
}

static void raw_drain(struct disk *disk)
{
	struct raw *raw = raw_of(disk);
	raw_start(disk);
	while (disk->pending > 0) {
		struct io_uring_cqe *cqe;
		if (!raw->ended && raw->in_ring > 0)
			io_uring_wait_cqe(&raw->ring, &cqe);
		raw_complete(disk);
	}
}

static void raw_close(struct disk *disk)
{
	struct raw *raw = raw_of(disk);
	raw_drain(disk);
	if (raw->has_ring)
		io_uring_queue_exit(&raw->ring);
	close(raw->disk.event_fd);
	close(raw->fd);
	free(raw);
}

static const struct disk_driver raw_driver = {
	.name = "raw",
	.submit = raw_submit,
	.start = raw_start,
	.complete = raw_complete,
	.drain = raw_drain,
	.close = raw_close,
};

int raw_open_fd(int fd, const char *name, bool read_only, struct disk **ret, struct error *e)
{
	/* Not fstat: its size is 0 for a block device. */
	off_t size = lseek(fd, 0, SEEK_END);
	struct stat status;
	if (size < 0 || fstat(fd, &status) < 0)
		return error_errno(e, "size of %s", name);
	if (size == 0 || size % DISK_SECTOR != 0)
		return error_set(e, -EINVAL,
			"%s: %jd bytes is not a whole number of %d-byte sectors", name,
			(intmax_t)size, DISK_SECTOR);
	if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
		return error_set(e, -EINVAL, "%s: neither a file nor a block device", name);
	int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event_fd < 0)
		return error_errno(e, "eventfd");
	struct raw *raw = alloc(struct raw);
	raw->disk = (struct disk){
		.driver = &raw_driver,
		.size_bytes = (uint64_t)size,
		.block_bytes = status.st_blksize > 0 && status.st_blksize <= 65536
			? (uint32_t)status.st_blksize
			: 4096,
		.read_only = read_only,
		.can_discard = !read_only,
		.event_fd = event_fd,
	};
	raw->fd = fd;
	raw->ended_end = &raw->ended;
	raw->has_ring = io_uring_queue_init(RING_ENTRIES, &raw->ring, 0) == 0;
	if (raw->has_ring && io_uring_register_eventfd(&raw->ring, event_fd) < 0) {
		io_uring_queue_exit(&raw->ring);
		raw->has_ring = false;
	}
	*ret = &raw->disk;
	return 0;
}

int raw_open(const char *path, bool read_only, struct disk **ret, struct error *e)
{
	cleanup(close) int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "open %s", path);
	int r = raw_open_fd(fd, path, read_only, ret, e);
	if (r == 0)
		TAKE_FD(fd);
	return r;
}
