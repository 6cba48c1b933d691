/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c - getsockopt and setsockopt: what all sockets have, and the way to their kind's own.
 */
#include <netinet/in.h>
#include <sys/time.h>
#include <sys/un.h>

#include "unikernel/call.h"
#include "unikernel/descriptors.h"
#include "unikernel/net/socket.h"

#define NS_PER_US            UINT64_C(1000)
#define OPTION_DOMAIN_V6ONLY 26
#define OPTION_CONGESTION    13

static const struct {
	int name;
	uint32_t option;
} switches[] = {
	{ SO_REUSEADDR, SOCKET_REUSE_ADDRESS },
	{ SO_REUSEPORT, SOCKET_REUSE_PORT },
	{ SO_KEEPALIVE, SOCKET_KEEPALIVE },
	{ SO_BROADCAST, SOCKET_BROADCAST },
	{ SO_PASSCRED, SOCKET_PASSCRED },
};

static int64_t get_common(struct socket *socket, int name, int *ret)
{
	for (size_t i = 0; i < COUNT(switches); i++)
		if (switches[i].name == name) {
			*ret = (socket->options & switches[i].option) != 0;
			return 0;
		}
	switch (name) {
	case SO_TYPE:
		*ret = socket->type;
		return 0;
	case SO_DOMAIN:
		*ret = socket->domain;
		return 0;
	case SO_PROTOCOL:
		*ret = socket->protocol;
		return 0;
	case SO_ERROR:
		*ret = socket->error;
		socket->error = 0;
		return 0;
	case SO_ACCEPTCONN:
		*ret = socket->is_listening;
		return 0;
	case SO_SNDBUF:
		*ret = socket->send_bytes;
		return 0;
	case SO_RCVBUF:
		*ret = socket->receive_bytes;
		return 0;
	case SO_OOBINLINE:
	case SO_PRIORITY:
	case SO_DONTROUTE:
	case SO_DEBUG:
	case SO_TIMESTAMP:
	case SO_MARK:
	case SO_BUSY_POLL:
	case SO_INCOMING_CPU:
		*ret = 0;
		return 0;
	case SO_RCVLOWAT:
	case SO_SNDLOWAT:
		*ret = 1;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static int64_t give(uint64_t to, uint64_t room, const void *value, uint32_t bytes)
{
	uint32_t *length = at(room);
	if ((int)*length < 0)
		return -EINVAL;
	if (*length < bytes)
		bytes = *length;
	memcpy(at(to), value, bytes);
	*length = bytes;
	return 0;
}

static int64_t find(uint64_t number, struct socket **ret)
{
	const struct file *file = descriptor_file(number);
	if (!file)
		return -EBADF;
	*ret = socket_of(file);
	return *ret ? 0 : -ENOTSOCK;
}

int64_t socket_get_option(struct registers *r)
{
	struct socket *socket;
	int level = (int)r->rsi, name = (int)r->rdx, value = 0;
	int64_t e = find(r->rdi, &socket);
	if (e < 0)
		return e;
	if (level == SOL_SOCKET && name == SO_LINGER)
		return give(r->r10, r->r8, &socket->linger, sizeof(socket->linger));
	if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO)) {
		uint64_t ns =
			name == SO_RCVTIMEO ? socket->receive_timeout_ns : socket->send_timeout_ns;
		const struct timeval time = { (time_t)(ns / 1000000000),
			(suseconds_t)(ns % 1000000000 / NS_PER_US) };
		return give(r->r10, r->r8, &time, sizeof(time));
	}
	if (level == SOL_SOCKET && name == SO_PEERCRED) {
		const struct ucred self = { 1, 0, 0 };
		return socket->domain == AF_UNIX ? give(r->r10, r->r8, &self, sizeof(self))
						 : -ENOPROTOOPT;
	}
	if (level == IPPROTO_TCP && name == OPTION_CONGESTION && socket->protocol == IPPROTO_TCP)
		return give(r->r10, r->r8, "reno", 5);
	if (level == SOL_SOCKET)
		e = get_common(socket, name, &value);
	else if (level == IPPROTO_IPV6 && name == OPTION_DOMAIN_V6ONLY &&
		socket->domain == AF_INET6)
		value = (socket->options & SOCKET_V6ONLY) != 0;
	else
		e = socket->operations->get_option(socket, level, name, &value);
	return e < 0 ? e : give(r->r10, r->r8, &value, sizeof(value));
}

