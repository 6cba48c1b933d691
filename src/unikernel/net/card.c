/* SPDX-License-Identifier: Apache-2.0 */
/*
 * card.c - the Ethernet card between the platform and lwIP.
 *
 * Theory of operation. A frame stands behind a virtio header in both directions. Where the platform takes over
 * checksums and segments, a TCP segment of up to 64 KiB is one frame in both directions, which the host cuts, if it
 * ever has to: what the connection's segments on the wire are is said in the header. A frame that lwIP has in one
 * piece gets that header in front of it, where room was left; a large one that came stays where it was received until the
 * program has read it.
 */
#include "unikernel/net/card.h"

#include <linux/virtio_net.h>
#include <lwip/etharp.h>
#include <lwip/ethip6.h>
#include <lwip/inet_chksum.h>
#include <lwip/ip4_frag.h>
#include <lwip/ip6_frag.h>
#include <lwip/nd6.h>
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
#define PARTS           40 /* with as many pages as a frame has the most that a machine takes */
#define RECEIVE_AT_ONCE 64
#define LARGE_LEAST \
	8192u /* less is copied: a program that does not read must not keep much for little */
#define LARGE_MOST 8u
#define CHECK_ALL \
	(NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP | NETIF_CHECKSUM_CHECK_ICMP | \
		NETIF_CHECKSUM_CHECK_ICMP6)
/* Of connections that are not known when their frame goes out: what every peer takes. */
#define SEGMENT4_LEAST 536u
#define SEGMENT6_LEAST 1220u

struct netif net_card;
bool net_has_card;
static uint32_t large_count; /* places that have been given away */

/* Where a frame is received. */
struct place {
	struct pbuf_custom pbuf; /* if it stays here */
	uint8_t bytes[HEADER + FRAME_LONGEST];
};

static struct {
	bool takes_segments; /* and their checksums */
	struct place *received;
	uint32_t segment_bytes; /* of the connection that sends; 0: it is not known */
	uint32_t path_mtu;      /* of what goes out, if it is less than the card's */
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

static void send_parts(const struct iovec *parts, int count)
{
	/* A full queue of the host is a lost frame, as on any wire. */
	(void)platform_net_send(parts, count);
}

/* How many bytes a segment on the wire has; 0: all of the frame is one. */
static uint32_t segment_of(const struct layout *layout, uint32_t frame_bytes)
{
	uint32_t heads = layout->data - ETHERNET,
		 mtu = card.path_mtu ? card.path_mtu : net_card.mtu;
	uint32_t segment = card.segment_bytes, data = frame_bytes - layout->data;
	if (!segment && data + heads > mtu)
		segment = layout->is_v6 ? SEGMENT6_LEAST : SEGMENT4_LEAST;
	if (!segment || segment + heads > mtu)
		segment = mtu > heads ? mtu - heads : 1;
	return data > segment ? segment : 0;
}

static void offload(struct virtio_net_hdr_v1 *header, uint8_t *frame, const struct layout *layout,
	uint32_t frame_bytes)
{
	uint32_t segment = segment_of(layout, frame_bytes);
	set16(frame + layout->tcp + 16, pseudo_sum(frame, layout, frame_bytes - layout->tcp));
	header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header->csum_start = (uint16_t)layout->tcp;
	header->csum_offset = 16;
	if (!segment)
		return;
	header->gso_type = layout->is_v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
	header->gso_size = (uint16_t)segment;
	header->hdr_len = (uint16_t)layout->data;
}

/* In more pieces than a call takes: as one. */
static err_t send_copy(const struct virtio_net_hdr_v1 *header, const struct pbuf *p)
{
	uint8_t *bytes = heap_alloc_raw(HEADER + p->tot_len);
	if (!bytes)
		return ERR_MEM;
	memcpy(bytes, header, HEADER);
	pbuf_copy_partial(p, bytes + HEADER, p->tot_len, 0);
	const struct iovec part = { bytes, HEADER + p->tot_len };
	send_parts(&part, 1);
	heap_free(bytes);
	return ERR_OK;
}

static err_t send_pieces(struct virtio_net_hdr_v1 *header, struct pbuf *p)
{
	struct iovec parts[PARTS];
	int count = 1;
	parts[0] = (struct iovec){ header, HEADER };
	for (const struct pbuf *part = p; part; part = part->next) {
		if (count == PARTS)
			return send_copy(header, p);
		parts[count++] = (struct iovec){ part->payload, part->len };
	}
	send_parts(parts, count);
	return ERR_OK;
}

static err_t send_frame(struct netif *netif, struct pbuf *p)
{
	struct virtio_net_hdr_v1 header = {};
	struct layout layout;
	(void)netif;
	if (card.takes_segments && find_tcp(p->payload, p->len, &layout))
		offload(&header, p->payload, &layout, p->tot_len);
	if (p->next || pbuf_add_header(p, HEADER) != 0)
		return send_pieces(&header, p);
	memcpy(p->payload, &header, HEADER);
	const struct iovec whole = { p->payload, p->len };
	send_parts(&whole, 1);
	(void)pbuf_remove_header(p, HEADER);
	return ERR_OK;
}

/* lwIP's own functions, renamed when it is compiled: what is larger than the MTU comes by here. */
err_t lwip_ip4_frag(struct pbuf *p, struct netif *netif, const ip4_addr_t *to);
err_t lwip_ip6_frag(struct pbuf *p, struct netif *netif, const ip6_addr_t *to);

err_t ip4_frag(struct pbuf *p, struct netif *netif, const ip4_addr_t *to)
{
	const struct ip_hdr *header = p->payload;
	if (netif == &net_card && card.takes_segments && IPH_PROTO(header) == IP_PROTO_TCP)
		return netif->output(netif, p, to);
	return lwip_ip4_frag(p, netif, to);
}

err_t ip6_frag(struct pbuf *p, struct netif *netif, const ip6_addr_t *to)
{
	const struct ip6_hdr *header = p->payload;
	if (netif != &net_card || !card.takes_segments || IP6H_NEXTH(header) != IP6_NEXTH_TCP)
		return lwip_ip6_frag(p, netif, to);
	card.path_mtu = nd6_get_destination_mtu(to, netif);
	err_t error = netif->output_ip6(netif, p, to);
	card.path_mtu = 0;
	return error;
}

bool card_takes_large(void)
{
	return card.takes_segments;
}

void card_set_segment(uint16_t bytes)
{
	card.segment_bytes = bytes;
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
	card.takes_segments = (boot->flags & BOOT_NET_OFFLOAD) != 0;
	net_card.chksum_flags = NETIF_CHECKSUM_ENABLE_ALL;
	if (card.takes_segments)
		net_card.chksum_flags &= (uint16_t)~NETIF_CHECKSUM_GEN_TCP;
}

void card_done(void)
{
	net_has_card = false;
	heap_free(card.received);
	memset(&card, 0, sizeof(card));
}

int card_init(const struct boot *boot)
{
	card.received = heap_alloc_raw(sizeof(*card.received));
	if (!card.received)
		return -ENOMEM;
	if (!netif_add_noaddr(&net_card, NULL, init_netif, netif_input))
		return -ENOMEM;
	memcpy(net_card.hwaddr, boot->net.mac, sizeof(boot->net.mac));
	net_card.hwaddr_len = sizeof(boot->net.mac);
	net_card.mtu = net_card.mtu6 = boot->net.mtu;
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
