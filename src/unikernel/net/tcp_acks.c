/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp_acks.c - when what has come is acknowledged.
 *
 * Theory of operation. A sender may wait for an acknowledgement: with more than one segment in a frame its window was full, and
 * as long as the program does not answer by itself it may hold back a small segment. So those go at once; but a frame of its
 * own costs as much as the answer. Of a connection whose program has answered what came before it is kept back until the
 * program has had its turn: the answer takes it along, and if there is none it goes before anybody waits or looks for
 * more. Inside the instance an acknowledgement costs nothing.
 */
#include "unikernel/net/tcp_acks.h"

#include <lwip/priv/tcp_priv.h>

static struct tcp_socket *later;

static void keep_back(struct tcp_socket *self, struct tcp_pcb *pcb)
{
	tcp_clear_flags(pcb, TF_ACK_NOW);
	tcp_set_flags(pcb, TF_ACK_DELAY);
	if (self->is_acked_later)
		return;
	self->is_acked_later = true;
	self->next_later = later;
	later = self;
}

void tcp_acks_received(struct tcp_socket *self, struct tcp_pcb *pcb, uint32_t bytes)
{
	bool is_inside = ip_addr_cmp(&pcb->local_ip, &pcb->remote_ip);
	self->is_unanswered = true;
	/* Both sides have ended with this: if the program closes it now no timer of lwIP looks at it again. */
	bool is_last = pcb->state == TIME_WAIT;
	if (self->quick_acks > 0 || is_inside || is_last)
		tcp_ack_now(pcb);
	else if (self->answers)
		keep_back(self, pcb);
	else if (bytes > pcb->mss)
		tcp_ack_now(pcb);
	if (self->quick_acks > 0)
		self->quick_acks--;
}

void tcp_acks_answered(struct tcp_socket *self)
{
	if (!self->is_unanswered)
		return;
	self->quick_acks = 0; /* from now on acknowledgements go with answers */
	self->answers = true;
	self->is_unanswered = false;
}

void tcp_acks_flush(void)
{
	while (later) {
		struct tcp_socket *self = later;
		later = self->next_later;
		self->is_acked_later = false;
		if (self->is_unanswered)
			self->answers = false;
		if (!self->pcb || !(self->pcb->flags & (TF_ACK_DELAY | TF_ACK_NOW)))
			continue;
		tcp_ack_now(self->pcb);
		(void)tcp_output(self->pcb);
	}
}

void tcp_acks_forget(struct tcp_socket *self)
{
	if (!self->is_acked_later)
		return;
	struct tcp_socket **link = &later;
	while (*link != self)
		link = &(*link)->next_later;
	*link = self->next_later;
	self->is_acked_later = false;
}
