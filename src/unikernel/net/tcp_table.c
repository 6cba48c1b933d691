/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp_table.c - where a connection is found among thousands by the frame that it got.
 *
 * Theory of operation. lwIP has all connections in one list and looks through it for every segment, which with a thousand
 * of them costs more than all the rest. Here they are found by a hash of ports and address, and moved to the list's front
 * before lwIP sees the frame. To take one out of the list needs the one before it, which each remembers in arguments that
 * lwIP keeps for others: two that remember each other as neighbours once were, and both still exist, since who goes tells
 * the other one. Whether they still are is looked at; if not, the list is searched once.
 */
#include "unikernel/net/tcp_table.h"

#include <lwip/priv/tcp_priv.h>
#include <lwip/prot/ip.h>
#include <lwip/prot/ip4.h>
#include <lwip/prot/ip6.h>
#include <lwip/prot/tcp.h>

#define BUCKETS_LOG 11
#define BEFORE      0 /* arguments of a pcb */
#define AFTER       1

static struct tcp_socket *buckets[1u << BUCKETS_LOG];

/* Of an address of either version what differs most. */
static uint32_t bucket_of(uint16_t own, uint16_t remote, uint32_t address)
{
	return ((address ^ ((uint32_t)remote << 16 | own)) * 0x9e3779b1u) >> (32 - BUCKETS_LOG);
}

static const uint32_t *words_of(const ip_addr_t *address)
{
	return IP_IS_V6_VAL(*address) ? ip_2_ip6(address)->addr : &ip_2_ip4(address)->addr;
}

static struct tcp_socket **place_of(const struct tcp_pcb *pcb)
{
	const ip_addr_t *address = &pcb->remote_ip;
	uint32_t word = words_of(address)[IP_IS_V6_VAL(*address) ? 3 : 0];
	return &buckets[bucket_of(pcb->local_port, pcb->remote_port, word)];
}

void tcp_table_add(struct tcp_socket *self)
{
	struct tcp_socket **place = place_of(self->pcb);
	if (self->place)
		return;
	self->place = place;
	self->next_there = *place;
	*place = self;
}

void tcp_table_remove(struct tcp_socket *self)
{
	struct tcp_socket **link = self->place;
	if (!link)
		return;
	while (*link != self)
		link = &(*link)->next_there;
	*link = self->next_there;
	self->place = NULL;
}

static struct tcp_pcb *neighbour(const struct tcp_pcb *pcb, uint8_t side)
{
	return pcb->ext_args[side].data;
}

/* One of two is gone, or has another neighbour there. */
static void forget(uint8_t side, void *other)
{
	if (other)
		((struct tcp_pcb *)other)->ext_args[side == BEFORE ? AFTER : BEFORE].data = NULL;
}

static const struct tcp_ext_arg_callbacks callbacks = { .destroy = forget };

static void set_neighbour(struct tcp_pcb *pcb, uint8_t side, struct tcp_pcb *other)
{
	forget(side, neighbour(pcb, side));
	pcb->ext_args[side].data = other;
	pcb->ext_args[side].callbacks = &callbacks;
}

static void tie(struct tcp_pcb *before, struct tcp_pcb *after)
{
	set_neighbour(before, AFTER, after);
	set_neighbour(after, BEFORE, before);
}

static void move_first(struct tcp_pcb *pcb)
{
	struct tcp_pcb *first = tcp_active_pcbs, *before = neighbour(pcb, BEFORE);
	if (first == pcb)
		return;
	if (!before || before->next != pcb)
		for (before = first; before && before->next != pcb;)
			before = before->next;
	if (!before)
		return; /* it is in no list, or in another one */
	before->next = pcb->next;
	if (pcb->next)
		tie(before, pcb->next);
	else
		set_neighbour(before, AFTER, NULL);
	pcb->next = first;
	tcp_active_pcbs = pcb;
	set_neighbour(pcb, BEFORE, NULL);
	tie(pcb, first);
}

static void bring(const uint8_t *ip, const uint8_t *tcp, bool is_v6)
{
	uint16_t remote = (uint16_t)(tcp[0] << 8 | tcp[1]), own = (uint16_t)(tcp[2] << 8 | tcp[3]);
	uint32_t address[4];
	memcpy(address, ip + (is_v6 ? 8 : 12), is_v6 ? 16 : 4);
	struct tcp_socket *one = buckets[bucket_of(own, remote, address[is_v6 ? 3 : 0])];
	for (; one; one = one->next_there) {
		const struct tcp_pcb *pcb = one->pcb;
		if (pcb->local_port == own && pcb->remote_port == remote &&
			IP_IS_V6_VAL(pcb->remote_ip) == is_v6 &&
			memcmp(words_of(&pcb->remote_ip), address, is_v6 ? 16 : 4) == 0) {
			move_first(one->pcb);
			return;
		}
	}
}

/* What lwIP asks of each packet before it looks at it; a wrong one changes no more than an order. */
int net_sees_packet(const struct pbuf *p)
{
	const uint8_t *ip = p->payload;
	if (p->len >= IP6_HLEN + TCP_HLEN && ip[0] >> 4 == 6 && ip[6] == IP6_NEXTH_TCP)
		bring(ip, ip + IP6_HLEN, true);
	else if (p->len >= IP_HLEN + TCP_HLEN && ip[0] == 0x45 && ip[9] == IP_PROTO_TCP)
		bring(ip, ip + IP_HLEN, false);
	return 0;
}
