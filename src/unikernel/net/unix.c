/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unix.c - unix sockets: streams, datagrams and rows of datagrams, by pair, by name, by abstract name.
 *
 * Theory of operation. What is sent becomes a piece on the receiver's list, with the files that go along. Two
 * connected sockets know each other; whoever goes away leaves the other one without a peer. A name in the tree
 * is a node that points to its socket as long as that is there.
 */
#include <poll.h>
#include <sys/un.h>

#include "unikernel/heap.h"
#include "unikernel/net/socket.h"
#include "unikernel/path.h"

#define QUEUE_BYTES 212992u
#define PIECE_MOST  65536u
#define QUEUE_MOST  128u
#define PIECE_COST  64u

struct piece {
	struct piece *next;
	uint64_t bytes, offset;
	struct address from;
	struct passed passed;
	uint8_t data[];
};

struct unix_socket {
	struct socket socket;
	struct unix_socket
		*peer; /* of a stream its other end; of a datagram socket where it sends to */
	struct unix_socket *next; /* of all, or of those that wait to be accepted */
	struct unix_socket *accepted_first, *accepted_last;
	uint32_t accepted_count, backlog;
	struct piece *first, *last;
	uint64_t queued;
	bool wants_room;    /* somebody found none to write into */
	bool was_connected; /* it has or had a peer, which may be gone */
	struct address name, peer_name;
	struct node *node; /* of its name in the tree */
	struct unix_socket *next_named;
};

static struct unix_socket *named; /* all that are bound */
static struct unix_socket *all_datagrams;
static const struct socket_operations stream_operations, datagram_operations;

static struct unix_socket *self_of(struct socket *socket)
{
	return (struct unix_socket *)socket;
}

static bool is_connected_kind(const struct unix_socket *self)
{
	return self->socket.type != SOCK_DGRAM;
}

static struct unix_socket *new_socket(int type)
{
	struct unix_socket *self = heap_alloc(sizeof(*self));
	if (!self)
		return NULL;
	self->socket = (struct socket){
		.operations = type == SOCK_STREAM ? &stream_operations : &datagram_operations,
		.domain = AF_UNIX,
		.type = type,
		.send_bytes = (int)QUEUE_BYTES,
		.receive_bytes = (int)QUEUE_BYTES,
	};
	self->name.bytes = sizeof(uint16_t);
	self->name.family = AF_UNIX;
	if (type == SOCK_DGRAM) {
		self->next = all_datagrams;
		all_datagrams = self;
	}
	return self;
}

int64_t unix_socket_new(int type, struct socket **ret)
{
	if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
		return -ESOCKTNOSUPPORT;
	struct unix_socket *self = new_socket(type);
	if (!self)
		return -ENOMEM;
	*ret = &self->socket;
	return 0;
}

static void tie(struct unix_socket *a, struct unix_socket *b)
{
	a->peer = b;
	b->peer = a;
	a->was_connected = b->was_connected = true;
	a->peer_name = b->name;
	b->peer_name = a->name;
}

int64_t unix_socket_pair(int type, struct socket **ret_a, struct socket **ret_b)
{
	struct socket *a = NULL, *b = NULL;
	int64_t r = unix_socket_new(type, &a);
	if (r < 0)
		return r;
	r = unix_socket_new(type, &b);
	if (r < 0) {
		a->operations->close(a);
		return r;
	}
	tie(self_of(a), self_of(b));
	*ret_a = a;
	*ret_b = b;
	return 0;
}

/* Only who found no room is told of it. */
static void tell_room(struct unix_socket *sender)
{
	if (!sender || !sender->wants_room)
		return;
	sender->wants_room = false;
	wait_notify(&sender->socket.queue);
}

static void drop_first(struct unix_socket *self)
{
	struct piece *piece = self->first;
	self->first = piece->next;
	if (!self->first)
		self->last = NULL;
	self->queued -= piece->bytes + PIECE_COST;
	for (uint32_t i = 0; i < piece->passed.count; i++)
		file_drop(piece->passed.files[i]);
	heap_free(piece);
	if (is_connected_kind(self))
		tell_room(self->peer);
	else /* anybody may be waiting to send here */
		for (struct unix_socket *one = all_datagrams; one; one = one->next)
			tell_room(one);
}

