/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipe.c - bytes from one file to another: a ring with a reader's and a writer's end, which share one wait queue.
 */
#include "unikernel/pipe.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "unikernel/heap.h"
#include "unikernel/signals.h"

#define FLOW_BYTES 65536u

struct flow {
	uint8_t *bytes;
	uint64_t size;       /* of the ring; a power of two */
	uint64_t head, tail; /* of what was written and read since ever */
	bool has_reader, has_writer;
};

struct channel {
	struct wait_queue queue;
	struct flow flow;
	uint32_t files;
};

struct end {
	struct channel *channel;
	bool writes;
};

static int64_t flow_take(struct flow *flow, uint8_t *to, uint64_t size)
{
	uint64_t there = flow->head - flow->tail, done = 0;
	if (size > there)
		size = there;
	while (done < size) {
		uint64_t start = flow->tail % flow->size;
		uint64_t count =
			size - done < flow->size - start ? size - done : flow->size - start;
		memcpy(to + done, flow->bytes + start, count);
		flow->tail += count;
		done += count;
	}
	return (int64_t)done;
}

static int64_t flow_put(struct flow *flow, const uint8_t *from, uint64_t size)
{
	uint64_t room = flow->size - (flow->head - flow->tail), done = 0;
	if (size > room)
		size = room;
	while (done < size) {
		uint64_t start = flow->head % flow->size;
		uint64_t count =
			size - done < flow->size - start ? size - done : flow->size - start;
		memcpy(flow->bytes + start, from + done, count);
		flow->head += count;
		done += count;
	}
	return (int64_t)done;
}

static int64_t end_read(struct file *file, void *to, uint64_t size, uint64_t *position)
{
	struct end *end = file->object;
	struct flow *flow = &end->channel->flow;
	(void)position;
	if (size == 0)
		return 0;
	if (flow->head == flow->tail)
		return flow->has_writer ? -EAGAIN : 0;
	int64_t got = flow_take(flow, to, size);
	wait_notify(&end->channel->queue);
	return got;
}

static int64_t end_write(struct file *file, const void *from, uint64_t size, uint64_t *position)
{
	struct end *end = file->object;
	struct flow *flow = &end->channel->flow;
	(void)position;
	if (size == 0)
		return 0;
	if (!flow->has_reader) {
		signals_raise(current_thread, SIGPIPE);
		return -EPIPE;
	}
	uint64_t room = flow->size - (flow->head - flow->tail);
	if (room == 0 || (size <= PIPE_BUF && room < size))
		return -EAGAIN;
	int64_t put = flow_put(flow, from, size);
	wait_notify(&end->channel->queue);
	return put;
}

static int64_t end_ioctl(struct file *file, uint64_t request, uint64_t argument)
{
	const struct end *end = file->object;
	const struct flow *flow = &end->channel->flow;
	if (request != FIONREAD)
		return -ENOTTY;
	*(int *)at(argument) = (int)(flow->head - flow->tail);
	return 0;
}

static uint32_t end_poll(struct file *file)
{
	const struct end *end = file->object;
	const struct flow *flow = &end->channel->flow;
	if (end->writes)
		return (flow->head - flow->tail <= flow->size - PIPE_BUF ? POLLOUT | POLLWRNORM
									 : 0u) |
			(flow->has_reader ? 0u : POLLERR);
	return (flow->head != flow->tail ? POLLIN | POLLRDNORM : 0u) |
		(flow->has_writer ? 0u : POLLHUP);
}

static void end_close(struct file *file)
{
	struct end *end = file->object;
	struct channel *channel = end->channel;
	*(end->writes ? &channel->flow.has_writer : &channel->flow.has_reader) = false;
	wait_notify(&channel->queue);
	if (--channel->files == 0) {
		heap_free(channel->flow.bytes);
		heap_free(channel);
	}
	heap_free(end);
}

static const struct file_operations end_operations = {
	.read = end_read,
	.write = end_write,
	.seek = file_no_seek,
	.stat = file_stat_pipe,
	.ioctl = end_ioctl,
	.poll = end_poll,
	.close = end_close,
};

static struct file *new_end(struct channel *channel, bool writes, uint32_t flags)
{
	struct end *end = heap_alloc(sizeof(*end));
	struct file *file = end ? file_new(&end_operations, flags, "pipe:[1]") : NULL;
	if (!file) {
		heap_free(end);
		return NULL;
	}
	*end = (struct end){ channel, writes };
	file->object = end;
	file->queue = &channel->queue;
	channel->files++;
	return file;
}

int64_t pipe_new(uint32_t flags, struct file **ret_read, struct file **ret_write)
{
	struct channel *channel = heap_alloc(sizeof(*channel));
	uint8_t *bytes = channel ? heap_alloc_raw(FLOW_BYTES) : NULL;
	if (!bytes) {
		heap_free(channel);
		return -ENOMEM;
	}
	channel->flow = (struct flow){
		.bytes = bytes, .size = FLOW_BYTES, .has_reader = true, .has_writer = true
	};
	struct file *reader = new_end(channel, false, flags | O_RDONLY);
	if (!reader) {
		heap_free(bytes);
		heap_free(channel);
		return -ENOMEM;
	}
	struct file *writer = new_end(channel, true, flags | O_WRONLY);
	if (!writer) {
		file_drop(reader);
		return -ENOMEM;
	}
	*ret_read = reader;
	*ret_write = writer;
	return 0;
}
