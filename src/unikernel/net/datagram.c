/* SPDX-License-Identifier: Apache-2.0 */
/*
 * datagram.c - datagram sockets: UDP, and raw ones for ICMP.
 */
#include <lwip/igmp.h>
#include <lwip/mld6.h>
#include <lwip/prot/ip4.h>
#include <lwip/raw.h>
#include <lwip/udp.h>
#include <netinet/in.h>
#include <poll.h>

#include "unikernel/heap.h"
#include "unikernel/net/card.h"
#include "unikernel/net/inet.h"
#include "unikernel/net/net.h"

#define QUEUE_BYTES  262144u
#define PACKET_BYTES 512u /* what one that waits costs beside its content */
#define UDP_LONGEST  65507u

struct packet {
	struct packet *next;
	struct pbuf *bytes;
	ip_addr_t address;
	uint16_t port;
};

struct datagram {
	struct socket socket;
	struct datagram *next; /* of all that have a peer or had one */
	struct udp_pcb *udp;   /* one of the two */
	struct raw_pcb *raw;
	bool is_ping; /* ICMP without a header of IP, and only answers to it */
	struct packet *first, *last;
	uint64_t queued;
	bool is_connected;
	struct address peer;
};

static struct datagram *self_of(struct socket *socket)
{
	return (struct datagram *)socket;
}

static void enqueue(struct datagram *self, struct pbuf *p, const ip_addr_t *address, uint16_t port)
{
	uint64_t cost = p->tot_len + PACKET_BYTES;
	struct packet *packet =
		self->queued + cost > QUEUE_BYTES ? NULL : heap_alloc(sizeof(*packet));
	if (!packet) {
		pbuf_free(p);
		return;
	}
	packet->bytes = p;
	packet->address = *address;
	packet->port = port;
	if (self->last)
		self->last->next = packet;
	else
		self->first = packet;
	self->last = packet;
	self->queued += cost;
	wait_notify(&self->socket.queue);
}

static void on_udp(
	void *argument, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *address, u16_t port)
{
	(void)pcb;
	enqueue(argument, p, address, port);
}

/* The stack answers pings itself: what a program sees is a copy. */
static u8_t on_raw(void *argument, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *address)
{
	struct datagram *self = argument;
	uint16_t skip = 0;
	(void)pcb;
	if (self->is_ping && self->socket.domain == AF_INET)
		skip = (uint16_t)(IPH_HL_BYTES((const struct ip_hdr *)p->payload));
	if (self->socket.domain == AF_INET6)
		skip = 40;
	if (p->tot_len <= skip)
		return 0;
	uint8_t kind = pbuf_get_at(p, skip);
	if (self->is_ping && kind != 0 && kind != 129)
		return 0;
	struct pbuf *copy = pbuf_alloc(PBUF_RAW, (uint16_t)(p->tot_len - skip), PBUF_RAM);
	if (!copy)
		return 0;
	(void)pbuf_copy_partial(p, copy->payload, copy->tot_len, skip);
	enqueue(self, copy, address, 0);
	return 0;
}

static struct datagram *peered;
static struct raw_pcb *errors4, *errors6;

static void refuse(const ip_addr_t *to, uint16_t to_port, uint16_t from_port)
{
	for (struct datagram *one = peered; one; one = one->next)
		if (one->is_connected && one->udp->local_port == from_port &&
			one->udp->remote_port == to_port && ip_addr_cmp(&one->udp->remote_ip, to)) {
			one->socket.error = ECONNREFUSED;
			wait_notify(&one->socket.queue);
		}
}

/* "Port unreachable": it carries the start of what we sent. lwIP looks for nobody whom that concerns. */
static u8_t on_error(void *argument, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *address)
{
	uint8_t bytes[40 + 8 + 40 + 8];
	bool is_v6 = IP_IS_V6(address);
	uint32_t got = pbuf_copy_partial(p, bytes, sizeof(bytes), 0);
	uint32_t icmp = is_v6 ? 40 : (uint32_t)(bytes[0] & 15) * 4, inner = icmp + 8;
	(void)argument, (void)pcb;
	if (got < inner + 20 || bytes[icmp] != (is_v6 ? 1 : 3) ||
		bytes[icmp + 1] != (is_v6 ? 4 : 3))
		return 0;
	uint32_t udp = inner + (is_v6 ? 40 : (uint32_t)(bytes[inner] & 15) * 4);
	if (got < udp + 4 || bytes[inner + (is_v6 ? 6 : 9)] != IPPROTO_UDP)
		return 0;
	ip_addr_t to = {};
	IP_SET_TYPE_VAL(to, is_v6 ? IPADDR_TYPE_V6 : IPADDR_TYPE_V4);
	if (is_v6)
		memcpy(ip_2_ip6(&to)->addr, bytes + inner + 24, 16);
	else
		memcpy(ip_2_ip4(&to), bytes + inner + 16, 4);
	refuse(&to, (uint16_t)(bytes[udp + 2] << 8 | bytes[udp + 3]),
		(uint16_t)(bytes[udp] << 8 | bytes[udp + 1]));
	return 0;
}

