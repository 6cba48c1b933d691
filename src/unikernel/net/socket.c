/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.c - sockets as files: waiting, vectors, the ends.
 */
#include "unikernel/net/socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "unikernel/heap.h"
#include "unikernel/net/net.h"
#include "unikernel/signals.h"

static const struct file_operations file_of_socket;

struct socket *socket_of(const struct file *file)
{
	return file->operations == &file_of_socket ? file->object : NULL;
}

int64_t socket_take_error(struct socket *socket)
{
	int error = socket->error;
	socket->error = 0;
	return -error;
}

int64_t socket_no_accept(struct socket *socket, struct socket **ret)
{
	(void)socket, (void)ret;
	return -EOPNOTSUPP;
}

int64_t socket_no_listen(struct socket *socket, int backlog)
{
	(void)socket, (void)backlog;
	return -EOPNOTSUPP;
}

int64_t socket_no_get_option(struct socket *socket, int level, int name, int *ret)
{
	bool is_known = level == SOL_SOCKET || level == IPPROTO_IP || level == IPPROTO_IPV6 ||
		level == socket->protocol;
	(void)name, (void)ret;
	return is_known && socket->domain != AF_UNIX ? -ENOPROTOOPT : -EOPNOTSUPP;
}

int64_t socket_no_set_option(
	struct socket *socket, int level, int name, const void *value, uint32_t bytes)
{
	(void)socket, (void)name, (void)value, (void)bytes;
	return level == SOL_SOCKET ? 0 : -ENOPROTOOPT;
}

static int64_t read_socket(struct file *file, void *to, uint64_t size, uint64_t *position)
{
	struct socket *socket = file->object;
	struct transfer how = { .flags = file->flags & O_NONBLOCK ? MSG_DONTWAIT : 0u };
	(void)position;
	int64_t got = socket->operations->receive(socket, to, size, &how);
	if (got == -EAGAIN && (file->flags & O_NONBLOCK)) {
		thread_look();
		got = socket->operations->receive(socket, to, size, &how);
	}
	return got;
}

static int64_t write_socket(struct file *file, const void *from, uint64_t size, uint64_t *position)
{
	struct socket *socket = file->object;
	struct transfer how = {};
	(void)position;
	int64_t put = socket->operations->send(socket, from, size, &how);
	if (put == -EPIPE && socket->type == SOCK_STREAM)
		signals_raise(current_thread, SIGPIPE);
	return put;
}

static int64_t stat_socket(struct file *file, struct stat *ret)
{
	*ret = (struct stat){ .st_mode = S_IFSOCK | 0777,
		.st_nlink = 1,
		.st_blksize = KERNEL_PAGE,
		.st_ino = address_of(file->object) };
	return 0;
}

static int64_t ioctl_socket(struct file *file, uint64_t request, uint64_t argument)
{
	struct socket *socket = file->object;
	if (request == FIONREAD) {
		int64_t bytes = socket->operations->readable(socket);
		if (bytes >= 0)
			*(int *)at(argument) = (int)bytes;
		return bytes < 0 ? bytes : 0;
	}
	if (request == TIOCOUTQ) {
		*(int *)at(argument) = 0;
		return 0;
	}
	return net_ioctl(request, argument);
}

static uint32_t poll_socket(struct file *file)
{
	struct socket *socket = file->object;
	return socket->operations->poll(socket);
}

static void close_socket(struct file *file)
{
	struct socket *socket = file->object;
	socket->operations->close(socket);
}

static const struct file_operations file_of_socket = {
	.read = read_socket,
	.write = write_socket,
	.seek = file_no_seek,
	.stat = stat_socket,
	.ioctl = ioctl_socket,
	.poll = poll_socket,
	.close = close_socket,
};

