/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp_large.c - segments inside that are many on the wire.
 *
 * Theory of operation. lwIP makes a segment as large as the connection's MSS says, so while bytes are written that is a
 * multiple of what it is: one header, one allocation and one frame for up to 64 KiB, which the host cuts if it ever has to
 * (net/card.c). All that counts in segments, congestion above all, knows the true one. What lwIP cannot do with such segments is
 * done here, around its tcp_output(): of one that the window has no room for a part is sent, of one that was lost in part only
 * the first segment of the wire, and nothing that has been acknowledged already.
 */
#include "unikernel/net/tcp_large.h"

#include <lwip/priv/tcp_priv.h>

#include "unikernel/net/card.h"

/* lwIP's own functions, renamed when it is compiled: the names are ours, and all others call these. */
err_t lwip_tcp_output(struct tcp_pcb *pcb);
void lwip_tcp_rexmit_rto_commit(struct tcp_pcb *pcb);
err_t lwip_tcp_split_unsent_seg(struct tcp_pcb *pcb, uint16_t bytes);

static uint32_t start_of(const struct tcp_seg *segment)
{
	return lwip_ntohl(segment->tcphdr->seqno);
}

static uint32_t window_of(const struct tcp_pcb *pcb)
{
	return LWIP_MIN(pcb->snd_wnd, pcb->cwnd);
}

static bool is_inside(const struct tcp_pcb *pcb)
{
	return ip_addr_cmp(&pcb->local_ip, &pcb->remote_ip) || ip_addr_isloopback(&pcb->remote_ip);
}

static struct tcp_seg *last_unsent(const struct tcp_pcb *pcb)
{
	struct tcp_seg *last = pcb->unsent;
	while (last && last->next)
		last = last->next;
	return last;
}

/* At most half a window, so that one is on its way while the next is made. */
static uint32_t bytes_of_next(const struct tcp_pcb *pcb)
{
	uint32_t mss = pcb->mss, bytes = TCP_LARGE_MOST;
	if (mss == 0 || (!card_takes_large() && !is_inside(pcb)))
		return mss;
	bytes = LWIP_MIN(bytes, window_of(pcb) / 2);
	bytes = LWIP_MIN(bytes, pcb->snd_wnd_max / 2); /* lwIP's own limit, which is no multiple */
	/* To what waits already, and has room, lwIP adds; that must not be more than what is allowed. */
	const struct tcp_seg *last = last_unsent(pcb);
	uint32_t waiting = last ? (uint32_t)last->len + pcb->unsent_oversize : 0;
	if (waiting > bytes)
		bytes = waiting + mss - 1;
	bytes -= bytes % mss;
	return LWIP_MAX(bytes, mss);
}

void tcp_large_begin(struct tcp_pcb *pcb)
{
	uint32_t window = LWIP_MIN(10u * pcb->mss, LWIP_MAX(2u * pcb->mss, 14600u));
	pcb->cwnd = LWIP_MAX(pcb->cwnd, window);
}

err_t tcp_large_write(struct tcp_pcb *pcb, const void *from, uint16_t count, uint8_t flags)
{
	uint16_t mss = pcb->mss;
	/* What waits for the window may get more: lwIP leaves room behind it, instead of a piece of memory for each write. */
	uint8_t waits = pcb->unsent ? TCP_WRITE_FLAG_MORE : 0;
	pcb->mss = (uint16_t)bytes_of_next(pcb);
	err_t error = tcp_write(pcb, from, count, flags | waits);
	pcb->mss = mss;
	const struct tcp_seg *last = last_unsent(pcb);
	if (error == ERR_OK && last && waits && !(flags & TCP_WRITE_FLAG_MORE))
		TCPH_SET_FLAG(last->tcphdr, TCP_PSH);
	return error;
}

/* lwIP leaves the end of the stream on the first part, too. */
err_t tcp_split_unsent_seg(struct tcp_pcb *pcb, uint16_t bytes)
{
	const struct tcp_seg *first = pcb->unsent;
	bool is_cut = first && first->len > bytes;
	err_t error = lwip_tcp_split_unsent_seg(pcb, bytes);
	if (error == ERR_OK && is_cut)
		TCPH_UNSET_FLAG(first->tcphdr, TCP_FIN | TCP_PSH);
	return error;
}