static void listen_for_errors(void)
{
	if (!errors4)
		errors4 = raw_new_ip_type(IPADDR_TYPE_V4, IPPROTO_ICMP);
	if (!errors6)
		errors6 = raw_new_ip_type(IPADDR_TYPE_V6, IPPROTO_ICMPV6);
	if (errors4)
		raw_recv(errors4, on_error, NULL);
	if (errors6)
		raw_recv(errors6, on_error, NULL);
}

static void add_peered(struct datagram *self)
{
	for (const struct datagram *one = peered; one; one = one->next)
		if (one == self)
			return;
	self->next = peered;
	peered = self;
	listen_for_errors();
}

static void drop_peered(const struct datagram *self)
{
	for (struct datagram **link = &peered; *link; link = &(*link)->next)
		if (*link == self) {
			*link = self->next;
			return;
		}
}

static int64_t datagram_bind(struct socket *socket, const struct address *address)
{
	struct datagram *self = self_of(socket);
	ip_addr_t ip;
	uint16_t port;
	int r = inet_from(socket->domain, address, &ip, &port);
	if (r < 0)
		return r;
	if (self->raw)
		return inet_error(raw_bind(self->raw, &ip));
	if (self->udp->local_port)
		return -EINVAL;
	if (socket->domain == AF_INET6 && ip_addr_isany(&ip))
		IP_SET_TYPE(
			&ip, socket->options & SOCKET_V6ONLY ? IPADDR_TYPE_V6 : IPADDR_TYPE_ANY);
	if (socket->options & (SOCKET_REUSE_ADDRESS | SOCKET_REUSE_PORT))
		ip_set_option(self->udp, SOF_REUSEADDR);
	return inet_error(udp_bind(self->udp, &ip, port));
}

static int64_t datagram_connect(struct socket *socket, const struct address *address)
{
	struct datagram *self = self_of(socket);
	ip_addr_t ip;
	uint16_t port;
	if (address->bytes >= sizeof(uint16_t) && address->family == AF_UNSPEC) {
		if (self->udp)
			udp_disconnect(self->udp);
		else
			raw_disconnect(self->raw);
		self->is_connected = false;
		return 0;
	}
	int r = inet_from(socket->domain, address, &ip, &port);
	if (r < 0)
		return r;
	if (!inet_is_local(&ip))
		net_wait_address();
	r = inet_error(self->udp ? udp_connect(self->udp, &ip, port) : raw_connect(self->raw, &ip));
	if (r == 0 && self->udp && ip_addr_isany(&self->udp->local_ip)) {
		/* The program may ask which of its addresses that takes. */
		struct netif *way = ip_route(&self->udp->local_ip, &ip);
		const ip_addr_t *own = way ? ip_netif_get_local_ip(way, &ip) : NULL;
		if (!way)
			r = -ENETUNREACH;
		else if (own)
			ip_addr_copy(self->udp->local_ip, *own);
	}
	self->is_connected = r == 0;
	if (r == 0)
		inet_to(socket->domain, &ip, port, &self->peer);
	if (r == 0 && self->udp)
		add_peered(self);
	return r;
}

/* Ping sockets choose no identifier: the socket's own is in what goes out. */
static void set_ping(struct datagram *self, struct pbuf *p)
{
	uint8_t *bytes = p->payload;
	if (!self->is_ping || p->len < 8)
		return;
	if (self->socket.domain == AF_INET) {
		uint32_t sum = 0;
		bytes[2] = bytes[3] = 0;
		for (uint32_t i = 0; i < p->len; i++)
			sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
		while (sum >> 16)
			sum = (sum & 0xffff) + (sum >> 16);
		bytes[2] = (uint8_t)(~sum >> 8);
		bytes[3] = (uint8_t)~sum;
	}
}

