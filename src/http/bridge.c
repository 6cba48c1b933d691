/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bridge.c - bytes between a websocket and descriptors.
 *
 * Each direction holds at most one block: towards the descriptor what it did not take (the websocket is
 * paused then), towards the websocket nothing: the descriptor is not read while the websocket's queue is
 * above its mark.
 */
#include "http/bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/text.h"

#define BLOCK_BYTES  65536
#define CLOSE_NORMAL 1000

struct bridge {
	struct loop *loop;
	struct websocket *websocket;
	struct bridge_options options;
	struct source *to_source;   /* waits until to_fd takes bytes */
	struct source *from_source; /* waits until from_fd has bytes */
	struct text pending;        /* for to_fd */
	size_t pending_at;
	bool is_terminal;
	bool is_input_over; /* nothing more comes from the websocket */
	bool is_finishing;
	bool is_ended;
};

static void end(struct bridge *bridge)
{
	if (bridge->is_ended)
		return;
	bridge->is_ended = true;
	source_free(TAKE_PTR(bridge->to_source));
	source_free(TAKE_PTR(bridge->from_source));
	bridge->options.ended(bridge->options.data);
}

static void close_to(struct bridge *bridge)
{
	source_free(TAKE_PTR(bridge->to_source));
	bridge->pending.length = bridge->pending_at = 0;
	int fd = TAKE_FD(bridge->options.to_fd);
	if (fd >= 0)
		close(fd);
}

static void end_if_over(struct bridge *bridge)
{
	if (bridge->options.from_fd < 0 && bridge->options.to_fd < 0)
		end(bridge);
}

/* Writes what is pending; true if all of it went. */
static bool flush(struct bridge *bridge)
{
	while (bridge->pending_at < bridge->pending.length) {
		ssize_t put =
			write(bridge->options.to_fd, bridge->pending.data + bridge->pending_at,
				bridge->pending.length - bridge->pending_at);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN)
			return false;
		if (put < 0) {
			/* Nobody reads any more. What still comes is dropped. */
			close_to(bridge);
			return true;
		}
		bridge->pending_at += (size_t)put;
	}
	bridge->pending.length = bridge->pending_at = 0;
	return true;
}

static void on_writable(void *data, int fd, uint32_t events)
{
	(void)fd, (void)events;
	struct bridge *bridge = data;
	if (!flush(bridge))
		return;
	source_free(TAKE_PTR(bridge->to_source));
	if (bridge->is_input_over) {
		close_to(bridge);
		end_if_over(bridge);
		return;
	}
	if (bridge->websocket)
		websocket_pause(bridge->websocket, false);
}

static void wait_writable(struct bridge *bridge)
{
	if (bridge->to_source)
		return;
	if (loop_add_fd(bridge->loop, bridge->options.to_fd, EPOLLOUT, on_writable, bridge,
		    &bridge->to_source) < 0) {
		close_to(bridge);
		return;
	}
	if (bridge->websocket)
		websocket_pause(bridge->websocket, true);
}

static void input_over(struct bridge *bridge)
{
	bridge->is_input_over = true;
	if (bridge->is_terminal || bridge->pending.length > 0)
		return;
	close_to(bridge);
	end_if_over(bridge);
}

static void on_received(void *data, bool is_text, const char *bytes, size_t length)
{
	struct bridge *bridge = data;
	if (bridge->is_input_over || bridge->is_ended)
		return;
	if (length == 0) {
		if (is_text)
			input_over(bridge);
		return;
	}
	if (bridge->options.to_fd < 0)
		return;
	bool was_empty = bridge->pending.length == 0;
	text_add_n(&bridge->pending, bytes, length);
	if (was_empty && !flush(bridge))
		wait_writable(bridge);
}

static void on_drained(void *data);

static void on_closed(void *data)
{
	struct bridge *bridge = data;
	websocket_free(TAKE_PTR(bridge->websocket));
	/* What came before the end is still for the descriptor. */
	if (bridge->options.from_fd < 0 && bridge->pending.length > 0) {
		bridge->is_input_over = true;
		return;
	}
	end(bridge);
}

