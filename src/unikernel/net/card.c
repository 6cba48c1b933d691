/* SPDX-License-Identifier: Apache-2.0 */
/*
 * card.c - the Ethernet card between the platform and lwIP.
 *
 * Theory of operation. A frame stands behind a virtio header in both directions. Where the platform takes over
 * checksums and segments, what it delivers may be one TCP segment of up to 64 KiB, and what lwIP sends as a row of
 * segments of one connection is joined here into one frame, which the host cuts, if it ever has to. That makes
 * one call to the platform of up to forty. A large frame stays where it was received until the program has read it.
 */
#include "unikernel/net/card.h"

#include <linux/virtio_net.h>
#include <lwip/etharp.h>
#include <lwip/ethip6.h>
#include <lwip/inet_chksum.h>
#include <lwip/prot/ip.h>
#include <lwip/prot/ip4.h>
#include <lwip/prot/ip6.h>
#include <lwip/prot/tcp.h>
#include <sys/uio.h>

#include "unikernel/heap.h"
#include "unikernel/net/clock.h"

#define HEADER          sizeof(struct virtio_net_hdr_v1)
#define ETHERNET        14u
#define FRAME_LONGEST   65535u
#define PARTS           32
#define RECEIVE_AT_ONCE 64
#define LARGE_LEAST \
	8192u /* less is copied: a program that does not read must not keep much for little */
#define LARGE_MOST 8u
#define CHECK_ALL \
	(NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP | NETIF_CHECKSUM_CHECK_ICMP | \
		NETIF_CHECKSUM_CHECK_ICMP6)
#define PUSH 8u /* flags of TCP that a joined segment may have */
#define ACK  16u

struct netif net_card;
bool net_has_card;
static uint32_t large_count; /* places that have been given away */

/* Where a frame is received. */
struct place {
	struct pbuf_custom pbuf; /* if it stays here */
	uint8_t bytes[HEADER + FRAME_LONGEST];
};

static struct {
	bool takes_checksums, takes_segments;
	struct place *received;
	uint8_t *joined;
	uint32_t joined_bytes; /* with the header; 0: nothing is kept back */
	uint32_t head_bytes;   /* Ethernet, IP and TCP of it */
	uint32_t segment_bytes;
	uint32_t next_sequence;
	bool is_closed; /* a shorter segment or PUSH ended it */
} card;

/* Where the headers of a TCP frame stand. */
struct layout {
	uint32_t ip, tcp, data; /* offsets from the start of the frame */
	bool is_v6;
};

static uint32_t get16(const uint8_t *at_byte)
{
	return (uint32_t)at_byte[0] << 8 | at_byte[1];
}

static void set16(uint8_t *at_byte, uint32_t value)
{
	at_byte[0] = (uint8_t)(value >> 8);
	at_byte[1] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *at_byte)
{
	return get16(at_byte) << 16 | get16(at_byte + 2);
}

/* True if the frame is TCP without IP options or fragments; its headers are in the first `size` bytes. */
static bool find_tcp(const uint8_t *frame, uint32_t size, struct layout *ret)
{
	uint32_t type = size < ETHERNET + 20 ? 0 : get16(frame + 12), tcp;
	if (type == ETHTYPE_IP) {
		if (frame[ETHERNET] != 0x45 || frame[ETHERNET + 9] != IP_PROTO_TCP ||
			(get16(frame + ETHERNET + 6) & 0x3fff))
			return false;
		tcp = ETHERNET + 20;
	} else if (type == ETHTYPE_IPV6) {
		if (frame[ETHERNET + 6] != IP6_NEXTH_TCP)
			return false;
		tcp = ETHERNET + 40;
	} else {
		return false;
	}
	if (size < tcp + 20)
		return false;
	*ret = (struct layout){ ETHERNET, tcp, tcp + (uint32_t)(frame[tcp + 12] >> 4) * 4,
		type == ETHTYPE_IPV6 };
	return ret->data <= size;
}