int64_t socket_file(struct socket *socket, uint32_t flags, struct file **ret)
{
	struct file *file = file_new(&file_of_socket, O_RDWR | (flags & O_NONBLOCK), "socket:[1]");
	if (!file) {
		socket->operations->close(socket);
		return -ENOMEM;
	}
	file->object = socket;
	file->queue = &socket->queue;
	*ret = file;
	return 0;
}

static uint64_t deadline_after(uint64_t timeout_ns)
{
	return timeout_ns ? platform_clock_monotonic() + timeout_ns : FOREVER;
}

/* Waits for the socket unless it must not: 0 to try again, or what the call returns. */
static int64_t wait_more(struct file *file, uint32_t flags, uint64_t deadline_ns)
{
	if ((file->flags & O_NONBLOCK) || (flags & MSG_DONTWAIT))
		return -EAGAIN;
	int r = file_wait(file, deadline_ns);
	return r == -ETIMEDOUT ? -EAGAIN : r;
}

/* An error that comes behind what was moved waits for the next call. */
static bool is_next_error(struct socket *socket, bool writes)
{
	return socket->error && (writes || socket->operations->readable(socket) <= 0);
}

int64_t wait_receive(struct file *file, void *to, uint64_t size, struct transfer *how)
{
	struct socket *socket = file->object;
	uint64_t deadline = deadline_after(socket->receive_timeout_ns), done = 0;
	bool wants_all = (how->flags & (MSG_WAITALL | MSG_PEEK)) == MSG_WAITALL &&
		!socket->operations->keeps_borders;
	bool has_looked = false;
	if (file->flags & O_NONBLOCK)
		how->flags |= MSG_DONTWAIT;
	for (;;) {
		if (done && is_next_error(socket, false)) {
			/* Linux looks for more than there was here, and forgets what it found. */
			if (socket->domain == AF_UNIX)
				(void)socket_take_error(socket);
			return (int64_t)done;
		}
		int64_t got =
			socket->operations->receive(socket, (uint8_t *)to + done, size - done, how);
		if (got > 0)
			done += (uint64_t)got;
		if (got != -EAGAIN && (got <= 0 || !wants_all || done == size))
			return done ? (int64_t)done : got;
		if (got != -EAGAIN)
			continue;
		if (!has_looked) { /* something may have come that nobody has waited for */
			has_looked = true;
			thread_look();
			continue;
		}
		got = wait_more(file, how->flags, deadline);
		if (got < 0)
			return done ? (int64_t)done : got;
	}
}

int64_t wait_send(struct file *file, const void *from, uint64_t size, struct transfer *how)
{
	struct socket *socket = file->object;
	uint64_t deadline = deadline_after(socket->send_timeout_ns), done = 0;
	for (;;) {
		if (done && is_next_error(socket, true))
			return (int64_t)done;
		int64_t put = socket->operations->send(
			socket, (const uint8_t *)from + done, size - done, how);
		if (put >= 0)
			done += (uint64_t)put;
		if (put >= 0 && (done == size || socket->operations->keeps_borders))
			return (int64_t)done;
		if (put == -EPIPE && socket->type == SOCK_STREAM && !(how->flags & MSG_NOSIGNAL) &&
			!done)
			signals_raise(current_thread, SIGPIPE);
		if (put < 0 && put != -EAGAIN)
			return done ? (int64_t)done : put;
		put = wait_more(file, how->flags, deadline);
		if (put < 0)
			return done ? (int64_t)done : put;
	}
}

int64_t wait_accept(struct file *file, struct socket **ret)
{
	struct socket *socket = file->object;
	uint64_t deadline = deadline_after(socket->receive_timeout_ns);
	int64_t r = socket->operations->accept(socket, ret);
	if (r == -EAGAIN) {
		thread_look();
		r = socket->operations->accept(socket, ret);
	}
	while (r == -EAGAIN) {
		r = wait_more(file, 0, deadline);
		if (r == 0)
			r = socket->operations->accept(socket, ret);
		else
			return r;
	}
	return r;
}

