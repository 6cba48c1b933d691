/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp.c - stream sockets over TCP.
 *
 * Theory of operation. lwIP calls back when bytes, room or an end come; the functions here only note that and
 * notify. What has come stays in lwIP's own buffers until the program reads it, and only then does the window
 * open again. A connection outlives its socket until lwIP has sent everything.
 */
#include <lwip/priv/tcp_priv.h>
#include <netinet/in.h>
#include <poll.h>

#include "unikernel/heap.h"
#include "unikernel/net/card.h"
#include "unikernel/net/net.h"
#include "unikernel/net/tcp_acks.h"
#include "unikernel/net/tcp_options.h"
#include "unikernel/net/tcp_socket.h"
#include "unikernel/net/tcp_table.h"

#define WRITE_MOST  64240u /* 44 whole segments; lwIP counts in 16 bits */
#define RECVED_MOST 0xffffu
#define QUEUE_MOST  128
#define QUICK_ACKS  16

static const struct socket_operations operations;

static err_t on_receive(void *argument, struct tcp_pcb *pcb, struct pbuf *p, err_t error)
{
	struct tcp_socket *self = argument;
	(void)error;
	if (!self) {
		if (p) {
			tcp_recved(pcb, p->tot_len);
			pbuf_free(p);
		}
		return ERR_OK;
	}
	if (!p) {
		self->has_end = true;
	} else if (self->socket.is_shut_read && self->socket.is_shut_write) {
		/* Nobody will ever read it: as Linux does, both sides hear of that. */
		pbuf_free(p);
		tcp_abort(pcb);
		self->socket.error = ECONNRESET;
		return ERR_ABRT;
	} else {
		tcp_acks_received(self, pcb, p->tot_len);
		self->waiting_bytes += p->tot_len;
		if (self->last)
			self->last->next = p;
		else
			self->first = p;
		for (self->last = p; self->last->next;)
			self->last = self->last->next;
		wait_notify_of(&self->socket.queue, POLLIN | POLLPRI | POLLRDNORM | POLLRDBAND);
		return ERR_OK;
	}
	wait_notify(&self->socket.queue);
	return ERR_OK;
}

static bool has_room(const struct tcp_socket *self)
{
	return self->pcb && self->pcb->snd_buf > TCP_SNDLOWAT &&
		tcp_sndqueuelen(self->pcb) < TCP_SND_QUEUELEN - TCP_SNDQUEUELOWAT;
}

static err_t on_sent(void *argument, struct tcp_pcb *pcb, u16_t bytes)
{
	struct tcp_socket *self = argument;
	(void)pcb, (void)bytes;
	/* Only who found no room is told of it. */
	if (self && self->wants_room && has_room(self)) {
		self->wants_room = false;
		wait_notify_of(&self->socket.queue, POLLOUT | POLLWRNORM | POLLWRBAND);
	}
	return ERR_OK;
}

static void take_from_listener(struct tcp_socket *self)
{
	struct tcp_socket *listener = self->listener, *before = NULL;
	for (struct tcp_socket *one = listener->accepted_first; one != self; one = one->next)
		before = one;
	if (before)
		before->next = self->next;
	else
		listener->accepted_first = self->next;
	if (listener->accepted_last == self)
		listener->accepted_last = before;
	listener->accepted_count--;
	self->listener = NULL;
}

static void on_error(void *argument, err_t error)
{
	struct tcp_socket *self = argument;
	if (!self)
		return;
	tcp_table_remove(self);
	tcp_acks_forget(self);
	self->pcb = NULL;
	self->was_refused = self->state == CONNECTING;
	if (self->was_refused)
		self->socket.error = error == ERR_RST ? ECONNREFUSED : ETIMEDOUT;
	else if (error == ERR_RST)
		self->socket.error =
			self->has_end && !self->socket.is_shut_write ? EPIPE : ECONNRESET;
	else if (error == ERR_ABRT)
		self->socket.error = ETIMEDOUT;
	self->state = ENDED;
	wait_notify(&self->socket.queue);
}

static err_t on_connected(void *argument, struct tcp_pcb *pcb, err_t error)
{
	struct tcp_socket *self = argument;
	(void)error;
	if (!self)
		return ERR_OK;
	self->state = CONNECTED;
	tcp_table_add(self);
	inet_to(self->socket.domain, &pcb->local_ip, pcb->local_port, &self->name);
	wait_notify(&self->socket.queue);
	return ERR_OK;
}

