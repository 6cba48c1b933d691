/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipe.c - bytes from one file to another.
 *
 * Theory of operation. A flow is a ring of bytes with a reader's and a writer's end. A pipe is one flow with two
 * files; a socket pair is two flows, and each file reads one and writes the other. Both ends of both flows
 * share one wait queue.
 */
#include "unikernel/pipe.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "unikernel/heap.h"
#include "unikernel/signals.h"

#define FLOW_BYTES 65536u

struct flow {
	uint8_t *bytes;
	uint64_t head, tail; /* of what was written and read since ever */
	bool has_reader, has_writer;
};

struct channel {
	struct wait_queue queue;
	struct flow flows[2];
	uint32_t files;
};

/* Which flow a file reads and writes, or -1. */
struct end {
	struct channel *channel;
	int reads, writes;
	bool is_socket;
};

static int64_t flow_take(struct flow *flow, uint8_t *to, uint64_t size)
{
	uint64_t there = flow->head - flow->tail, done = 0;
	if (size > there)
		size = there;
	while (done < size) {
		uint64_t start = flow->tail % FLOW_BYTES;
		uint64_t count =
			size - done < FLOW_BYTES - start ? size - done : FLOW_BYTES - start;
		memcpy(to + done, flow->bytes + start, count);
		flow->tail += count;
		done += count;
	}
	return (int64_t)done;
}

static int64_t flow_put(struct flow *flow, const uint8_t *from, uint64_t size)
{
	uint64_t room = FLOW_BYTES - (flow->head - flow->tail), done = 0;
	if (size > room)
		size = room;
	while (done < size) {
		uint64_t start = flow->head % FLOW_BYTES;
		uint64_t count =
			size - done < FLOW_BYTES - start ? size - done : FLOW_BYTES - start;
		memcpy(flow->bytes + start, from + done, count);
		flow->head += count;
		done += count;
	}
	return (int64_t)done;
}

static int64_t end_read(struct file *file, void *to, uint64_t size, uint64_t *position)
{
	struct end *end = file->object;
	(void)position;
	if (end->reads < 0)
		return -EBADF;
	struct flow *flow = &end->channel->flows[end->reads];
	if (size == 0)
		return 0;
	if (flow->head == flow->tail)
		return flow->has_writer && flow->has_reader ? -EAGAIN : 0;
	int64_t got = flow_take(flow, to, size);
	wait_notify(&end->channel->queue);
	return got;
}

static int64_t end_write(struct file *file, const void *from, uint64_t size, uint64_t *position)
{
	struct end *end = file->object;
	(void)position;
	if (end->writes < 0)
		return -EBADF;
	struct flow *flow = &end->channel->flows[end->writes];
	if (size == 0)
		return 0;
	if (!flow->has_reader || !flow->has_writer) {
		signals_raise(current_thread, SIGPIPE);
		return -EPIPE;
	}
	uint64_t room = FLOW_BYTES - (flow->head - flow->tail);
	if (room == 0 || (size <= PIPE_BUF && room < size && !end->is_socket))
		return -EAGAIN;
	int64_t put = flow_put(flow, from, size);
	wait_notify(&end->channel->queue);
	return put;
}

static int64_t end_ioctl(struct file *file, uint64_t request, uint64_t argument)
{
	const struct end *end = file->object;
	if (request != FIONREAD || end->reads < 0)
		return -ENOTTY;
	const struct flow *flow = &end->channel->flows[end->reads];
	*(int *)at(argument) = (int)(flow->head - flow->tail);
	return 0;
}

static int64_t end_stat(struct file *file, struct stat *ret)
{
	(void)file_stat_pipe(file, ret);
	if (((struct end *)file->object)->is_socket)
		ret->st_mode = S_IFSOCK | 0777;
	return 0;
}

