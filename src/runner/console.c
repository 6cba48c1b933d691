/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.c - moves bytes between a terminal, a ring, a log and who is attached.
 *
 * Theory of operation. Output goes into the ring and the log at once and into `to_peer` for who is
 * attached. While that has bytes the terminal is not read, so the instance waits as it would for a slow
 * terminal, but for SLOW_NS at most: then the stream is detached. Input likewise through `to_terminal`.
 */
#include "runner/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>

#include "abi/runner.h"
#include "base/file.h"

#define RING_BYTES   RUNNER_CONSOLE_MAX
#define BUFFER_BYTES 65536
#define CHUNK_BYTES  4096
#define REST_CHUNKS  16
#define SLOW_NS      (5 * NS_PER_SEC)

/* Bytes on their way; memory only while there are some. */
struct queue {
	uint8_t *bytes;
	size_t start;
	size_t length;
};

struct console {
	struct console_options options;
	uint8_t *ring;
	uint64_t total;
	uint64_t ring_from; /* bytes before this were forgotten */
	uint64_t log_length;
	int keeper; /* the terminal's other end: it never hangs up */
	struct source *terminal;
	int peer_fd;
	struct source *peer;
	struct source *slow;
	struct queue to_peer;
	struct queue to_terminal;
	void (*input)(void *data, const uint8_t *bytes, size_t length);
	void *input_data;
};

static void queue_done(struct queue *queue)
{
	free(queue->bytes);
	*queue = (struct queue){};
}

static bool queue_add(struct queue *queue, const void *bytes, size_t length)
{
	if (length > BUFFER_BYTES - queue->length)
		return false;
	if (!queue->bytes)
		queue->bytes = alloc_array(BUFFER_BYTES, uint8_t);
	if (queue->start + queue->length + length > BUFFER_BYTES) {
		memmove(queue->bytes, queue->bytes + queue->start, queue->length);
		queue->start = 0;
	}
	memcpy(queue->bytes + queue->start + queue->length, bytes, length);
	queue->length += length;
	return true;
}

/* Writes what `fd` takes. 0, or the errno of a descriptor that is gone. */
static int queue_flush(struct queue *queue, int fd)
{
	while (queue->length > 0) {
		ssize_t put = write(fd, queue->bytes + queue->start, queue->length);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return errno == EAGAIN ? 0 : -errno;
		queue->start += (size_t)put;
		queue->length -= (size_t)put;
	}
	queue_done(queue);
	return 0;
}

static void update_events(struct console *console)
{
	if (console->terminal)
		(void)!source_set_events(console->terminal,
			(console->to_peer.length ? 0 : EPOLLIN) |
				(console->to_terminal.length ? EPOLLOUT : 0));
	if (console->peer)
		(void)!source_set_events(console->peer,
			(console->to_terminal.length ? 0 : EPOLLIN) |
				(console->to_peer.length ? EPOLLOUT : 0));
	if (!console->to_peer.length)
		timer_stop(console->slow);
}

static void take_input(struct console *console, const uint8_t *bytes, size_t length);

/* What it has written is taken before it is let go, though it reads no more itself. */
static void detach(struct console *console)
{
	uint8_t bytes[CHUNK_BYTES];
	if (console->peer_fd < 0)
		return;
	source_free(TAKE_PTR(console->peer));
	int fd = TAKE_FD(console->peer_fd);
	for (int i = 0; i < REST_CHUNKS; i++) {
		ssize_t got = read(fd, bytes, sizeof(bytes));
		if (got <= 0)
			break;
		take_input(console, bytes, (size_t)got);
	}
	close(fd);
	queue_done(&console->to_peer);
	update_events(console);
	if (console->options.detached)
		console->options.detached(console->options.data);
}

static void peer_is_slow(void *data)
{
	detach(data);
}