static void hook(struct tcp_socket *self, struct tcp_pcb *pcb)
{
	self->pcb = pcb;
	tcp_arg(pcb, self);
	tcp_recv(pcb, on_receive);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_error);
}

static struct tcp_socket *new_socket(int domain)
{
	struct tcp_socket *self = heap_alloc(sizeof(*self));
	if (!self)
		return NULL;
	self->socket = (struct socket){
		.operations = &operations,
		.domain = domain,
		.type = SOCK_STREAM,
		.protocol = IPPROTO_TCP,
		.send_bytes = TCP_SND_BUF,
		.receive_bytes = TCP_WND,
	};
	self->quick_acks = QUICK_ACKS;
	tcp_first_options(self);
	return self;
}

static err_t on_accept(void *argument, struct tcp_pcb *pcb, err_t error)
{
	struct tcp_socket *listener = argument;
	if (error != ERR_OK || !pcb || !listener)
		return ERR_MEM; /* lwIP drops it */
	struct tcp_socket *self = new_socket(listener->socket.domain);
	if (!self)
		return ERR_MEM;
	self->state = CONNECTED;
	self->socket.options = listener->socket.options;
	hook(self, pcb);
	tcp_table_add(self);
	if (listener->is_nodelay)
		tcp_nagle_disable(pcb);
	inet_to(self->socket.domain, &pcb->local_ip, pcb->local_port, &self->name);
	inet_to(self->socket.domain, &pcb->remote_ip, pcb->remote_port, &self->peer);
	self->listener = listener;
	tcp_backlog_delayed(pcb);
	if (listener->accepted_last)
		listener->accepted_last->next = self;
	else
		listener->accepted_first = self;
	listener->accepted_last = self;
	listener->accepted_count++;
	wait_notify(&listener->socket.queue);
	return ERR_OK;
}

/* While as many wait as the program allows others are not answered, and try again; who has an answer is taken. */
signed char net_takes_packet(const struct tcp_pcb *pcb)
{
	const struct tcp_socket *listener = pcb->callback_arg;
	return listener && listener->accepted_count > listener->backlog ? ERR_MEM : ERR_OK;
}

int64_t tcp_socket_new(int domain, struct socket **ret)
{
	struct tcp_socket *self = new_socket(domain);
	struct tcp_pcb *pcb =
		self ? tcp_new_ip_type(domain == AF_INET ? IPADDR_TYPE_V4 : IPADDR_TYPE_ANY) : NULL;
	if (!pcb) {
		heap_free(self);
		return -ENOBUFS;
	}
	hook(self, pcb);
	*ret = &self->socket;
	return 0;
}

static void drop_accepted(struct tcp_socket *self);

/* As it was before it was bound and connected. */
static int64_t begin_anew(struct tcp_socket *self)
{
	struct socket *socket = &self->socket;
	struct tcp_pcb *pcb =
		tcp_new_ip_type(socket->domain == AF_INET ? IPADDR_TYPE_V4 : IPADDR_TYPE_ANY);
	if (!pcb)
		return -ENOBUFS;
	hook(self, pcb);
	if (self->is_nodelay)
		tcp_nagle_disable(pcb);
	self->state = FRESH;
	self->has_end = self->is_unanswered = self->answers = self->was_refused = false;
	self->quick_acks = QUICK_ACKS;
	self->name.bytes = 0;
	socket->is_shut_read = socket->is_shut_write = socket->is_listening = false;
	return 0;
}

/* A wildcard of an IPv6 socket is one of both versions unless it was asked not to be. */
static void widen(const struct socket *socket, ip_addr_t *address)
{
	if (socket->domain == AF_INET6 && ip_addr_isany(address))
		IP_SET_TYPE(address,
			socket->options & SOCKET_V6ONLY ? IPADDR_TYPE_V6 : IPADDR_TYPE_ANY);
}

