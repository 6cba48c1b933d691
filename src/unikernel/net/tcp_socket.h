/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp_socket.h - what a stream socket over TCP is; for tcp.c and tcp_options.c.
 */
#pragma once

#include <lwip/tcp.h>

#include "unikernel/net/inet.h"

#define TCP_REMEMBERED 5

enum tcp_socket_state { FRESH, LISTENING, CONNECTING, CONNECTED, ENDED };

struct tcp_socket {
	struct socket socket;
	enum tcp_socket_state state;
	struct tcp_pcb *pcb; /* NULL: it has ended, or an error took it */
	struct pbuf *first, *last;
	uint32_t offset; /* into the first */
	uint64_t waiting_bytes;
	bool has_end; /* the peer will send no more */
	bool is_corked, is_nodelay;
	bool was_refused;   /* its last attempt to connect failed; the next one begins anew */
	bool has_reset;     /* while it is let go: with a reset, whatever waits */
	uint8_t quick_acks; /* so many are sent without waiting for an answer that takes them along */
	bool wants_room;    /* somebody found none to write into */
	/* Of tcp_acks.c. */
	bool is_unanswered; /* something has come since it sent last */
	bool answers;       /* it has answered what came before */
	bool is_acked_later;
	struct tcp_socket *next_later;
	/* Of a listener: connections that nobody has accepted. */
	struct tcp_socket *accepted_first, *accepted_last, *next;
	struct tcp_socket *listener;
	uint32_t accepted_count, backlog;
	struct address name, peer;              /* kept when the pcb is gone */
	struct tcp_socket **place, *next_there; /* of tcp_table.c */
	int remembered[TCP_REMEMBERED];         /* options that change nothing here */
};

static inline struct tcp_socket *tcp_self_of(struct socket *socket)
{
	return (struct tcp_socket *)socket;
}