static void send_to_peer(struct console *console, const void *bytes, size_t length)
{
	if (console->peer_fd < 0)
		return;
	bool was_empty = console->to_peer.length == 0;
	if (!queue_add(&console->to_peer, bytes, length) ||
		queue_flush(&console->to_peer, console->peer_fd) < 0) {
		detach(console);
		return;
	}
	if (was_empty && console->to_peer.length)
		timer_set_after(console->slow, SLOW_NS);
	update_events(console);
}

static void keep_log(struct console *console, const void *bytes, size_t length)
{
	if (console->options.log < 0)
		return;
	uint64_t limit = console->options.log_bytes ? console->options.log_bytes : RING_BYTES;
	if (limit < RING_BYTES)
		limit = RING_BYTES;
	if (console->log_length + length > 2 * limit) {
		/* Starts again with the ring, which has these bytes already. */
		cleanup(free) uint8_t *last = alloc_array(RING_BYTES, uint8_t);
		size_t count = console_last(console, last, RING_BYTES);
		if (ftruncate(console->options.log, 0) == 0 &&
			pwrite(console->options.log, last, count, 0) >= 0)
			console->log_length = count;
		return;
	}
	if (pwrite(console->options.log, bytes, length, (off_t)console->log_length) >= 0)
		console->log_length += length;
}

static void keep(struct console *console, const void *bytes, size_t length)
{
	const uint8_t *from = bytes;
	for (size_t i = 0; i < length;) {
		size_t at = (size_t)(console->total % RING_BYTES);
		size_t part = RING_BYTES - at < length - i ? RING_BYTES - at : length - i;
		memcpy(console->ring + at, from + i, part);
		console->total += part;
		i += part;
	}
	keep_log(console, bytes, length);
}

void console_put(struct console *console, const void *data, size_t length)
{
	keep(console, data, length);
	send_to_peer(console, data, length);
}

/* Reads one chunk of the terminal; false if there is none. */
static bool read_terminal(struct console *console)
{
	uint8_t bytes[CHUNK_BYTES];
	ssize_t got = read(console->options.terminal, bytes, sizeof(bytes));
	if (got <= 0)
		return got < 0 && errno == EINTR;
	console_put(console, bytes, (size_t)got);
	return true;
}

static void terminal_is_ready(void *data, int fd, uint32_t events)
{
	struct console *console = data;
	if (events & EPOLLOUT)
		(void)!queue_flush(&console->to_terminal, fd);
	if ((events & EPOLLIN) && !console->to_peer.length)
		(void)read_terminal(console);
	else if (events & (EPOLLHUP | EPOLLERR))
		source_free(TAKE_PTR(console->terminal));
	update_events(console);
}

static void take_input(struct console *console, const uint8_t *bytes, size_t length)
{
	if (console->options.terminal < 0) {
		if (console->input)
			console->input(console->input_data, bytes, length);
		return;
	}
	if (queue_add(&console->to_terminal, bytes, length))
		(void)!queue_flush(&console->to_terminal, console->options.terminal);
}

static void peer_is_ready(void *data, int fd, uint32_t events)
{
	struct console *console = data;
	if ((events & EPOLLOUT) && queue_flush(&console->to_peer, fd) < 0) {
		detach(console);
		return;
	}
	if (events & EPOLLIN) {
		uint8_t bytes[CHUNK_BYTES];
		ssize_t got = read(fd, bytes, sizeof(bytes));
		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
			detach(console);
			return;
		}
		if (got > 0)
			take_input(console, bytes, (size_t)got);
	} else if (events & (EPOLLHUP | EPOLLERR)) {
		detach(console);
		return;
	}
	update_events(console);
}

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int console_new(const struct console_options *options, struct console **ret, struct error *e)
{
	uint8_t *ring =
		mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ring == MAP_FAILED)
		return error_errno(e, "console");
	cleanup(console_free) struct console *console = alloc(struct console);
	console->options = *options;
	console->ring = ring;
	console->peer_fd = console->keeper = -1;
	console->slow = loop_add_timer(options->loop, peer_is_slow, console);
	if (options->terminal >= 0) {
		/* Fails for what is no terminal, which needs none. */
		console->keeper =
			ioctl(options->terminal, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
		int r = set_nonblocking(options->terminal);
		if (r == 0)
			r = loop_add_fd(options->loop, options->terminal, EPOLLIN,
				terminal_is_ready, console, &console->terminal);
		if (r < 0)
			return error_code(e, r, "watch the console");
	}
	*ret = TAKE_PTR(console);
	return 0;
}