/* The first part of what is to be sent first becomes a segment of its own. */
static bool cut_first(struct tcp_pcb *pcb, uint32_t bytes)
{
	const struct tcp_seg *first = pcb->unsent;
	return bytes > 0 && bytes < first->len &&
		tcp_split_unsent_seg(pcb, (uint16_t)bytes) == ERR_OK;
}

static void drop_acknowledged(struct tcp_pcb *pcb)
{
	struct tcp_seg *first = pcb->unsent;
	uint32_t done = pcb->lastack - start_of(first);
	if (first->len == 0 || done == 0 || done >= first->len || !cut_first(pcb, done))
		return;
	pcb->unsent = first->next;
	pcb->snd_buf += done; /* as lwIP does where a segment is acknowledged as a whole */
	pcb->snd_queuelen = (uint16_t)(pcb->snd_queuelen - pbuf_clen(first->p));
	tcp_seg_free(first);
}

/*
 * After three acknowledgements of the same byte lwIP takes back what was sent first. One segment of the wire is missing; what
 * follows it has probably come, and is under way as before.
 */
static void cut_lost(struct tcp_pcb *pcb)
{
	struct tcp_seg *first = pcb->unsent;
	bool was_sent = TCP_SEQ_LEQ(start_of(first) + TCP_TCPLEN(first), pcb->snd_nxt);
	bool is_taken_back = pcb->unacked ? TCP_SEQ_LT(start_of(first), start_of(pcb->unacked))
					  : was_sent && !(pcb->flags & TF_RTO);
	if (!is_taken_back || !cut_first(pcb, pcb->mss))
		return;
	struct tcp_seg *rest = first->next;
	first->next = rest->next;
	rest->next = pcb->unacked;
	pcb->unacked = rest;
}

/* A timer puts what was under way before all that waits, of which some may be older: taken back, and not sent for a small window. */
static void sort_unsent(struct tcp_pcb *pcb)
{
	struct tcp_seg *left = pcb->unsent, *sorted = NULL;
	bool is_sorted = true;
	for (struct tcp_seg *one = left; one && one->next; one = one->next)
		is_sorted = is_sorted && TCP_SEQ_LT(start_of(one), start_of(one->next));
	if (is_sorted)
		return;
	while (left) {
		struct tcp_seg *one = left, **link = &sorted;
		left = one->next;
		while (*link && TCP_SEQ_LT(start_of(*link), start_of(one)))
			link = &(*link)->next;
		one->next = *link;
		*link = one;
	}
	pcb->unsent = sorted;
	pcb->unsent_oversize = 0; /* another one may be the last */
}

/* Of what does not fit as much as does, unless that is so little that more will fit soon. */
static bool cut_to_window(struct tcp_pcb *pcb)
{
	const struct tcp_seg *first = pcb->unsent;
	if (!first || first->len <= pcb->mss)
		return false;
	uint32_t window = window_of(pcb), used = start_of(first) - pcb->lastack;
	if (used >= window || window - used >= first->len)
		return false;
	uint32_t room = window - used;
	if (pcb->unacked && room < window / 4)
		return false;
	return cut_first(pcb, room - room % pcb->mss);
}

err_t tcp_output(struct tcp_pcb *pcb)
{
	if (tcp_input_pcb == pcb) /* lwIP calls again when it has looked at all of what came */
		return ERR_OK;
	if (pcb->unsent && pcb->unsent->len > 0)
		drop_acknowledged(pcb);
	if (pcb->unsent && pcb->unsent->len > pcb->mss)
		cut_lost(pcb);
	card_set_segment(pcb->mss);
	err_t error;
	do
		error = lwip_tcp_output(pcb);
	while (error == ERR_OK && cut_to_window(pcb));
	card_set_segment(0);
	return error;
}

void tcp_rexmit_rto_commit(struct tcp_pcb *pcb)
{
	sort_unsent(pcb);
	if (pcb->unsent && pcb->unsent->len > 0)
		drop_acknowledged(pcb);
	card_set_segment(pcb->mss);
	lwip_tcp_rexmit_rto_commit(pcb);
	(void)tcp_output(pcb);
}