/* A datagram socket that sends to nobody any more, or to another one: what waits is of the one before. */
static void forget_peer(struct unix_socket *self)
{
	self->peer = NULL;
	self->was_connected = false;
	while (self->first)
		drop_first(self);
}

/* The path of an address, with its NUL in `to`; NULL if it is abstract or has none. */
static const char *path_in(const struct address *address, char *to, uint64_t size)
{
	uint64_t length = address->bytes - sizeof(uint16_t);
	const char *path = (const char *)address->data + sizeof(uint16_t);
	if (address->bytes <= sizeof(uint16_t) || !*path || length >= size)
		return NULL;
	memcpy(to, path, length);
	to[length] = '\0';
	return to;
}

static bool is_same(const struct address *a, const struct address *b)
{
	return a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

static int64_t find_named(const struct address *address, struct unix_socket **ret)
{
	char text[ADDRESS_BYTES + 1];
	struct node *node = NULL;
	if (address->bytes < sizeof(uint16_t) || address->family != AF_UNIX)
		return address->bytes < sizeof(uint16_t) ? -EINVAL : -EAFNOSUPPORT;
	const char *path = path_in(address, text, sizeof(text));
	if (path) {
		int r = path_find(path_working, path, true, &node);
		if (r < 0)
			return r;
	}
	for (struct unix_socket *one = named; one; one = one->next_named)
		if (path ? one->node == node : is_same(&one->name, address)) {
			*ret = one;
			return 0;
		}
	return -ECONNREFUSED;
}

static int64_t bind_path(struct unix_socket *self, const char *path)
{
	struct place place;
	int r = path_walk(path_working, path, false, &place);
	if (r < 0)
		return r;
	if (place.node)
		return -EADDRINUSE;
	r = path_make(&place, S_IFSOCK | 0777, &self->node);
	if (r == 0)
		node_hold(self->node);
	return r;
}

/* Without a name: the kernel chooses an abstract one. */
static void choose_name(struct address *name)
{
	static uint32_t last;
	uint32_t number = ++last;
	name->bytes = sizeof(uint16_t) + 6;
	name->family = AF_UNIX;
	char *to = (char *)name->data + sizeof(uint16_t);
	*to++ = '\0';
	for (int shift = 16; shift >= 0; shift -= 4)
		*to++ = "0123456789abcdef"[number >> shift & 15];
}

static int64_t unix_bind(struct socket *socket, const struct address *address)
{
	struct unix_socket *self = self_of(socket), *other = NULL;
	char text[ADDRESS_BYTES + 1];
	if (address->bytes < sizeof(uint16_t) || address->family != AF_UNIX)
		return -EINVAL;
	if (self->name.bytes > sizeof(uint16_t))
		return -EINVAL;
	struct address name = *address;
	if (name.bytes == sizeof(uint16_t))
		choose_name(&name);
	const char *path = path_in(&name, text, sizeof(text));
	int64_t r = path ? bind_path(self, path) : find_named(&name, &other) == 0 ? -EADDRINUSE : 0;
	if (r < 0)
		return r;
	self->name = name;
	if (path) /* as Linux tells it: up to and with the NUL */
		self->name.bytes = (uint32_t)(sizeof(uint16_t) + strlen(path) + 1);
	self->next_named = named;
	named = self;
	return 0;
}

static int64_t connect_stream(struct unix_socket *self, struct unix_socket *listener)
{
	if (self->was_connected)
		return -EISCONN;
	if (!listener->socket.is_listening || listener->socket.type != self->socket.type)
		return listener->socket.type != self->socket.type ? -EPROTOTYPE : -ECONNREFUSED;
	if (listener->accepted_count >= listener->backlog)
		return -EAGAIN;
	struct unix_socket *other = new_socket(self->socket.type);
	if (!other)
		return -ENOMEM;
	other->name = listener->name;
	tie(self, other);
	if (listener->accepted_last)
		listener->accepted_last->next = other;
	else
		listener->accepted_first = other;
	listener->accepted_last = other;
	listener->accepted_count++;
	wait_notify(&listener->socket.queue);
	return 0;
}

static int64_t unix_connect(struct socket *socket, const struct address *address)
{
	struct unix_socket *self = self_of(socket), *found = NULL;
	if (socket->type == SOCK_DGRAM && address->bytes >= sizeof(uint16_t) &&
		address->family == AF_UNSPEC) {
		forget_peer(self);
		return 0;
	}
	int64_t r = find_named(address, &found);
	if (r < 0)
		return r;
	if (is_connected_kind(self))
		return connect_stream(self, found);
	if (found->socket.type != SOCK_DGRAM)
		return -EPROTOTYPE;
	if (found->peer && found->peer != self)
		return -EPERM;
	self->peer = found;
	self->peer_name = found->name;
	self->was_connected = true;
	return 0;
}

static int64_t unix_listen(struct socket *socket, int backlog)
{
	struct unix_socket *self = self_of(socket);
	if (!is_connected_kind(self))
		return -EOPNOTSUPP;
	if (self->name.bytes <= sizeof(uint16_t) || self->was_connected)
		return -EINVAL;
	self->backlog =
		backlog < 0 || backlog > (int)QUEUE_MOST ? QUEUE_MOST : (uint32_t)backlog + 1;
	socket->is_listening = true;
	return 0;
}

static int64_t unix_accept(struct socket *socket, struct socket **ret)
{
	struct unix_socket *self = self_of(socket), *first = self->accepted_first;
	if (!is_connected_kind(self))
		return -EOPNOTSUPP;
	if (!socket->is_listening)
		return -EINVAL;
	if (!first)
		return -EAGAIN;
	self->accepted_first = first->next;
	if (!self->accepted_first)
		self->accepted_last = NULL;
	self->accepted_count--;
	first->next = NULL;
	*ret = &first->socket;
	return 0;
}

static int64_t find_receiver(
	struct unix_socket *self, const struct transfer *how, struct unix_socket **ret)
{
	bool has_address = how->address && how->address->bytes;
	if (is_connected_kind(self)) {
		if (has_address && self->socket.type == SOCK_STREAM)
			return self->was_connected ? -EISCONN : -EOPNOTSUPP;
		if (!self->was_connected)
			return -ENOTCONN;
		*ret = self->peer;
		return self->peer && !self->socket.is_shut_write ? 0 : -EPIPE;
	}
	int64_t r = 0;
	if (has_address)
		r = find_named(how->address, ret);
	else if (!self->was_connected)
		r = -ENOTCONN;
	else
		*ret = self->peer;
	if (r < 0)
		return r;
	if (self->socket.is_shut_write)
		return -EPIPE;
	if (!*ret) { /* it is gone, and what it had sent goes with it */
		forget_peer(self);
		return -ECONNREFUSED;
	}
	if ((*ret)->peer && (*ret)->peer != self)
		return -EPERM;
	return (*ret)->socket.is_shut_read ? -EPIPE : 0;
}

static int64_t put_piece(struct unix_socket *to, const struct unix_socket *from, const void *data,
	uint64_t size, struct transfer *how)
{
	struct piece *piece = heap_alloc_raw(sizeof(*piece) + size);
	if (!piece)
		return -ENOBUFS;
	memset(piece, 0, sizeof(*piece));
	memcpy(piece->data, data, size);
	piece->bytes = size;
	piece->from = from->name;
	if (how->passed) {
		piece->passed = *how->passed;
		for (uint32_t i = 0; i < piece->passed.count; i++)
			file_hold(piece->passed.files[i]);
		how->passed = NULL;
	}
	if (to->last)
		to->last->next = piece;
	else
		to->first = piece;
	to->last = piece;
	to->queued += size + PIECE_COST;
	wait_notify(&to->socket.queue);
	return (int64_t)size;
}

static int64_t unix_send(
	struct socket *socket, const void *from, uint64_t size, struct transfer *how)
{
	struct unix_socket *self = self_of(socket), *to = NULL;
	int64_t r = socket->type == SOCK_STREAM ? 0 : socket_take_error(socket);
	if (r == 0)
		r = find_receiver(self, how, &to);
	if (r < 0)
		return r;
	uint64_t room =
		to->queued + PIECE_COST < QUEUE_BYTES ? QUEUE_BYTES - to->queued - PIECE_COST : 0;
	if (socket->type == SOCK_STREAM) {
		if (size == 0)
			return 0;
		uint64_t count = size < PIECE_MOST ? size : PIECE_MOST;
		self->wants_room |= room < size;
		if (room == 0)
			return -EAGAIN;
		return put_piece(to, self, from, count < room ? count : room, how);
	}
	if (size > QUEUE_BYTES - PIECE_COST - 1)
		return -EMSGSIZE;
	self->wants_room |= room < size;
	return room < size ? -EAGAIN : put_piece(to, self, from, size, how);
}

static void hand_over(struct piece *piece, struct transfer *how)
{
	if (!how->passed || !piece->passed.count)
		return;
	*how->passed = piece->passed;
	if (how->flags & MSG_PEEK)
		for (uint32_t i = 0; i < piece->passed.count; i++)
			file_hold(piece->passed.files[i]);
	else
		piece->passed.count = 0;
}

static int64_t receive_stream(
	struct unix_socket *self, uint8_t *to, uint64_t size, struct transfer *how)
{
	uint64_t done = 0;
	bool looks = (how->flags & MSG_PEEK) != 0;
	for (struct piece *piece = self->first, *next; piece && done < size; piece = next) {
		uint64_t count = piece->bytes - piece->offset;
		next = piece->next;
		if (piece->passed.count && done)
			break; /* files go with their own bytes */
		hand_over(piece, how);
		if (how->address && !done && piece->from.bytes > sizeof(uint16_t))
			*how->address = piece->from;
		count = count < size - done ? count : size - done;
		memcpy(to + done, piece->data + piece->offset, count);
		done += count;
		if (looks)
			continue;
		piece->offset += count;
		if (piece->offset == piece->bytes)
			drop_first(self);
	}
	return (int64_t)done;
}

static int64_t unix_receive(struct socket *socket, void *to, uint64_t size, struct transfer *how)
{
	struct unix_socket *self = self_of(socket);
	struct piece *piece = self->first;
	if (is_connected_kind(self) && !self->was_connected)
		return socket->type == SOCK_STREAM ? -EINVAL : -ENOTCONN;
	if (how->address)
		how->address->bytes = 0;
	if (socket->error && (!piece || socket->type != SOCK_STREAM))
		return socket_take_error(socket);
	if (!piece) {
		/* Who waits for a datagram hears of the end, who only looks does not. */
		bool has_end = socket->is_shut_read &&
			(is_connected_kind(self) || !(how->flags & MSG_DONTWAIT));
		return has_end ? 0 : -EAGAIN;
	}
	if (socket->type == SOCK_STREAM)
		return receive_stream(self, to, size, how);
	uint64_t there = piece->bytes, done = size < there ? size : there;
	memcpy(to, piece->data, done);
	if (how->address && piece->from.bytes > sizeof(uint16_t))
		*how->address = piece->from;
	if (done < there)
		how->result_flags |= MSG_TRUNC;
	hand_over(piece, how);
	if (!(how->flags & MSG_PEEK))
		drop_first(self);
	return (int64_t)(how->flags & MSG_TRUNC ? there : done);
}

static int64_t unix_shutdown(struct socket *socket, int how)
{
	struct unix_socket *self = self_of(socket), *peer = self->peer;
	socket->is_shut_read |= how != SHUT_WR;
	socket->is_shut_write |= how != SHUT_RD;
	wait_notify(&socket->queue);
	if (peer && is_connected_kind(self)) {
		peer->socket.is_shut_write |= how != SHUT_WR;
		peer->socket.is_shut_read |= how != SHUT_RD;
		wait_notify(&peer->socket.queue);
	}
	return 0;
}

static int64_t unix_name(struct socket *socket, bool is_peer, struct address *ret)
{
	const struct unix_socket *self = self_of(socket);
	if (is_peer && !self->was_connected)
		return -ENOTCONN;
	*ret = is_peer ? self->peer_name : self->name;
	return 0;
}

static int64_t unix_readable(struct socket *socket)
{
	const struct unix_socket *self = self_of(socket);
	int64_t bytes = 0;
	if (socket->is_listening)
		return -EINVAL;
	for (const struct piece *piece = self->first; piece; piece = piece->next) {
		bytes += (int64_t)(piece->bytes - piece->offset);
		if (socket->type == SOCK_DGRAM)
			break;
	}
	return bytes;
}

static uint32_t unix_poll(struct socket *socket)
{
	struct unix_socket *self = self_of(socket);
	const struct unix_socket *peer = self->peer;
	bool is_open = is_connected_kind(self) && !self->was_connected && !socket->is_listening;
	uint32_t events = (socket->error ? POLLERR : 0u) | (is_open ? POLLHUP : 0u);
	if (self->first || self->accepted_first)
		events |= POLLIN | POLLRDNORM;
	if (socket->is_shut_read)
		events |= POLLIN | POLLRDNORM | POLLRDHUP;
	if (socket->is_shut_read && socket->is_shut_write)
		events |= POLLHUP;
	if (!socket->is_listening && (!peer || peer->queued < QUEUE_BYTES / 2))
		events |= POLLOUT | POLLWRNORM;
	else
		self->wants_room = true;
	return events;
}

static void forget(struct unix_socket **list, const struct unix_socket *self, bool by_name)
{
	while (*list) {
		struct unix_socket **next = by_name ? &(*list)->next_named : &(*list)->next;
		if (*list == self) {
			*list = *next;
			return;
		}
		list = next;
	}
}

/* The other end of a connection: nothing comes and nothing goes any more. */
static void leave_peer(struct unix_socket *peer, bool has_unread)
{
	peer->peer = NULL;
	peer->socket.is_shut_read = peer->socket.is_shut_write = true;
	if (has_unread)
		peer->socket.error = ECONNRESET;
	wait_notify(&peer->socket.queue);
}

static void unix_close(struct socket *socket)
{
	struct unix_socket *self = self_of(socket);
	bool has_unread = self->first != NULL;
	forget(&named, self, true);
	if (socket->type == SOCK_DGRAM)
		forget(&all_datagrams, self, false);
	if (self->node)
		node_drop(self->node);
	for (struct unix_socket *one = all_datagrams; one; one = one->next)
		if (one->peer == self) {
			one->peer = NULL;
			wait_notify(&one->socket.queue);
		}
	while (self->accepted_first) {
		struct unix_socket *one = self->accepted_first;
		self->accepted_first = one->next;
		if (one->peer)
			leave_peer(one->peer, true);
		one->peer = NULL;
		unix_close(&one->socket);
	}
	if (is_connected_kind(self) && self->peer)
		leave_peer(self->peer, has_unread);
	self->peer = NULL;
	while (self->first)
		drop_first(self);
	heap_free(self);
}

static const struct socket_operations stream_operations = {
	.keeps_borders = false,
	.bind = unix_bind,
	.connect = unix_connect,
	.listen = unix_listen,
	.accept = unix_accept,
	.send = unix_send,
	.receive = unix_receive,
	.shutdown = unix_shutdown,
	.name = unix_name,
	.get_option = socket_no_get_option,
	.set_option = socket_no_set_option,
	.readable = unix_readable,
	.poll = unix_poll,
	.close = unix_close,
};

static const struct socket_operations datagram_operations = {
	.keeps_borders = true,
	.bind = unix_bind,
	.connect = unix_connect,
	.listen = unix_listen,
	.accept = unix_accept,
	.send = unix_send,
	.receive = unix_receive,
	.shutdown = unix_shutdown,
	.name = unix_name,
	.get_option = socket_no_get_option,
	.set_option = socket_no_set_option,
	.readable = unix_readable,
	.poll = unix_poll,
	.close = unix_close,
};