static int64_t datagram_send(
	struct socket *socket, const void *from, uint64_t size, struct transfer *how)
{
	struct datagram *self = self_of(socket);
	const struct address *address =
		how->address && how->address->bytes ? how->address : &self->peer;
	ip_addr_t ip;
	uint16_t port;
	if (socket->error)
		return socket_take_error(socket);
	if (!self->is_connected && address == &self->peer)
		return -EDESTADDRREQ;
	if (size > UDP_LONGEST)
		return -EMSGSIZE;
	if (socket->is_shut_write)
		return -EPIPE;
	int r = inet_from(socket->domain, address, &ip, &port);
	if (r < 0)
		return r;
	if (self->udp && port == 0)
		return -EINVAL;
	if (!inet_is_local(&ip))
		net_wait_address();
	struct pbuf *p = pbuf_alloc(self->udp ? PBUF_TRANSPORT : PBUF_IP, (uint16_t)size, PBUF_RAM);
	if (!p)
		return -ENOBUFS;
	memcpy(p->payload, from, size);
	set_ping(self, p);
	r = inet_error(
		self->udp ? udp_sendto(self->udp, p, &ip, port) : raw_sendto(self->raw, p, &ip));
	pbuf_free(p);
	card_flush();
	return r < 0 ? r : (int64_t)size;
}

static void drop_first(struct datagram *self)
{
	struct packet *packet = self->first;
	self->first = packet->next;
	if (!self->first)
		self->last = NULL;
	self->queued -= packet->bytes->tot_len + PACKET_BYTES;
	pbuf_free(packet->bytes);
	heap_free(packet);
}

static int64_t datagram_receive(
	struct socket *socket, void *to, uint64_t size, struct transfer *how)
{
	struct datagram *self = self_of(socket);
	struct packet *packet = self->first;
	if (socket->error)
		return socket_take_error(socket);
	if (!packet)
		/* Who waits hears of the end, who only looks does not. */
		return socket->is_shut_read && !(how->flags & MSG_DONTWAIT) ? 0 : -EAGAIN;
	uint64_t there = packet->bytes->tot_len, done = size < there ? size : there;
	(void)pbuf_copy_partial(packet->bytes, to, (uint16_t)done, 0);
	if (how->address)
		inet_to(socket->domain, &packet->address, packet->port, how->address);
	if (done < there)
		how->result_flags |= MSG_TRUNC;
	if (!(how->flags & MSG_PEEK))
		drop_first(self);
	return (int64_t)(how->flags & MSG_TRUNC ? there : done);
}

static int64_t datagram_shutdown(struct socket *socket, int how)
{
	const struct datagram *self = self_of(socket);
	socket->is_shut_read |= how != SHUT_WR;
	socket->is_shut_write |= how != SHUT_RD;
	wait_notify(&socket->queue);
	return self->is_connected ? 0 : -ENOTCONN;
}

static int64_t datagram_name(struct socket *socket, bool is_peer, struct address *ret)
{
	const struct datagram *self = self_of(socket);
	if (is_peer && !self->is_connected)
		return -ENOTCONN;
	if (is_peer)
		*ret = self->peer;
	else if (self->udp)
		inet_to(socket->domain, &self->udp->local_ip, self->udp->local_port, ret);
	else
		inet_to(socket->domain, &self->raw->local_ip, 0, ret);
	return 0;
}

static int64_t datagram_get(struct socket *socket, int level, int name, int *ret)
{
	const struct datagram *self = self_of(socket);
	if (level == IPPROTO_IP && (name == IP_TTL || name == IP_TOS)) {
		*ret = self->udp ? (name == IP_TTL ? self->udp->ttl : self->udp->tos)
				 : (name == IP_TTL ? self->raw->ttl : self->raw->tos);
		return 0;
	}
	return socket_no_get_option(socket, level, name, ret);
}

static int64_t join_group(const void *value, uint32_t bytes, bool joins)
{
	ip4_addr_t group;
	const uint32_t *words = value;
	if (bytes < 2 * sizeof(uint32_t))
		return -EINVAL;
	group.addr = words[0];
	return inet_error(joins ? igmp_joingroup_netif(&net_card, &group)
				: igmp_leavegroup_netif(&net_card, &group));
}

