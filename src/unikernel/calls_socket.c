/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls_socket.c - the calls of sockets.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/syscall.h>

#include "unikernel/call.h"
#include "unikernel/descriptors.h"
#include "unikernel/net/socket.h"

#define FLAGS_KNOWN   (SOCK_NONBLOCK | SOCK_CLOEXEC)
#define MESSAGES_MOST 1024u

static int64_t find(uint64_t number, struct file **ret, struct socket **ret_socket)
{
	struct file *file = descriptor_file(number);
	if (!file)
		return -EBADF;
	struct socket *socket = socket_of(file);
	if (!socket)
		return -ENOTSOCK;
	*ret = file;
	if (ret_socket)
		*ret_socket = socket;
	return 0;
}

static int64_t take_address(uint64_t from, uint64_t bytes, struct address *ret)
{
	if ((uint32_t)bytes > ADDRESS_BYTES)
		return -EINVAL;
	ret->bytes = (uint32_t)bytes;
	memcpy(ret->data, at(from), ret->bytes);
	return 0;
}

/* `bytes` is where the program says how much room it has, and hears how much it would have taken. */
static int64_t give_address(const struct address *address, uint64_t to, uint64_t bytes)
{
	uint32_t *room = at(bytes);
	if (!to || !bytes)
		return 0;
	if ((int)*room < 0)
		return -EINVAL;
	memcpy(at(to), address->data, *room < address->bytes ? *room : address->bytes);
	*room = address->bytes;
	return 0;
}

static int64_t make(int domain, int type, int protocol, struct socket **ret)
{
	switch (domain) {
	case AF_UNIX:
		return protocol && protocol != PF_UNIX ? -EPROTONOSUPPORT
						       : unix_socket_new(type, ret);
	case AF_INET:
	case AF_INET6:
		if (type == SOCK_STREAM)
			return protocol && protocol != IPPROTO_TCP ? -EPROTONOSUPPORT
								   : tcp_socket_new(domain, ret);
		if (type == SOCK_DGRAM || type == SOCK_RAW)
			return datagram_socket_new(domain, type, protocol, ret);
		return -ESOCKTNOSUPPORT;
	default:
		return -EAFNOSUPPORT;
	}
}

static int64_t add(struct socket *socket, uint64_t flags)
{
	struct file *file = NULL;
	int64_t r = socket_file(socket, (uint32_t)flags & O_NONBLOCK, &file);
	return r < 0 ? r : descriptor_add(file, 0, (flags & SOCK_CLOEXEC) != 0);
}

static int64_t serve_socket(struct registers *r)
{
	struct socket *socket = NULL;
	uint64_t flags = r->rsi & ~UINT64_C(0xf);
	if (flags & ~(uint64_t)FLAGS_KNOWN)
		return -EINVAL;
	int64_t e = make((int)r->rdi, (int)r->rsi & 0xf, (int)r->rdx, &socket);
	return e < 0 ? e : add(socket, flags);
}

static int64_t serve_socketpair(struct registers *r)
{
	struct socket *a = NULL, *b = NULL;
	uint64_t flags = r->rsi & ~UINT64_C(0xf);
	int *to = at(r->r10);
	if (r->rdi != AF_UNIX)
		return -EOPNOTSUPP;
	if (flags & ~(uint64_t)FLAGS_KNOWN)
		return -EINVAL;
	int64_t e = unix_socket_pair((int)r->rsi & 0xf, &a, &b);
	if (e < 0)
		return e;
	int64_t first = add(a, flags);
	if (first < 0) {
		b->operations->close(b);
		return first;
	}
	int64_t second = add(b, flags);
	if (second < 0) {
		(void)descriptor_close((uint64_t)first);
		return second;
	}
	to[0] = (int)first;
	to[1] = (int)second;
	return 0;
}

static int64_t serve_bind(struct registers *r)
{
	struct file *file;
	struct socket *socket;
	struct address address;
	int64_t e = find(r->rdi, &file, &socket);
	if (e == 0)
		e = take_address(r->rsi, r->rdx, &address);
	return e < 0 ? e : socket->operations->bind(socket, &address);
}

static int64_t serve_connect(struct registers *r)
{
	struct file *file;
	struct address address;
	int64_t e = find(r->rdi, &file, NULL);
	if (e == 0)
		e = take_address(r->rsi, r->rdx, &address);
	return e < 0 ? e : wait_connect(file, &address);
}

static int64_t serve_listen(struct registers *r)
{
	struct file *file;
	struct socket *socket;
	int64_t e = find(r->rdi, &file, &socket);
	return e < 0 ? e : socket->operations->listen(socket, (int)r->rsi);
}