/* The sum over addresses, protocol and length that the host's checksum continues. */
static uint16_t pseudo_sum(const uint8_t *frame, const struct layout *layout, uint32_t bytes)
{
	const uint8_t *from = frame + layout->ip + (layout->is_v6 ? 8 : 12);
	const uint8_t *end = from + (layout->is_v6 ? 32 : 8);
	uint32_t sum = IP_PROTO_TCP + bytes;
	for (; from < end; from += 2)
		sum += get16(from);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void set_ip_length(uint8_t *frame, const struct layout *layout, uint32_t ip_bytes)
{
	if (layout->is_v6) {
		set16(frame + layout->ip + 4, ip_bytes - 40);
		return;
	}
	set16(frame + layout->ip + 2, ip_bytes);
	set16(frame + layout->ip + 10, 0);
	uint32_t sum = 0;
	for (uint32_t i = 0; i < 20; i += 2)
		sum += get16(frame + layout->ip + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	set16(frame + layout->ip + 10, ~sum & 0xffff);
}

static void send_parts(const struct iovec *parts, int count)
{
	/* A full queue of the host is a lost frame, as on any wire. */
	(void)platform_net_send(parts, count);
}

static void offload(struct virtio_net_hdr_v1 *header, uint8_t *frame, const struct layout *layout,
	uint32_t frame_bytes)
{
	set16(frame + layout->tcp + 16, pseudo_sum(frame, layout, frame_bytes - layout->tcp));
	header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header->csum_start = (uint16_t)layout->tcp;
	header->csum_offset = 16;
}

void card_flush(void)
{
	if (!card.joined_bytes)
		return;
	struct virtio_net_hdr_v1 *header = (void *)card.joined;
	uint8_t *frame = card.joined + HEADER;
	uint32_t frame_bytes = card.joined_bytes - (uint32_t)HEADER;
	struct layout layout;
	memset(header, 0, HEADER);
	if (find_tcp(frame, frame_bytes, &layout)) {
		set_ip_length(frame, &layout, frame_bytes - layout.ip);
		offload(header, frame, &layout, frame_bytes);
		if (frame_bytes - card.head_bytes > card.segment_bytes) {
			header->gso_type =
				layout.is_v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
			header->gso_size = (uint16_t)card.segment_bytes;
			header->hdr_len = (uint16_t)card.head_bytes;
		}
	}
	const struct iovec part = { card.joined, card.joined_bytes };
	card.joined_bytes = 0;
	send_parts(&part, 1);
}

/* What has to be the same for two segments to be one: addresses, ports, ACK, window, options. */
static bool continues(const uint8_t *frame, const struct layout *layout, uint32_t bytes)
{
	const uint8_t *first = card.joined + HEADER;
	uint32_t ip_from = layout->is_v6 ? 6 : 8; /* not the length, nor IPv4's number */
	uint32_t tcp = layout->tcp;
	if (!card.joined_bytes || card.is_closed || layout->data != card.head_bytes ||
		bytes - layout->data > card.segment_bytes ||
		card.joined_bytes + (bytes - layout->data) > FRAME_LONGEST - 256 ||
		get32(frame + tcp + 4) != card.next_sequence || (frame[tcp + 13] & ~PUSH) != ACK)
		return false;
	uint32_t sum = layout->is_v6 ? 0 : 2; /* IPv4's header sum stands in between */
	if (memcmp(first, frame, ETHERNET) != 0 ||
		memcmp(first + ETHERNET + ip_from, frame + ETHERNET + ip_from, 2) != 0 ||
		memcmp(first + ETHERNET + ip_from + 2 + sum, frame + ETHERNET + ip_from + 2 + sum,
			tcp - ETHERNET - ip_from - 2 - sum) != 0)
		return false;
	return memcmp(first + tcp, frame + tcp, 4) == 0 &&
		memcmp(first + tcp + 8, frame + tcp + 8, 5) == 0 &&
		memcmp(first + tcp + 14, frame + tcp + 14, 2) == 0 &&
		memcmp(first + tcp + 18, frame + tcp + 18, layout->data - tcp - 18) == 0;
}

static void copy_frame(uint8_t *to, const struct pbuf *p, uint32_t skip)
{
	for (; p; p = p->next) {
		if (skip >= p->len) {
			skip -= p->len;
			continue;
		}
		memcpy(to, (const uint8_t *)p->payload + skip, p->len - skip);
		to += p->len - skip;
		skip = 0;
	}
}

/* Keeps the segment back, joined to the one before if it continues that. */
static void join(const struct pbuf *p, const struct layout *layout)
{
	const uint8_t *frame = p->payload;
	uint32_t data = p->tot_len - layout->data;
	if (continues(frame, layout, p->tot_len)) {
		copy_frame(card.joined + card.joined_bytes, p, layout->data);
		card.joined[HEADER + layout->tcp + 13] |= frame[layout->tcp + 13] & PUSH;
		card.joined_bytes += data;
	} else {
		card_flush();
		copy_frame(card.joined + HEADER, p, 0);
		card.joined_bytes = (uint32_t)HEADER + p->tot_len;
		card.head_bytes = layout->data;
		card.segment_bytes = data;
		card.is_closed = false;
		card.next_sequence = get32(frame + layout->tcp + 4);
	}
	card.next_sequence += data;
	if (data < card.segment_bytes || (frame[layout->tcp + 13] & PUSH))
		card.is_closed = true;
}

static err_t send_frame(struct netif *netif, struct pbuf *p)
{
	struct virtio_net_hdr_v1 header = {};
	static struct iovec parts[PARTS];
	struct layout layout;
	int count = 1;
	(void)netif;
	parts[0] = (struct iovec){ &header, HEADER };
	if (card.takes_segments && find_tcp(p->payload, p->len, &layout)) {
		const uint8_t *frame = p->payload;
		if ((frame[layout.tcp + 13] & ~PUSH) == ACK && p->tot_len > layout.data) {
			join(p, &layout);
			return ERR_OK;
		}
		card_flush();
		offload(&header, p->payload, &layout, p->tot_len);
	} else {
		card_flush();
	}
	for (const struct pbuf *part = p; part; part = part->next) {
		if (count == PARTS)
			return ERR_BUF;
		parts[count++] = (struct iovec){ part->payload, part->len };
	}
	send_parts(parts, count);
	return ERR_OK;
}

static err_t init_netif(struct netif *netif)
{
	netif->name[0] = 'e';
	netif->name[1] = 't';
	netif->output = etharp_output;
	netif->output_ip6 = ethip6_output;
	netif->linkoutput = send_frame;
	netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET |
		NETIF_FLAG_IGMP | NETIF_FLAG_MLD6 | NETIF_FLAG_LINK_UP;
	return ERR_OK;
}

void card_set_offload(const struct boot *boot)
{
	card.takes_checksums = (boot->flags & BOOT_NET_OFFLOAD) != 0;
	card.takes_segments = card.takes_checksums && card.joined;
	net_card.chksum_flags = NETIF_CHECKSUM_ENABLE_ALL;
	if (card.takes_segments)
		net_card.chksum_flags &= (uint16_t)~NETIF_CHECKSUM_GEN_TCP;
	card.joined_bytes = 0;
}

void card_done(void)
{
	net_has_card = false;
	heap_free(card.received);
	heap_free(card.joined);
	memset(&card, 0, sizeof(card));
}

int card_init(const struct boot *boot)
{
	card.received = heap_alloc_raw(sizeof(*card.received));
	if (boot->flags & BOOT_NET_OFFLOAD)
		card.joined = heap_alloc(HEADER + FRAME_LONGEST);
	if (!card.received || ((boot->flags & BOOT_NET_OFFLOAD) && !card.joined))
		return -ENOMEM;
	if (!netif_add_noaddr(&net_card, NULL, init_netif, netif_input))
		return -ENOMEM;
	memcpy(net_card.hwaddr, boot->net.mac, sizeof(boot->net.mac));
	net_card.hwaddr_len = sizeof(boot->net.mac);
	net_card.mtu = boot->net.mtu;
	card_set_offload(boot);
	net_has_card = true;
	return 0;
}

static void take_back(struct pbuf *p)
{
	large_count--;
	heap_free((struct place *)p);
}

/* The frame where it is; the next one is received elsewhere. NULL: it has to be copied. */
static struct pbuf *give_away(uint32_t bytes)
{
	struct place *place = card.received, *next = NULL;
	if (bytes >= LARGE_LEAST && large_count < LARGE_MOST)
		next = heap_alloc_raw(sizeof(*next));
	if (!next)
		return NULL;
	large_count++;
	card.received = next;
	place->pbuf.custom_free_function = take_back;
	return pbuf_alloced_custom(PBUF_RAW, (uint16_t)bytes, PBUF_REF, &place->pbuf,
		place->bytes + HEADER, FRAME_LONGEST);
}

static struct pbuf *copy_received(uint32_t bytes)
{
	struct pbuf *p = pbuf_alloc(PBUF_RAW, (uint16_t)bytes, PBUF_RAM);
	if (p)
		memcpy(p->payload, card.received->bytes + HEADER, bytes);
	return p;
}

static void take_frame(uint32_t bytes)
{
	const struct virtio_net_hdr_v1 *header = (const void *)card.received->bytes;
	bool is_checked =
		(header->flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID)) != 0;
	struct pbuf *p = give_away(bytes);
	if (!p)
		p = copy_received(bytes);
	if (!p)
		return;
	if (is_checked)
		net_card.chksum_flags &= (uint16_t)~CHECK_ALL;
	else
		net_card.chksum_flags |= CHECK_ALL;
	if (net_card.input(p, &net_card) != ERR_OK)
		pbuf_free(p);
}

bool card_receive(void)
{
	int i;
	for (i = 0; i < RECEIVE_AT_ONCE; i++) {
		int64_t got = platform_net_receive(card.received->bytes, HEADER + FRAME_LONGEST);
		if (got < (int64_t)(HEADER + ETHERNET))
			break;
		take_frame((uint32_t)((uint64_t)got - HEADER));
	}
	if (i > 0)
		clock_stay_awake(platform_clock_monotonic());
	return i > 0;
}
