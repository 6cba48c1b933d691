/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suspend.c - the runner's side of a snapshot: it asks for it, writes what comes into the daemon's file, and lets go on.
 *
 * Theory of operation. The unikernel is locked: nothing can be opened for it any more, so it sends what it is through a
 * stream that it has from the start, and waits there for a word. What comes is not trusted: places and the amount have
 * limits, and whoever starts from the file looks at it anew. While it comes the runner does nothing else.
 */
#include "tender/suspend.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "host/process.h"
#include "tender/snapshot.h"

#define PATIENCE_MS \
	20000 /* without a byte; a bound: a call of the program may take as long as its storage does */
#define PART_BYTES (256 * KIB)
#define PAGE_BYTES 4096u
#define PLACE_MAX  (UINT64_C(1) << 41)

static int receive(int channel, void *to, size_t bytes)
{
	char *next = to;
	while (bytes > 0) {
		struct pollfd more = { .fd = channel, .events = POLLIN };
		int ready = poll(&more, 1, PATIENCE_MS);
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return -ETIMEDOUT;
		ssize_t got = read(channel, next, bytes);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return -ESRCH;
		next += got;
		bytes -= (size_t)got;
	}
	return 0;
}

static bool is_zero(const char *data, size_t bytes)
{
	return bytes == 0 || (data[0] == '\0' && memcmp(data, data + 1, bytes - 1) == 0);
}

/* Pages of zeroes stay holes; the last byte of the file is written by name. */
static int write_part(int fd, const char *data, size_t bytes, uint64_t at)
{
	for (size_t done = 0, part; done < bytes; done += part) {
		part = bytes - done < PAGE_BYTES ? bytes - done : PAGE_BYTES;
		if (part == PAGE_BYTES && is_zero(data + done, part))
			continue;
		while (done + part + PAGE_BYTES <= bytes &&
			!is_zero(data + done + part, PAGE_BYTES))
			part += PAGE_BYTES;
		ssize_t put = pwrite(fd, data + done, part, (off_t)(at + done));
		if (put != (ssize_t)part)
			return put < 0 ? -errno : -ENOSPC;
	}
	return 0;
}

/* The stream is read to its end even if it cannot be written. */
static int take_pieces(const struct suspend *suspend, int fd)
{
	cleanup(free) char *data = alloc_array(PART_BYTES, char);
	uint64_t left = suspend->bytes_max;
	int failed = 0;
	for (;;) {
		struct snapshot_piece piece;
		int r = receive(suspend->channel, &piece, sizeof(piece));
		if (r < 0)
			return r;
		if (piece.bytes == 0)
			return failed < 0 ? failed : (int)(int64_t)piece.at;
		if (piece.bytes > left || piece.at > PLACE_MAX)
			return -EBADMSG;
		left -= piece.bytes;
		for (uint64_t done = 0, part; done < piece.bytes; done += part) {
			part = piece.bytes - done < PART_BYTES ? piece.bytes - done : PART_BYTES;
			r = receive(suspend->channel, data, part);
			if (r < 0)
				return r;
			if (failed == 0)
				failed = write_part(fd, data, part, piece.at + done);
		}
	}
}

static void go_on(struct suspend *suspend)
{
	if (suspend->stands)
		(void)!write(suspend->channel, "", 1);
	suspend->stands = false;
}

static const char *why_not(int r)
{
	switch (r) {
	case -EBUSY:
		return "keep its state: a process of its program waits for another one; try again later";
	case -ETIMEDOUT:
		return "keep its state: it did not answer";
	case -ESRCH:
		return "keep its state: it has ended";
	case -E2BIG:
		return "keep its state: its memory is in too many pieces";
	case -ENOSPC:
		return "keep its state: there is no room for it";
	default:
		return "keep its state";
	}
}

static void keep(struct suspend *suspend, struct control_peer *peer,
	const struct runner_header *request, int fd)
{
	int r = process_signal(suspend->pidfd, SUSPEND_SIGNAL);
	if (r == 0)
		r = take_pieces(suspend, fd);
	if (r == -ETIMEDOUT || r == -EBADMSG) {
		/* Where the stream stands is not known: nothing more is asked of it. */
		close(TAKE_FD(suspend->channel));
	} else {
		suspend->stands = true;
	}
	if (r == 0) {
		control_answer_done(peer, request);
		return;
	}
	go_on(suspend);
	control_answer_error(peer, request, r < 0 && r > -4096 ? r : -EIO, why_not(r));
}

bool suspend_request(
	void *data, struct control_peer *peer, const struct runner_header *request, int fd)
{
	struct suspend *suspend = data;
	if (request->type == RUNNER_RESUME) {
		go_on(suspend);
		control_answer_done(peer, request);
		return true;
	}
	if (request->type != RUNNER_SUSPEND)
		return false;
	if (fd < 0)
		control_answer_error(peer, request, -EINVAL, "keep its state: there is no file");
	else if (suspend->channel < 0)
		control_answer_error(peer, request, -EOPNOTSUPP,
			"its state can be kept if config.migration.stateful was true when it started");
	else if (suspend->stands)
		control_answer_error(peer, request, -EBUSY, "its state is being kept");
	else
		keep(suspend, peer, request, fd);
	return true;
}