static int64_t tcp_bind_socket(struct socket *socket, const struct address *address)
{
	struct tcp_socket *self = tcp_self_of(socket);
	ip_addr_t ip;
	uint16_t port;
	int r = inet_from(socket->domain, address, &ip, &port);
	if (r < 0)
		return r;
	if (!self->pcb || self->state != FRESH || self->pcb->local_port)
		return -EINVAL;
	widen(socket, &ip);
	if (!ip_addr_isany(&ip)) {
		net_wait_address();
		if (!inet_is_local(&ip) && IP_IS_V4_VAL(ip))
			return -EADDRNOTAVAIL;
	}
	if (socket->options & (SOCKET_REUSE_ADDRESS | SOCKET_REUSE_PORT))
		ip_set_option(self->pcb, SOF_REUSEADDR);
	r = inet_error(tcp_bind(self->pcb, &ip, port));
	if (r == 0)
		inet_to(socket->domain, &ip, self->pcb->local_port, &self->name);
	return r;
}

static void let_go(struct tcp_socket *self);

/* Connecting to no family ends what there is, with a reset. */
static int64_t disconnect(struct tcp_socket *self)
{
	if (self->state == FRESH)
		return 0;
	if (self->state == LISTENING) /* those who wait to be accepted are let go with it */
		drop_accepted(self);
	else
		self->socket.error = self->state == ENDED ? 0 : ECONNRESET;
	self->has_reset = true;
	let_go(self);
	self->has_reset = false;
	wait_notify(&self->socket.queue);
	return begin_anew(self);
}

static int64_t tcp_connect_socket(struct socket *socket, const struct address *address)
{
	struct tcp_socket *self = tcp_self_of(socket);
	ip_addr_t ip;
	uint16_t port;
	if (address->bytes >= sizeof(uint16_t) && address->family == AF_UNSPEC)
		return disconnect(self);
	if (self->state == CONNECTING)
		return -EALREADY;
	if (self->state == ENDED && self->was_refused) {
		int64_t error = socket_take_error(socket);
		int64_t again = begin_anew(self);
		return again < 0 ? again : error < 0 ? error : -ECONNABORTED;
	}
	if (self->state != FRESH || !self->pcb)
		return -EISCONN;
	socket->error = 0;
	int r = inet_from(socket->domain, address, &ip, &port);
	if (r < 0)
		return r;
	if (ip_addr_isany(&ip)) { /* as on Linux, that is this instance itself */
		if (IP_IS_V4_VAL(ip))
			ip_addr_set_loopback(false, &ip);
		else
			ip_addr_set_loopback(true, &ip);
	}
	if (!inet_is_local(&ip))
		net_wait_address();
	self->state = CONNECTING;
	r = inet_error(tcp_connect(self->pcb, &ip, port, on_connected));
	if (r < 0) {
		self->state = FRESH;
		return r;
	}
	inet_to(socket->domain, &ip, port, &self->peer);
	inet_to(socket->domain, &self->pcb->local_ip, self->pcb->local_port, &self->name);
	net_poll();
	return self->state == CONNECTED ? 0 : -EINPROGRESS;
}

static int64_t tcp_listen_socket(struct socket *socket, int backlog)
{
	struct tcp_socket *self = tcp_self_of(socket);
	err_t error = ERR_OK;
	self->backlog = (uint32_t)backlog < QUEUE_MOST ? (uint32_t)backlog : QUEUE_MOST;
	if (self->state == LISTENING)
		return 0;
	if (self->state != FRESH || !self->pcb)
		return -EINVAL;
	if (!self->pcb->local_port) {
		ip_addr_t any = IPADDR4_INIT(0);
		if (socket->domain == AF_INET6)
			ip_addr_set_any(true, &any);
		widen(socket, &any);
		int r = inet_error(tcp_bind(self->pcb, &any, 0));
		if (r < 0)
			return r;
		inet_to(socket->domain, &any, self->pcb->local_port, &self->name);
	}
	struct tcp_pcb *listening = tcp_listen_with_backlog_and_err(self->pcb, UINT8_MAX, &error);
	if (!listening)
		return inet_error(error);
	self->pcb = listening;
	self->state = LISTENING;
	socket->is_listening = true;
	tcp_accept(listening, on_accept);
	return 0;
}

static int64_t tcp_accept_socket(struct socket *socket, struct socket **ret)
{
	struct tcp_socket *self = tcp_self_of(socket);
	struct tcp_socket *first = self->accepted_first;
	if (self->state != LISTENING)
		return -EINVAL;
	if (!first)
		return -EAGAIN;
	take_from_listener(first);
	if (first->pcb)
		tcp_backlog_accepted(first->pcb);
	*ret = &first->socket;
	return 0;
}