static const struct websocket_calls bridge_calls = {
	.received = on_received,
	.drained = on_drained,
	.closed = on_closed,
};

static void output_over(struct bridge *bridge)
{
	source_free(TAKE_PTR(bridge->from_source));
	int fd = TAKE_FD(bridge->options.from_fd);
	close(fd);
	if (bridge->is_terminal)
		close_to(bridge);
	if (bridge->websocket) {
		if (!bridge->is_terminal && websocket_send(bridge->websocket, true, "", 0) < 0)
			bridge->is_input_over = true;
		if (bridge->is_terminal || bridge->options.to_fd < 0)
			websocket_close(TAKE_PTR(bridge->websocket), CLOSE_NORMAL);
	}
	end_if_over(bridge);
}

/* One block from the descriptor; false if there is nothing to go on with now. */
static bool read_block(struct bridge *bridge)
{
	cleanup(free) char *block = alloc_resize(NULL, BLOCK_BYTES, 1);
	ssize_t got;
	do
		got = read(bridge->options.from_fd, block, BLOCK_BYTES);
	while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN && !bridge->is_finishing)
		return false;
	/* EIO is how a terminal says that its last user is gone. */
	if (got <= 0) {
		output_over(bridge);
		return false;
	}
	if (websocket_send(bridge->websocket, false, block, (size_t)got) < 0)
		return false;
	if (websocket_queued_bytes(bridge->websocket) < WEBSOCKET_ROOM_BYTES)
		return true;
	source_free(TAKE_PTR(bridge->from_source));
	return false;
}

static void on_readable(void *data, int fd, uint32_t events)
{
	(void)fd, (void)events;
	read_block(data);
}

static void wait_readable(struct bridge *bridge)
{
	if (bridge->from_source || bridge->options.from_fd < 0)
		return;
	if (loop_add_fd(bridge->loop, bridge->options.from_fd, EPOLLIN, on_readable, bridge,
		    &bridge->from_source) < 0)
		output_over(bridge);
}

static void on_drained(void *data)
{
	struct bridge *bridge = data;
	if (bridge->options.from_fd < 0 || bridge->is_ended)
		return;
	if (bridge->is_finishing)
		bridge_finish(bridge);
	else
		wait_readable(bridge);
}

void bridge_finish(struct bridge *bridge)
{
	bridge->is_finishing = true;
	if (bridge->is_ended || !bridge->websocket)
		return;
	while (bridge->options.from_fd >= 0 &&
		websocket_queued_bytes(bridge->websocket) < WEBSOCKET_ROOM_BYTES)
		if (!read_block(bridge))
			break;
}

static void set_nonblocking(int fd)
{
	int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);
	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

struct bridge *bridge_new(
	struct loop *loop, struct websocket *websocket, const struct bridge_options *options)
{
	struct bridge *bridge = alloc(struct bridge);
	bridge->loop = loop;
	bridge->websocket = websocket;
	bridge->options = *options;
	bridge->is_terminal = options->to_fd >= 0 && options->to_fd == options->from_fd;
	if (bridge->is_terminal)
		/* One descriptor can stand in an epoll only once. */
		bridge->options.to_fd = fcntl(options->from_fd, F_DUPFD_CLOEXEC, 3);
	set_nonblocking(bridge->options.to_fd);
	set_nonblocking(bridge->options.from_fd);
	websocket_set_calls(websocket, &bridge_calls, bridge);
	wait_readable(bridge);
	return bridge;
}

void bridge_free(struct bridge *bridge)
{
	if (!bridge)
		return;
	source_free(bridge->to_source);
	source_free(bridge->from_source);
	if (bridge->websocket)
		websocket_close(bridge->websocket, CLOSE_NORMAL);
	if (bridge->options.to_fd >= 0)
		close(bridge->options.to_fd);
	if (bridge->options.from_fd >= 0)
		close(bridge->options.from_fd);
	text_done(&bridge->pending);
	free(bridge);
}