static int64_t set_time(struct socket *socket, int name, const void *from, uint64_t bytes)
{
	struct timeval time;
	if (bytes < sizeof(time))
		return -EINVAL;
	memcpy(&time, from, sizeof(time));
	if (time.tv_sec < 0 || time.tv_usec < 0 || time.tv_usec >= 1000000)
		return -EDOM;
	uint64_t ns = (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_usec * NS_PER_US;
	*(name == SO_RCVTIMEO ? &socket->receive_timeout_ns : &socket->send_timeout_ns) = ns;
	return 0;
}

static int64_t set_common(struct socket *socket, int name, const void *from, uint64_t bytes)
{
	int value;
	if (name == SO_RCVTIMEO || name == SO_SNDTIMEO)
		return set_time(socket, name, from, bytes);
	if (name == SO_LINGER) {
		if (bytes < sizeof(socket->linger))
			return -EINVAL;
		memcpy(&socket->linger, from, sizeof(socket->linger));
		return 0;
	}
	if (bytes < sizeof(value))
		return -EINVAL;
	memcpy(&value, from, sizeof(value));
	for (size_t i = 0; i < COUNT(switches); i++)
		if (switches[i].name == name) {
			socket->options &= ~switches[i].option;
			socket->options |= value ? switches[i].option : 0;
			return 0;
		}
	switch (name) {
	case SO_SNDBUF:
	case SO_SNDBUFFORCE:
		socket->send_bytes = value * 2; /* as Linux answers it; TCP's own buffers stay */
		return 0;
	case SO_RCVBUF:
	case SO_RCVBUFFORCE:
		socket->receive_bytes = value * 2;
		return 0;
	case SO_OOBINLINE:
	case SO_PRIORITY:
	case SO_DONTROUTE:
	case SO_RCVLOWAT:
	case SO_TIMESTAMP:
	case SO_INCOMING_CPU:
	case SO_BUSY_POLL:
	case SO_MARK:
	case SO_ATTACH_FILTER:
	case SO_DETACH_FILTER:
		return 0;
	case SO_TYPE:
	case SO_ERROR:
	case SO_DOMAIN:
	case SO_PROTOCOL:
	case SO_ACCEPTCONN:
	default:
		return -ENOPROTOOPT;
	}
}

int64_t socket_set_option(struct registers *r)
{
	struct socket *socket;
	int level = (int)r->rsi, name = (int)r->rdx, value = 0;
	int64_t e = find(r->rdi, &socket);
	if (e < 0)
		return e;
	if ((int)r->r8 < 0)
		return -EINVAL;
	if (level == IPPROTO_IPV6 && name == OPTION_DOMAIN_V6ONLY && socket->domain == AF_INET6) {
		struct address own = {};
		(void)socket->operations->name(socket, false, &own);
		/* Not when it has a port. */
		if (r->r8 < sizeof(value) || own.data[2] || own.data[3])
			return -EINVAL;
		memcpy(&value, at(r->r10), sizeof(value));
		socket->options &= ~SOCKET_V6ONLY;
		socket->options |= value ? SOCKET_V6ONLY : 0;
		return 0;
	}
	if (level == SOL_SOCKET)
		e = set_common(socket, name, at(r->r10), (uint32_t)r->r8);
	/* The kind hears of common ones, too. */
	return e < 0
		? e
		: socket->operations->set_option(socket, level, name, at(r->r10), (uint32_t)r->r8);
}