void console_free(struct console *console)
{
	if (!console)
		return;
	source_free(console->terminal);
	source_free(console->peer);
	source_free(console->slow);
	const int fds[] = { console->peer_fd, console->keeper, console->options.terminal,
		console->options.log };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	queue_done(&console->to_peer);
	queue_done(&console->to_terminal);
	munmap(console->ring, RING_BYTES);
	free(console);
}

/* Who has gone, which was not looked at yet, is in nobody's way. */
static bool has_hung_up(int fd)
{
	struct pollfd one = { .fd = fd, .events = POLLRDHUP };
	return poll(&one, 1, 0) > 0 && (one.revents & (POLLHUP | POLLERR | POLLRDHUP));
}

int console_attach(struct console *console, int fd, bool steal, bool replay)
{
	if (console->peer_fd >= 0) {
		if (!steal && !has_hung_up(console->peer_fd))
			return -EBUSY;
		detach(console);
	}
	int r = set_nonblocking(fd);
	if (r == 0)
		r = loop_add_fd(
			console->options.loop, fd, EPOLLIN, peer_is_ready, console, &console->peer);
	if (r < 0)
		return r;
	console->peer_fd = fd;
	if (replay) {
		cleanup(free) uint8_t *last = alloc_array(RING_BYTES, uint8_t);
		send_to_peer(console, last, console_last(console, last, RING_BYTES));
	}
	return 0;
}

void console_set_input(struct console *console,
	void (*input)(void *data, const uint8_t *bytes, size_t length), void *data)
{
	console->input = input;
	console->input_data = data;
}

size_t console_last(const struct console *console, void *bytes, size_t size)
{
	uint64_t have = console->total - console->ring_from;
	size_t count = have < RING_BYTES ? (size_t)have : RING_BYTES;
	if (count > size)
		count = size;
	uint8_t *to = bytes;
	for (size_t i = 0; i < count;) {
		size_t at = (size_t)((console->total - count + i) % RING_BYTES);
		size_t part = RING_BYTES - at < count - i ? RING_BYTES - at : count - i;
		memcpy(to + i, console->ring + at, part);
		i += part;
	}
	return count;
}

uint64_t console_total(const struct console *console)
{
	return console->total;
}

void console_clear(struct console *console)
{
	console->ring_from = console->total;
	if (console->options.log >= 0 && ftruncate(console->options.log, 0) == 0)
		console->log_length = 0;
}

int console_resize(struct console *console, uint16_t columns, uint16_t rows)
{
	struct winsize size = { .ws_col = columns, .ws_row = rows };
	if (console->options.terminal < 0)
		return -ENOTTY;
	return ioctl(console->options.terminal, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

void console_drain(struct console *console)
{
	/* What the terminal holds is little: nobody writes to it any more. */
	for (int i = 0; i < 64 && console->options.terminal >= 0; i++)
		if (!read_terminal(console))
			break;
}

void console_finish(struct console *console)
{
	uint64_t end = loop_now() + SLOW_NS;
	for (;;) {
		bool has_more = console->options.terminal >= 0 && console->to_peer.length == 0 &&
			read_terminal(console);
		if (console->peer_fd < 0 || (!has_more && console->to_peer.length == 0))
			return;
		struct pollfd wait = { .fd = console->peer_fd, .events = POLLOUT };
		if (console->to_peer.length && (loop_now() >= end || poll(&wait, 1, 100) < 0))
			return;
		if (queue_flush(&console->to_peer, console->peer_fd) < 0)
			return;
	}
}