static int64_t datagram_set(
	struct socket *socket, int level, int name, const void *value, uint32_t bytes)
{
	struct datagram *self = self_of(socket);
	if (level == IPPROTO_IP && (name == IP_ADD_MEMBERSHIP || name == IP_DROP_MEMBERSHIP))
		return net_has_card ? join_group(value, bytes, name == IP_ADD_MEMBERSHIP) : -ENODEV;
	if (level == IPPROTO_IP && (name == IP_TTL || name == IP_TOS) && bytes >= 1) {
		uint8_t number = *(const uint8_t *)value;
		uint8_t *to = self->udp ? (name == IP_TTL ? &self->udp->ttl : &self->udp->tos)
					: (name == IP_TTL ? &self->raw->ttl : &self->raw->tos);
		*to = number;
		return 0;
	}
	if (level == SOL_SOCKET && name == SO_BROADCAST && self->udp) {
		if (socket->options & SOCKET_BROADCAST)
			ip_set_option(self->udp, SOF_BROADCAST);
		else
			ip_reset_option(self->udp, SOF_BROADCAST);
		return 0;
	}
	if (level == IPPROTO_IPV6 || level == IPPROTO_IP || level == IPPROTO_ICMPV6 ||
		level == SOL_RAW)
		return 0; /* what goes beside the bytes, and is not delivered */
	return socket_no_set_option(socket, level, name, value, bytes);
}

static int64_t datagram_readable(struct socket *socket)
{
	const struct datagram *self = self_of(socket);
	return self->first ? self->first->bytes->tot_len : 0;
}

static uint32_t datagram_poll(struct socket *socket)
{
	const struct datagram *self = self_of(socket);
	return POLLOUT | POLLWRNORM | (socket->error ? POLLERR : 0u) |
		(self->first || socket->is_shut_read ? POLLIN | POLLRDNORM : 0u) |
		(socket->is_shut_read ? POLLRDHUP : 0u) |
		(socket->is_shut_read && socket->is_shut_write ? POLLHUP : 0u);
}

static void datagram_close(struct socket *socket)
{
	struct datagram *self = self_of(socket);
	drop_peered(self);
	if (self->udp)
		udp_remove(self->udp);
	else if (self->raw)
		raw_remove(self->raw);
	while (self->first)
		drop_first(self);
	heap_free(self);
}

static const struct socket_operations operations = {
	.keeps_borders = true,
	.bind = datagram_bind,
	.connect = datagram_connect,
	.listen = socket_no_listen,
	.accept = socket_no_accept,
	.send = datagram_send,
	.receive = datagram_receive,
	.shutdown = datagram_shutdown,
	.name = datagram_name,
	.get_option = datagram_get,
	.set_option = datagram_set,
	.readable = datagram_readable,
	.poll = datagram_poll,
	.close = datagram_close,
};

static bool make_pcb(struct datagram *self)
{
	bool is_raw = self->socket.type == SOCK_RAW || self->is_ping;
	uint8_t type = self->socket.domain == AF_INET ? IPADDR_TYPE_V4
		: is_raw                              ? IPADDR_TYPE_V6
						      : IPADDR_TYPE_ANY;
	if (!is_raw) {
		self->udp = udp_new_ip_type(type);
		if (self->udp)
			udp_recv(self->udp, on_udp, self);
		return self->udp != NULL;
	}
	self->raw = raw_new_ip_type(type, (uint8_t)self->socket.protocol);
	if (!self->raw)
		return false;
	raw_recv(self->raw, on_raw, self);
	if (self->socket.protocol == IPPROTO_ICMPV6) { /* RFC 3542: the stack sums it up */
		self->raw->chksum_reqd = 1;
		self->raw->chksum_offset = 2;
	}
	return true;
}

int64_t datagram_socket_new(int domain, int type, int protocol, struct socket **ret)
{
	bool is_ping =
		type == SOCK_DGRAM && (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6);
	if (type == SOCK_DGRAM && protocol != 0 && protocol != IPPROTO_UDP && !is_ping)
		return -EPROTONOSUPPORT;
	struct datagram *self = heap_alloc(sizeof(*self));
	if (!self)
		return -ENOBUFS;
	self->is_ping = is_ping;
	self->socket = (struct socket){
		.operations = &operations,
		.domain = domain,
		.type = type,
		.protocol = protocol ? protocol : IPPROTO_UDP,
		.send_bytes = (int)QUEUE_BYTES,
		.receive_bytes = (int)QUEUE_BYTES,
	};
	if (!make_pcb(self)) {
		heap_free(self);
		return -ENOBUFS;
	}
	*ret = &self->socket;
	return 0;
}