static int64_t tcp_send(
	struct socket *socket, const void *from, uint64_t size, struct transfer *how)
{
	struct tcp_socket *self = tcp_self_of(socket);
	if (socket->error)
		return socket_take_error(socket);
	if (self->state == CONNECTING) {
		self->wants_room = true;
		return -EAGAIN;
	}
	if (self->state != CONNECTED || !self->pcb || socket->is_shut_write)
		return -EPIPE;
	tcp_acks_answered(self);
	bool has_more = self->is_corked || (how->flags & MSG_MORE);
	bool is_constant = (how->flags & SOCKET_CONSTANT) != 0;
	uint64_t done = 0;
	while (done < size) {
		uint64_t count = size - done, room = self->pcb->snd_buf;
		if (room == 0 || tcp_sndqueuelen(self->pcb) > TCP_SND_QUEUELEN - 64)
			break;
		count = count < room ? count : room;
		count = count < WRITE_MOST ? count : WRITE_MOST;
		uint8_t flags = is_constant ? 0 : TCP_WRITE_FLAG_COPY;
		if (has_more || done + count < size)
			flags |= TCP_WRITE_FLAG_MORE;
		err_t error =
			tcp_write(self->pcb, (const uint8_t *)from + done, (uint16_t)count, flags);
		if (error == ERR_CONN)
			return done ? (int64_t)done : -EPIPE;
		if (error != ERR_OK)
			break;
		done += count;
	}
	if (!has_more || done < size)
		(void)tcp_output(self->pcb);
	card_flush();
	self->wants_room |= done < size;
	return done || size == 0 ? (int64_t)done : -EAGAIN;
}

static void drop_first(struct tcp_socket *self)
{
	struct pbuf *p = self->first;
	self->first = p->next;
	if (!self->first)
		self->last = NULL;
	p->next = NULL;
	self->offset = 0;
	pbuf_free(p);
}

static void open_window(struct tcp_socket *self, uint64_t bytes)
{
	while (self->pcb && self->state == CONNECTED && bytes > 0) {
		uint16_t count = (uint16_t)(bytes < RECVED_MOST ? bytes : RECVED_MOST);
		tcp_recved(self->pcb, count);
		bytes -= count;
	}
	card_flush();
}

static int64_t tcp_receive_bytes(
	struct socket *socket, void *to, uint64_t size, struct transfer *how)
{
	struct tcp_socket *self = tcp_self_of(socket);
	bool looks = (how->flags & MSG_PEEK) != 0;
	if (self->state == FRESH || self->state == LISTENING)
		return -ENOTCONN;
	if (!self->waiting_bytes) {
		if (self->has_end)
			return 0;
		if (socket->error)
			return socket_take_error(socket);
		return socket->is_shut_read || self->state == ENDED ? 0 : -EAGAIN;
	}
	uint64_t done = 0;
	uint32_t offset = self->offset;
	const struct pbuf *p = self->first;
	while (p && done < size) {
		uint64_t count = p->len - offset;
		count = count < size - done ? count : size - done;
		if (!(how->flags & MSG_TRUNC))
			memcpy((uint8_t *)to + done, (const uint8_t *)p->payload + offset, count);
		done += count;
		offset += (uint32_t)count;
		if (offset < p->len)
			break;
		p = p->next;
		offset = 0;
		if (!looks)
			drop_first(self);
	}
	if (looks)
		return (int64_t)done;
	self->offset = offset;
	self->waiting_bytes -= done;
	open_window(self, done);
	return (int64_t)done;
}

/* Not connected yet, or any more: both sides have said their last. */
static bool is_over(const struct tcp_socket *self)
{
	return self->state != CONNECTED || !self->pcb || self->pcb->state == TIME_WAIT;
}

