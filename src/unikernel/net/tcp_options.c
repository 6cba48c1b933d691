/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp_options.c - the options of a stream socket over TCP.
 */
#include "unikernel/net/tcp_options.h"

#include <netinet/in.h>

#include "unikernel/net/card.h"
#include "unikernel/net/tcp_socket.h"

/* What <netinet/tcp.h> calls these; it and lwIP define other things alike. */
#define OPTION_NODELAY      1
#define OPTION_MAXSEG       2
#define OPTION_CORK         3
#define OPTION_KEEPIDLE     4
#define OPTION_KEEPINTVL    5
#define OPTION_KEEPCNT      6
#define OPTION_SYNCNT       7
#define OPTION_LINGER2      8
#define OPTION_DEFER        9
#define OPTION_INFO         11
#define OPTION_QUICKACK     12
#define OPTION_CONGESTION   13
#define OPTION_USER_TIMEOUT 18
#define OPTION_FASTOPEN     23

#define KEEP_SECONDS_MOST 32767
#define TRIES_MOST        127

/* What is remembered and changes nothing here, with Linux's first value. */
static const struct {
	int name, first;
} remembered[TCP_REMEMBERED] = {
	{ OPTION_SYNCNT, 6 },
	{ OPTION_LINGER2, 60 },
	{ OPTION_DEFER, 0 },
	{ OPTION_QUICKACK, 1 },
	{ OPTION_USER_TIMEOUT, 0 },
};

static int *remembered_of(struct tcp_socket *self, int name)
{
	for (size_t i = 0; i < COUNT(remembered); i++)
		if (remembered[i].name == name)
			return &self->remembered[i];
	return NULL;
}

void tcp_first_options(struct tcp_socket *self)
{
	for (size_t i = 0; i < COUNT(remembered); i++)
		self->remembered[i] = remembered[i].first;
}

int64_t tcp_get_option(struct socket *socket, int level, int name, int *ret)
{
	struct tcp_socket *self = tcp_self_of(socket);
	const struct tcp_pcb *pcb = self->pcb;
	const int *kept = remembered_of(self, name);
	if (level != IPPROTO_TCP)
		return socket_no_get_option(socket, level, name, ret);
	bool is_full = pcb && self->state != LISTENING;
	switch (name) {
	case OPTION_NODELAY:
		*ret = self->is_nodelay;
		return 0;
	case OPTION_MAXSEG:
		*ret = is_full ? pcb->mss : TCP_MSS;
		return 0;
	case OPTION_CORK:
		*ret = self->is_corked;
		return 0;
	case OPTION_KEEPIDLE:
		*ret = is_full ? (int)(pcb->keep_idle / 1000) : 7200;
		return 0;
	case OPTION_KEEPINTVL:
		*ret = is_full ? (int)(pcb->keep_intvl / 1000) : 75;
		return 0;
	case OPTION_KEEPCNT:
		*ret = is_full ? (int)pcb->keep_cnt : 9;
		return 0;
	default:
		if (!kept)
			return -ENOPROTOOPT;
		*ret = *kept;
		return 0;
	}
}

static void set_cork(struct tcp_socket *self, bool is_corked)
{
	self->is_corked = is_corked;
	if (!is_corked && self->pcb && self->state == CONNECTED) {
		/* What stands half full is sent, as Linux does on uncorking. */
		tcp_nagle_disable(self->pcb);
		(void)tcp_output(self->pcb);
		if (!self->is_nodelay)
			tcp_nagle_enable(self->pcb);
		card_flush();
	}
}

/* A number of `unit` in a block that has it; a listener keeps none. */
static int64_t set_positive(uint32_t *to, int value, int most, uint32_t unit)
{
	if (value < 1 || value > most)
		return -EINVAL;
	if (to)
		*to = (uint32_t)value * unit;
	return 0;
}

static int64_t set_tcp(struct tcp_socket *self, int name, int value)
{
	struct tcp_pcb *pcb = self->state == LISTENING ? NULL : self->pcb;
	int *kept = remembered_of(self, name);
	switch (name) {
	case OPTION_NODELAY:
		self->is_nodelay = value != 0;
		if (pcb && value)
			tcp_nagle_disable(pcb);
		else if (pcb)
			tcp_nagle_enable(pcb);
		return 0;
	case OPTION_CORK:
		set_cork(self, value != 0);
		return 0;
	case OPTION_KEEPIDLE:
		return set_positive(pcb ? &pcb->keep_idle : NULL, value, KEEP_SECONDS_MOST, 1000);
	case OPTION_KEEPINTVL:
		return set_positive(pcb ? &pcb->keep_intvl : NULL, value, KEEP_SECONDS_MOST, 1000);
	case OPTION_KEEPCNT:
		return set_positive(pcb ? &pcb->keep_cnt : NULL, value, TRIES_MOST, 1);
	case OPTION_MAXSEG:
		return 0;
	default:
		if (!kept)
			return -ENOPROTOOPT;
		if ((name == OPTION_SYNCNT && (value < 1 || value > TRIES_MOST)) ||
			(name == OPTION_USER_TIMEOUT && value < 0))
			return -EINVAL;
		*kept = value;
		return 0;
	}
}

int64_t tcp_set_option(
	struct socket *socket, int level, int name, const void *value, uint32_t bytes)
{
	struct tcp_socket *self = tcp_self_of(socket);
	int number;
	if (level == SOL_SOCKET) {
		if (name == SO_KEEPALIVE && self->pcb && self->state != LISTENING) {
			if (socket->options & SOCKET_KEEPALIVE)
				ip_set_option(self->pcb, SOF_KEEPALIVE);
			else
				ip_reset_option(self->pcb, SOF_KEEPALIVE);
		}
		return 0;
	}
	if (level != IPPROTO_TCP)
		return socket_no_set_option(socket, level, name, value, bytes);
	if (bytes < sizeof(number))
		return -EINVAL;
	memcpy(&number, value, sizeof(number));
	return set_tcp(self, name, number);
}