int64_t wait_connect(struct file *file, const struct address *address)
{
	struct socket *socket = file->object;
	int64_t r = socket->operations->connect(socket, address);
	if (r != -EINPROGRESS || (file->flags & O_NONBLOCK))
		return r;
	uint64_t deadline = deadline_after(socket->send_timeout_ns);
	while (!(socket->operations->poll(socket) & (POLLOUT | POLLERR))) {
		r = wait_more(file, 0, deadline);
		if (r < 0)
			return r == -EAGAIN ? -EINPROGRESS : r;
	}
	if (!socket->error)
		return 0;
	return socket->operations->connect(socket, address); /* says why, and may begin anew */
}

/* More than any datagram has. */
#define GATHER_MOST (1u << 20)

/* A datagram is one, whatever it is gathered from; and who only looks sees the same bytes each time. */
static int64_t gather(struct file *file, const struct iovec *list, uint64_t count, uint64_t total,
	bool writes, struct transfer *how)
{
	uint64_t offset = 0;
	if (!writes && total > GATHER_MOST)
		total = GATHER_MOST;
	uint8_t *bytes = heap_alloc_raw(total ? total : 1);
	if (!bytes)
		return -ENOBUFS;
	for (uint64_t i = 0; i < count && writes; i++) {
		memcpy(bytes + offset, list[i].iov_base, list[i].iov_len);
		offset += list[i].iov_len;
	}
	int64_t done =
		writes ? wait_send(file, bytes, total, how) : wait_receive(file, bytes, total, how);
	for (uint64_t i = 0; i < count && !writes && done > 0 && offset < (uint64_t)done; i++) {
		uint64_t part = (uint64_t)done - offset;
		part = part < list[i].iov_len ? part : list[i].iov_len;
		memcpy(list[i].iov_base, bytes + offset, part);
		offset += part;
	}
	heap_free(bytes);
	return done;
}

int64_t wait_vector(struct file *file, const struct iovec *list, uint64_t count, bool writes,
	struct transfer *how)
{
	const struct socket *socket = file->object;
	uint64_t total = 0, last = 0;
	int64_t done = 0;
	uint32_t flags = how->flags;
	if (count > UIO_MAXIOV)
		return -EMSGSIZE;
	for (uint64_t i = 0; i < count; i++) {
		if (list[i].iov_len > INT64_MAX - total)
			return -EINVAL;
		total += list[i].iov_len;
		last = list[i].iov_len ? i : last;
	}
	if (count == 1 || total == 0)
		return writes ? wait_send(file, count ? list[last].iov_base : NULL, total, how)
			      : wait_receive(file, count ? list[last].iov_base : NULL, total, how);
	if (socket->operations->keeps_borders || (!writes && (flags & MSG_PEEK)))
		return gather(file, list, count, total, writes, how);
	for (uint64_t i = 0; i <= last; i++) {
		if (!list[i].iov_len)
			continue;
		if (done && is_next_error(file->object, writes))
			break;
		how->flags = flags | (writes && i < last ? MSG_MORE : 0u);
		if (done && !writes && !(flags & MSG_WAITALL))
			how->flags |= MSG_DONTWAIT;
		int64_t part = writes ? wait_send(file, list[i].iov_base, list[i].iov_len, how)
				      : wait_receive(file, list[i].iov_base, list[i].iov_len, how);
		if (part < 0)
			return done ? done : part;
		done += part;
		how->passed = NULL;
		if ((uint64_t)part < list[i].iov_len)
			break;
	}
	return done;
}

int64_t socket_vector(struct file *file, const struct iovec *list, uint64_t count, bool writes)
{
	struct transfer how = {};
	return wait_vector(file, list, count, writes, &how);
}

int64_t socket_send_constant(struct file *file, const void *from, uint64_t size, bool has_more)
{
	struct transfer how = { .flags = SOCKET_CONSTANT | (has_more ? MSG_MORE : 0u) };
	return wait_send(file, from, size, &how);
}