static int64_t tcp_shutdown_socket(struct socket *socket, int how)
{
	struct tcp_socket *self = tcp_self_of(socket);
	if (self->state ==
		LISTENING) { /* it listens no more, and who waits for connections is told */
		const struct address name = self->name;
		int64_t r = how == SHUT_WR ? 0 : disconnect(self);
		if (r == 0 && how != SHUT_WR) {
			ip_set_option(self->pcb, SOF_REUSEADDR); /* its connections stay */
			(void)tcp_bind_socket(socket, &name);
		}
		return r;
	}
	if (is_over(self)) {
		wait_notify(&socket->queue);
		return -ENOTCONN;
	}
	if (how != SHUT_WR)
		socket->is_shut_read = true;
	if (how != SHUT_RD && !socket->is_shut_write) {
		socket->is_shut_write = true;
		(void)tcp_shutdown(self->pcb, 0, 1);
		(void)tcp_output(self->pcb);
		card_flush();
	}
	wait_notify(&socket->queue);
	return 0;
}

static int64_t tcp_name(struct socket *socket, bool is_peer, struct address *ret)
{
	const struct tcp_socket *self = tcp_self_of(socket);
	static const ip_addr_t none = IPADDR4_INIT(0);
	if (is_peer && is_over(self))
		return -ENOTCONN;
	if (is_peer || self->name.bytes)
		*ret = is_peer ? self->peer : self->name;
	else if (socket->domain == AF_INET)
		inet_to(AF_INET, &none, 0, ret);
	else
		inet_to(AF_INET6, IP6_ADDR_ANY, 0, ret);
	return 0;
}

static int64_t tcp_readable(struct socket *socket)
{
	const struct tcp_socket *self = tcp_self_of(socket);
	return self->state == LISTENING ? -EINVAL : (int64_t)self->waiting_bytes;
}

static uint32_t tcp_poll_events(struct socket *socket)
{
	struct tcp_socket *self = tcp_self_of(socket);
	uint32_t events = socket->error ? POLLERR : 0u;
	switch (self->state) {
	case FRESH:
		return events | POLLOUT | POLLWRNORM | POLLHUP;
	case LISTENING:
		return events | (self->accepted_first ? POLLIN | POLLRDNORM : 0u);
	case CONNECTING:
		return events;
	case CONNECTED:
		if (self->waiting_bytes || self->has_end || socket->is_shut_read)
			events |= POLLIN | POLLRDNORM;
		if (self->has_end || socket->is_shut_read)
			events |= POLLRDHUP;
		if ((self->has_end || socket->is_shut_read) && socket->is_shut_write)
			events |= POLLHUP;
		if (socket->is_shut_write || has_room(self))
			events |= POLLOUT | POLLWRNORM;
		else
			self->wants_room = true;
		return events;
	case ENDED:
	default:
		return events | POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLRDHUP | POLLHUP;
	}
}

static void let_go(struct tcp_socket *self)
{
	struct tcp_pcb *pcb = self->pcb;
	bool resets = self->waiting_bytes > 0 || self->has_reset ||
		(self->socket.linger.l_onoff && self->socket.linger.l_linger == 0);
	tcp_table_remove(self);
	tcp_acks_forget(self);
	self->pcb = NULL;
	while (self->first)
		drop_first(self);
	if (!pcb)
		return;
	tcp_arg(pcb, NULL);
	if (self->state != LISTENING) {
		tcp_sent(pcb, NULL);
		tcp_err(pcb, NULL);
		if (self->is_corked)
			tcp_nagle_disable(pcb);
	}
	if (resets && self->state != LISTENING)
		tcp_abort(pcb);
	else if (tcp_close(pcb) != ERR_OK)
		tcp_abort(pcb);
	card_flush();
}

/* Those whom nobody has accepted. */
static void drop_accepted(struct tcp_socket *self)
{
	while (self->accepted_first) {
		struct tcp_socket *one = self->accepted_first;
		take_from_listener(one);
		one->has_reset = true;
		let_go(one);
		heap_free(one);
	}
}

static void tcp_close_socket(struct socket *socket)
{
	struct tcp_socket *self = tcp_self_of(socket);
	drop_accepted(self);
	let_go(self);
	heap_free(self);
}

static const struct socket_operations operations = {
	.bind = tcp_bind_socket,
	.connect = tcp_connect_socket,
	.listen = tcp_listen_socket,
	.accept = tcp_accept_socket,
	.send = tcp_send,
	.receive = tcp_receive_bytes,
	.shutdown = tcp_shutdown_socket,
	.name = tcp_name,
	.get_option = tcp_get_option,
	.set_option = tcp_set_option,
	.readable = tcp_readable,
	.poll = tcp_poll_events,
	.close = tcp_close_socket,
};