static uint32_t end_poll(struct file *file)
{
	const struct end *end = file->object;
	uint32_t events = 0;
	if (end->reads >= 0) {
		const struct flow *flow = &end->channel->flows[end->reads];
		if (flow->head != flow->tail)
			events |= POLLIN | POLLRDNORM;
		if (!flow->has_writer)
			events |= end->is_socket ? POLLIN | POLLHUP | POLLRDHUP : POLLHUP;
	}
	if (end->writes >= 0) {
		const struct flow *flow = &end->channel->flows[end->writes];
		if (flow->head - flow->tail <= FLOW_BYTES - PIPE_BUF)
			events |= POLLOUT | POLLWRNORM;
		if (!flow->has_reader)
			events |= end->is_socket ? POLLHUP | POLLOUT : POLLERR;
	}
	return events;
}

static void end_close(struct file *file)
{
	struct end *end = file->object;
	struct channel *channel = end->channel;
	if (end->reads >= 0)
		channel->flows[end->reads].has_reader = false;
	if (end->writes >= 0)
		channel->flows[end->writes].has_writer = false;
	wait_notify(&channel->queue);
	if (--channel->files == 0) {
		heap_free(channel->flows[0].bytes);
		heap_free(channel->flows[1].bytes);
		heap_free(channel);
	}
	heap_free(end);
}

static const struct file_operations end_operations = {
	.read = end_read,
	.write = end_write,
	.seek = file_no_seek,
	.stat = end_stat,
	.ioctl = end_ioctl,
	.poll = end_poll,
	.close = end_close,
};

static struct file *new_end(
	struct channel *channel, const struct end *what, uint32_t flags, const char *path)
{
	struct end *end = heap_alloc(sizeof(*end));
	struct file *file = end ? file_new(&end_operations, flags, path) : NULL;
	if (!file) {
		heap_free(end);
		return NULL;
	}
	*end = *what;
	file->object = end;
	file->queue = &channel->queue;
	channel->files++;
	return file;
}

static struct channel *new_channel(int flows)
{
	struct channel *channel = heap_alloc(sizeof(*channel));
	for (int i = 0; channel && i < flows; i++) {
		channel->flows[i].bytes = heap_alloc(FLOW_BYTES);
		channel->flows[i].has_reader = channel->flows[i].has_writer = true;
		if (!channel->flows[i].bytes) {
			heap_free(channel->flows[0].bytes);
			heap_free(channel);
			return NULL;
		}
	}
	return channel;
}

static int64_t new_two(struct channel *channel, const struct end *a, const struct end *b,
	uint32_t flags_a, uint32_t flags_b, struct file **ret_a, struct file **ret_b)
{
	const char *path = a->is_socket ? "socket:[1]" : "pipe:[1]";
	struct file *first = new_end(channel, a, flags_a, path);
	struct file *second = first ? new_end(channel, b, flags_b, path) : NULL;
	if (!second) {
		if (first)
			file_drop(first);
		return -ENOMEM;
	}
	*ret_a = first;
	*ret_b = second;
	return 0;
}

int64_t pipe_new(uint32_t flags, struct file **ret_read, struct file **ret_write)
{
	struct channel *channel = new_channel(1);
	if (!channel)
		return -ENOMEM;
	return new_two(channel, &(struct end){ channel, 0, -1, false },
		&(struct end){ channel, -1, 0, false }, flags | O_RDONLY, flags | O_WRONLY,
		ret_read, ret_write);
}

int64_t pipe_new_pair(uint32_t flags, struct file **ret_a, struct file **ret_b)
{
	struct channel *channel = new_channel(2);
	if (!channel)
		return -ENOMEM;
	return new_two(channel, &(struct end){ channel, 0, 1, true },
		&(struct end){ channel, 1, 0, true }, flags | O_RDWR, flags | O_RDWR, ret_a, ret_b);
}

bool pipe_is_socket(const struct file *file)
{
	return file->operations == &end_operations && ((struct end *)file->object)->is_socket;
}

int64_t pipe_shutdown(struct file *file, int how)
{
	struct end *end = file->object;
	if (how == SHUT_RD || how == SHUT_RDWR)
		end->channel->flows[end->reads].has_reader = false;
	if (how == SHUT_WR || how == SHUT_RDWR)
		end->channel->flows[end->writes].has_writer = false;
	wait_notify(&end->channel->queue);
	return 0;
}