static int64_t accept_one(struct registers *r, uint64_t flags)
{
	struct file *file;
	struct socket *fresh = NULL;
	struct address address = {};
	int64_t e = find(r->rdi, &file, NULL);
	if (e == 0 && (flags & ~(uint64_t)FLAGS_KNOWN))
		e = -EINVAL;
	if (e == 0)
		e = wait_accept(file, &fresh);
	if (e < 0)
		return e;
	(void)fresh->operations->name(fresh, true, &address);
	int64_t number = add(fresh, flags);
	if (number >= 0)
		(void)give_address(&address, r->rsi, r->rdx);
	return number;
}

static int64_t serve_accept(struct registers *r)
{
	return accept_one(r, 0);
}

static int64_t serve_accept4(struct registers *r)
{
	return accept_one(r, r->r10);
}

static int64_t name_socket(struct registers *r, bool is_peer)
{
	struct file *file;
	struct socket *socket;
	struct address address = {};
	int64_t e = find(r->rdi, &file, &socket);
	if (e == 0)
		e = socket->operations->name(socket, is_peer, &address);
	return e < 0 ? e : give_address(&address, r->rsi, r->rdx);
}

static int64_t serve_getsockname(struct registers *r)
{
	return name_socket(r, false);
}

static int64_t serve_getpeername(struct registers *r)
{
	return name_socket(r, true);
}

static int64_t serve_shutdown(struct registers *r)
{
	struct file *file;
	struct socket *socket;
	int64_t e = find(r->rdi, &file, &socket);
	if (e == 0 && r->rsi > SHUT_RDWR)
		e = -EINVAL;
	return e < 0 ? e : socket->operations->shutdown(socket, (int)r->rsi);
}

static int64_t serve_sendto(struct registers *r)
{
	struct file *file;
	struct address address = {};
	struct transfer how = { .flags = (uint32_t)r->r10 & ~SOCKET_CONSTANT };
	int64_t e = find(r->rdi, &file, NULL);
	if (e == 0 && r->r8) {
		e = take_address(r->r8, r->r9, &address);
		how.address = &address;
	}
	return e < 0 ? e : wait_send(file, at(r->rsi), r->rdx, &how);
}

static int64_t serve_recvfrom(struct registers *r)
{
	struct file *file;
	struct address address = {};
	struct transfer how = { .flags = (uint32_t)r->r10, .address = r->r8 ? &address : NULL };
	int64_t e = find(r->rdi, &file, NULL);
	if (e < 0)
		return e;
	int64_t got = wait_receive(file, at(r->rsi), r->rdx, &how);
	if (got >= 0 && r->r8)
		(void)give_address(&address, r->r8, r->r9);
	return got;
}

/* The files that a message carries. */
static int64_t take_passed(const struct msghdr *message, struct passed *ret)
{
	ret->count = 0;
	if (!message->msg_control)
		return 0;
	for (const struct cmsghdr *one = CMSG_FIRSTHDR(message); one;
		one = CMSG_NXTHDR(
			(struct msghdr *)(uintptr_t)message, (struct cmsghdr *)(uintptr_t)one)) {
		if (one->cmsg_len < sizeof(*one))
			return -EINVAL;
		if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_RIGHTS)
			continue;
		uint64_t count = (one->cmsg_len - sizeof(*one)) / sizeof(int);
		const int *numbers = (const int *)(const void *)(one + 1);
		for (uint64_t i = 0; i < count; i++) {
			struct file *file = descriptor_file((uint64_t)(uint32_t)numbers[i]);
			if (!file)
				return -EBADF;
			if (ret->count == PASSED_MAX)
				return -EINVAL;
			ret->files[ret->count++] = file;
		}
	}
	return 0;
}

static void give_passed(struct passed *passed, uint32_t flags, struct msghdr *message)
{
	uint64_t room = message->msg_control ? message->msg_controllen : 0;
	struct cmsghdr *head = message->msg_control;
	uint32_t fit = room < sizeof(*head) ? 0 : (uint32_t)((room - sizeof(*head)) / sizeof(int));
	int *numbers = head ? (int *)(void *)(head + 1) : NULL;
	uint32_t given = 0;
	message->msg_controllen = 0;
	for (uint32_t i = 0; i < passed->count; i++) {
		if (given == fit) {
			file_drop(passed->files[i]);
			message->msg_flags |= MSG_CTRUNC;
			continue;
		}
		int64_t number =
			descriptor_add(passed->files[i], 0, (flags & MSG_CMSG_CLOEXEC) != 0);
		if (number >= 0)
			numbers[given++] = (int)number;
	}
	if (!given)
		return;
	head->cmsg_len = sizeof(*head) + given * sizeof(int);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	message->msg_controllen =
		CMSG_ALIGN(head->cmsg_len) < room ? CMSG_ALIGN(head->cmsg_len) : room;
}

static int64_t send_message(struct file *file, const struct msghdr *message, uint64_t flags)
{
	struct address address = {};
	struct passed passed;
	struct transfer how = { .flags = (uint32_t)flags & ~SOCKET_CONSTANT };
	int64_t e = take_passed(message, &passed);
	if (e == 0 && message->msg_name && message->msg_namelen) {
		e = take_address(address_of(message->msg_name), message->msg_namelen, &address);
		how.address = &address;
	}
	if (e < 0)
		return e;
	how.passed = passed.count ? &passed : NULL;
	return wait_vector(file, message->msg_iov, message->msg_iovlen, true, &how);
}

static int64_t receive_message(struct file *file, struct msghdr *message, uint64_t flags)
{
	struct address address = {};
	struct passed passed = { .count = 0 };
	struct transfer how = { .flags = (uint32_t)flags,
		.address = message->msg_name ? &address : NULL,
		.passed = &passed };
	int64_t got = wait_vector(file, message->msg_iov, message->msg_iovlen, false, &how);
	if (got < 0)
		return got;
	message->msg_flags = (int)how.result_flags;
	if (message->msg_name) {
		uint32_t room = message->msg_namelen;
		memcpy(message->msg_name, address.data,
			room < address.bytes ? room : address.bytes);
		message->msg_namelen = address.bytes;
	}
	give_passed(&passed, (uint32_t)flags, message);
	return got;
}

static int64_t serve_sendmsg(struct registers *r)
{
	struct file *file;
	int64_t e = find(r->rdi, &file, NULL);
	return e < 0 ? e : send_message(file, at(r->rsi), r->rdx);
}

static int64_t serve_recvmsg(struct registers *r)
{
	struct file *file;
	int64_t e = find(r->rdi, &file, NULL);
	return e < 0 ? e : receive_message(file, at(r->rsi), r->rdx);
}

static int64_t serve_sendmmsg(struct registers *r)
{
	struct file *file;
	struct mmsghdr *list = at(r->rsi);
	uint64_t count = (uint32_t)r->rdx < MESSAGES_MOST ? (uint32_t)r->rdx : MESSAGES_MOST;
	int64_t e = find(r->rdi, &file, NULL);
	for (uint64_t i = 0; e >= 0 && i < count; i++) {
		e = send_message(file, &list[i].msg_hdr, r->r10);
		if (e < 0)
			return i ? (int64_t)i : e;
		list[i].msg_len = (uint32_t)e;
	}
	return e < 0 ? e : (int64_t)count;
}

static int64_t serve_recvmmsg(struct registers *r)
{
	struct file *file;
	struct mmsghdr *list = at(r->rsi);
	uint64_t count = (uint32_t)r->rdx < MESSAGES_MOST ? (uint32_t)r->rdx : MESSAGES_MOST;
	uint64_t flags = r->r10;
	int64_t e = find(r->rdi, &file, NULL);
	for (uint64_t i = 0; e >= 0 && i < count; i++) {
		e = receive_message(file, &list[i].msg_hdr, flags & ~(uint64_t)MSG_WAITFORONE);
		if (e < 0)
			return i ? (int64_t)i : e;
		list[i].msg_len = (uint32_t)e;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
	}
	return e < 0 ? e : (int64_t)count;
}

const struct call calls_of_sockets[] = {
	{ SYS_socket, "socket", serve_socket },
	{ SYS_socketpair, "socketpair", serve_socketpair },
	{ SYS_bind, "bind", serve_bind },
	{ SYS_connect, "connect", serve_connect },
	{ SYS_listen, "listen", serve_listen },
	{ SYS_accept, "accept", serve_accept },
	{ SYS_accept4, "accept4", serve_accept4 },
	{ SYS_getsockname, "getsockname", serve_getsockname },
	{ SYS_getpeername, "getpeername", serve_getpeername },
	{ SYS_shutdown, "shutdown", serve_shutdown },
	{ SYS_sendto, "sendto", serve_sendto },
	{ SYS_recvfrom, "recvfrom", serve_recvfrom },
	{ SYS_sendmsg, "sendmsg", serve_sendmsg },
	{ SYS_recvmsg, "recvmsg", serve_recvmsg },
	{ SYS_sendmmsg, "sendmmsg", serve_sendmmsg },
	{ SYS_recvmmsg, "recvmmsg", serve_recvmmsg },
	{ SYS_getsockopt, "getsockopt", socket_get_option },
	{ SYS_setsockopt, "setsockopt", socket_set_option },
	{ 0, NULL, NULL },
};
