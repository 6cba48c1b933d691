/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments of TCP that are larger than the wire's, against a peer that takes frames apart as a host does: it looks at every
 * header and byte, tells windows, loses what it is told to lose and acknowledges the rest.
 */
#include "unikernel/net/tcp_large.h"

#include <linux/virtio_net.h>
#include <lwip/etharp.h>
#include <lwip/init.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/prot/icmp6.h>
#include <lwip/prot/ip.h>
#include <lwip/sys.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "test.h"
#include "unikernel/heap.h"
#include "unikernel/net/card.h"
#include "unikernel/net/clock.h"

#define HEADER   sizeof(struct virtio_net_hdr_v1)
#define ETHERNET 14u
#define STREAM   (4u << 20)
#define FRAMES   4096u
#define MTU      1500u
#define PORT     7777u
#define TCP_FIN_ 1u
#define TCP_SYN_ 2u
#define TCP_RST_ 4u
#define TCP_PSH_ 8u
#define TCP_ACK_ 16u

struct frame {
	uint32_t bytes;
	uint8_t data[256];
};

/* The other end, and what it saw. */
static struct {
	bool is_v6, has_offload, has_scale;
	uint32_t mss, window, loss, ack_loss, burst_loss; /* so many of 1,000 are lost */
	uint32_t lost_at; /* the segment with this byte is lost, once; UINT32_MAX: none */
	uint32_t path_mtu;
	uint16_t port;
	uint32_t first, next; /* sequence numbers; `next` is what is missing first */
	uint32_t own, edge;   /* of what it sends itself; the right edge of what it allowed */
	bool has_syn, has_fin, was_reset;
	uint32_t frames, segments, largest;
	uint64_t sent_bytes;
} peer;
static uint8_t has_byte[STREAM + 1];
static uint32_t fin_at;

static struct frame frames[FRAMES];
static uint32_t frames_first, frames_end;
static uint64_t now_ns;
static uint32_t random_state;
static bool is_connected, has_error;

uint32_t net_random(void)
{
	random_state = random_state * 1664525u + 1013904223u;
	return random_state >> 8 | random_state << 24;
}

/* What the rest of the library OS is to these files. */
void *heap_alloc(uint64_t bytes)
{
	return calloc(1, bytes);
}

void *heap_alloc_raw(uint64_t bytes)
{
	return malloc(bytes);
}

void heap_free(void *pointer)
{
	free(pointer);
}

void *net_alloc(unsigned long bytes)
{
	return malloc(bytes);
}

void *net_alloc_zeroed(unsigned long count, unsigned long bytes)
{
	return calloc(count, bytes);
}

void net_free(void *pointer)
{
	free(pointer);
}

void kernel_panic(const char *sentence)
{
	printf("# %s\n", sentence);
	abort();
}

void clock_stay_awake(uint64_t now)
{
	(void)now;
}

void tcp_timer_needed(void)
{
}

void sys_timeouts_init(void);
void sys_timeouts_init(void)
{
}

u32_t sys_now(void)
{
	return (u32_t)(now_ns / 1000000);
}

uint64_t platform_clock_monotonic(void)
{
	return now_ns;
}

const struct ip6_addr *net_gateway6(struct netif *netif, const struct ip6_addr *to)
{
	(void)netif, (void)to;
	return NULL;
}

signed char net_takes_packet(const struct tcp_pcb *pcb)
{
	(void)pcb;
	return ERR_OK;
}

int net_sees_packet(const struct pbuf *p)
{
	(void)p;
	return 0;
}

unsigned int net_first_sequence(void)
{
	return 0xfffe0000u; /* it passes zero soon */
}

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

static void set32(uint8_t *at_byte, uint32_t value)
{
	set16(at_byte, value >> 16);
	set16(at_byte + 2, value & 0xffff);
}

static uint32_t sum_of(const uint8_t *bytes, uint32_t count, uint32_t sum)
{
	for (uint32_t i = 0; i < count; i++)
		sum += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint8_t byte_of(uint32_t offset)
{
	return (uint8_t)((offset * 2654435761u) >> 24 ^ offset);
}

static struct frame *new_frame(uint32_t bytes)
{
	expect(frames_end - frames_first < FRAMES && bytes <= sizeof(frames->data));
	struct frame *frame = &frames[frames_end++ % FRAMES];
	memset(frame, 0, sizeof(*frame));
	frame->bytes = (uint32_t)HEADER + bytes;
	struct virtio_net_hdr_v1 *header = (void *)frame->data;
	header->flags = VIRTIO_NET_HDR_F_DATA_VALID;
	memcpy(frame->data + HEADER, net_card.hwaddr, 6);
	memset(frame->data + HEADER + 6, 2, 6);
	return frame;
}

/* An IP header to the card; returns what follows it. */
static uint8_t *ip_frame(uint32_t bytes, uint8_t protocol)
{
	uint32_t head = peer.is_v6 ? 40 : 20;
	uint8_t *ethernet = new_frame(ETHERNET + head + bytes)->data + HEADER,
		*ip = ethernet + ETHERNET;
	set16(ethernet + 12, peer.is_v6 ? ETHTYPE_IPV6 : ETHTYPE_IP);
	if (peer.is_v6) {
		ip[0] = 0x60;
		set16(ip + 4, bytes);
		ip[6] = protocol;
		ip[7] = 255;
		ip[8] = ip[24] = 0xfd;
		ip[23] = 2;
		ip[39] = 1;
		return ip + head;
	}
	ip[0] = 0x45;
	set16(ip + 2, 20 + bytes);
	ip[8] = 64;
	ip[9] = protocol;
	set32(ip + 12, 0x0a000002);
	set32(ip + 16, 0x0a000001);
	set16(ip + 10, ~sum_of(ip, 20, 0) & 0xffff);
	return ip + head;
}

static void tell(uint8_t flags)
{
	uint32_t options = flags & TCP_SYN_ ? 8 : 0;
	if (!options && net_random() % 1000 < peer.ack_loss)
		return;
	uint8_t *tcp = ip_frame(20 + options, IP_PROTO_TCP);
	uint32_t window = peer.window, shift = peer.has_scale && !options ? 5 : 0;
	set16(tcp, PORT);
	set16(tcp + 2, peer.port);
	set32(tcp + 4, peer.own);
	set32(tcp + 8, peer.next);
	tcp[12] = (uint8_t)((20 + options) / 4 << 4);
	tcp[13] = flags;
	window = window >> shift > 0xffff ? 0xffff : window >> shift;
	set16(tcp + 14, window);
	if (TCP_SEQ_LT(peer.edge, peer.next + (window << shift)))
		peer.edge = peer.next + (window << shift);
	if (options) {
		const uint8_t all[8] = { 2, 4, (uint8_t)(peer.mss >> 8), (uint8_t)peer.mss, 1, 3, 3,
			5 };
		memcpy(tcp + 20, all, 8);
		if (!peer.has_scale)
			memset(tcp + 24, 1, 4);
		peer.own++;
	}
}

/* A segment as it is on the wire. */
static void see_segment(
	uint32_t sequence, const uint8_t *data, uint32_t bytes, uint8_t flags, bool is_last)
{
	/* What comes together is acknowledged together, but where there may be holes. */
	bool has_loss = peer.loss || peer.burst_loss || peer.lost_at != UINT32_MAX;
	uint32_t offset = sequence - peer.first - 1;
	bool is_probe = bytes == 1 && peer.window == 0;
	if (peer.burst_loss) /* of every million bytes the last fifth */
		peer.loss = peer.ack_loss = offset % 1000000 > 800000 ? peer.burst_loss : 0;
	peer.segments++;
	peer.sent_bytes += bytes;
	expect(bytes <= peer.mss);
	expect(bytes == 0 || offset + bytes <= STREAM);
	if (!is_probe && TCP_SEQ_GT(sequence + bytes, peer.edge))
		test_fail("%u bytes at %u, allowed are %u", bytes, offset,
			peer.edge - peer.first - 1);
	for (uint32_t i = 0; i < bytes; i++)
		expect_equal(data[i], byte_of(offset + i));
	if (bytes && (net_random() % 1000 < peer.loss || peer.lost_at - offset < bytes)) {
		if (peer.lost_at - offset < bytes)
			peer.lost_at = UINT32_MAX;
		return;
	}
	if (is_probe)
		bytes = 0;
	memset(has_byte + offset, 1, bytes);
	if (flags & TCP_FIN_)
		fin_at = offset + bytes;
	while (has_byte[peer.next - peer.first - 1])
		peer.next++;
	if (fin_at == peer.next - peer.first - 1 && !peer.has_fin) {
		peer.has_fin = true;
		peer.next++;
	}
	if (is_last || is_probe || (bytes && has_loss))
		tell(TCP_ACK_);
}

/* As a host does: the last piece has what the frame's header says, the others go without PSH and FIN. */
static void see_tcp(const struct virtio_net_hdr_v1 *header, const uint8_t *ip, uint32_t bytes)
{
	uint32_t head = peer.is_v6 ? 40 : 20, tcp_bytes = bytes - head;
	const uint8_t *tcp = ip + head, *data = tcp + (tcp[12] >> 4) * 4u;
	uint32_t count = (uint32_t)(ip + bytes - data);
	uint32_t pseudo =
		sum_of(ip + (peer.is_v6 ? 8 : 12), peer.is_v6 ? 32 : 8, IP_PROTO_TCP + tcp_bytes);
	peer.port = (uint16_t)get16(tcp);
	expect_equal(peer.is_v6 ? get16(ip + 4) + 40 : get16(ip + 2), bytes);
	expect(peer.is_v6 || sum_of(ip, 20, 0) == 0xffff);
	if (peer.has_offload) {
		expect_equal(header->flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
		expect_equal(header->csum_start, ETHERNET + head);
		expect_equal(header->csum_offset, 16);
		expect_equal(get16(tcp + 16), pseudo);
	} else {
		expect_equal(header->flags, 0);
		expect_equal(sum_of(tcp, tcp_bytes, pseudo), 0xffff);
	}
	if (tcp[13] & TCP_RST_) {
		peer.was_reset = true;
	} else if (tcp[13] & TCP_SYN_) {
		peer.first = get32(tcp + 4);
		peer.next = peer.edge = peer.first + 1;
		peer.has_syn = true;
		tell(TCP_SYN_ | TCP_ACK_);
	} else {
		uint32_t piece = header->gso_size, sequence = get32(tcp + 4);
		uint32_t heads = (uint32_t)(data - ip), mtu = peer.path_mtu ? peer.path_mtu : MTU;
		if (header->gso_type) {
			expect_equal(header->gso_type,
				peer.is_v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4);
			expect_equal(header->hdr_len, ETHERNET + heads);
			expect(piece && piece < count);
		} else {
			piece = count;
		}
		expect(piece + heads <= mtu);
		peer.frames++;
		peer.largest = bytes > peer.largest ? bytes : peer.largest;
		do {
			uint32_t part = count < piece ? count : piece;
			bool is_last = part == count;
			uint8_t flags =
				is_last ? tcp[13] : tcp[13] & (uint8_t) ~(TCP_FIN_ | TCP_PSH_);
			see_segment(sequence, data, part, flags,
				is_last && (part || (flags & TCP_FIN_)));
			sequence += part;
			data += part;
			count -= part;
		} while (count);
	}
}

static void answer_arp(const uint8_t *arp)
{
	uint8_t *own = new_frame(ETHERNET + 28)->data + HEADER;
	set16(own + 12, ETHTYPE_ARP);
	memcpy(own + ETHERNET, arp, 6);
	set16(own + ETHERNET + 6, 2);
	memset(own + ETHERNET + 8, 2, 6);
	memcpy(own + ETHERNET + 14, arp + 24, 4);
	memcpy(own + ETHERNET + 18, arp + 8, 10);
}

static void answer_solicitation(const uint8_t *icmp)
{
	uint8_t *own = ip_frame(32, IP6_NEXTH_ICMP6);
	own[0] = ICMP6_TYPE_NA;
	own[4] = 0x60;
	memcpy(own + 8, icmp + 8, 16);
	own[24] = 2;
	own[25] = 1;
	memset(own + 26, 2, 6);
}

int64_t platform_net_send(const struct iovec *parts, int count)
{
	static uint8_t whole[HEADER + 65536 + ETHERNET];
	uint32_t bytes = 0;
	expect(count <= 40);
	for (int i = 0; i < count; i++) {
		expect(bytes + parts[i].iov_len <= sizeof(whole));
		memcpy(whole + bytes, parts[i].iov_base, parts[i].iov_len);
		bytes += (uint32_t)parts[i].iov_len;
	}
	const uint8_t *ethernet = whole + HEADER, *ip = ethernet + ETHERNET;
	uint32_t type = get16(ethernet + 12), ip_bytes = bytes - (uint32_t)HEADER - ETHERNET;
	if (type == ETHTYPE_ARP && get16(ip + 6) == 1 && get32(ip + 24) == 0x0a000002)
		answer_arp(ip);
	else if (type == ETHTYPE_IPV6 && ip[6] == IP6_NEXTH_ICMP6 && ip[40] == ICMP6_TYPE_NS)
		answer_solicitation(ip + 40);
	else if ((type == ETHTYPE_IP && ip[9] == IP_PROTO_TCP) ||
		(type == ETHTYPE_IPV6 && ip[6] == IP6_NEXTH_TCP))
		see_tcp((const void *)whole, ip, ip_bytes);
	return bytes;
}

int64_t platform_net_receive(void *to, size_t size)
{
	if (frames_first == frames_end)
		return -EAGAIN;
	const struct frame *frame = &frames[frames_first++ % FRAMES];
	expect(frame->bytes <= size);
	memcpy(to, frame->data, frame->bytes);
	return frame->bytes;
}

static void set_up(void)
{
	static bool is_up;
	struct boot boot = { .flags = BOOT_NET | BOOT_NET_OFFLOAD,
		.net = { .mac = { 2, 0, 0, 0, 0, 1 }, .mtu = MTU } };
	if (!is_up) {
		ip4_addr_t address = { PP_HTONL(0x0a000001) }, mask = { PP_HTONL(0xffffff00) },
			   none = { 0 };
		ip6_addr_t address6 = { .addr = { PP_HTONL(0xfd000000), 0, 0, PP_HTONL(1) } };
		s8_t index;
		lwip_init();
		expect_equal(card_init(&boot), 0);
		netif_set_default(&net_card);
		netif_set_up(&net_card);
		netif_set_addr(&net_card, &address, &mask, &none);
		netif_create_ip6_linklocal_address(&net_card, 1);
		netif_ip6_addr_set_state(&net_card, 0, IP6_ADDR_PREFERRED);
		expect_equal(netif_add_ip6_address(&net_card, &address6, &index), ERR_OK);
		netif_ip6_addr_set_state(&net_card, index, IP6_ADDR_PREFERRED);
		is_up = true;
	}
	if (!peer.has_offload)
		boot.flags = BOOT_NET;
	card_set_offload(&boot);
}

static err_t on_connected(void *argument, struct tcp_pcb *pcb, err_t error)
{
	(void)argument, (void)pcb;
	is_connected = error == ERR_OK;
	return ERR_OK;
}

static void on_error(void *argument, err_t error)
{
	(void)argument, (void)error;
	has_error = true;
}

/* As nothing is lost or limited, and everything is taken over. */
static void usual_peer(void)
{
	while (tcp_active_pcbs)
		tcp_abort(tcp_active_pcbs);
	memset(&peer, 0, sizeof(peer));
	memset(has_byte, 0, sizeof(has_byte));
	peer.has_offload = peer.has_scale = true;
	peer.mss = 1460;
	peer.window = 1u << 20;
	peer.lost_at = fin_at = UINT32_MAX;
	frames_first = frames_end = 0;
	random_state = 1;
	is_connected = has_error = false;
}

static void pass_time(void)
{
	now_ns += UINT64_C(50000000);
	tcp_tmr();
}

static void step(void)
{
	if (!card_receive())
		pass_time();
}

static struct tcp_pcb *connect_peer(void)
{
	ip_addr_t to4 = IPADDR4_INIT(PP_HTONL(0x0a000002));
	ip_addr_t to6 = IPADDR6_INIT(PP_HTONL(0xfd000000), 0, 0, PP_HTONL(2));
	set_up();
	struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
	expect(pcb);
	tcp_err(pcb, on_error);
	expect_equal(tcp_connect(pcb, peer.is_v6 ? &to6 : &to4, PORT, on_connected), ERR_OK);
	for (int i = 0; i < 100 && !is_connected; i++)
		step();
	expect(is_connected);
	tcp_large_begin(pcb);
	return pcb;
}

static uint8_t stream[STREAM];

/* As tcp.c does for a program that writes `most` bytes at once, or a number of its own if `is_uneven`. */
static uint32_t write_some(
	struct tcp_pcb *pcb, uint32_t done, uint32_t total, uint32_t most, bool is_uneven)
{
	while (done < total) {
		uint32_t count = is_uneven ? 1 + net_random() % most : most, room = pcb->snd_buf;
		uint8_t flags = TCP_WRITE_FLAG_COPY;
		if (is_uneven && net_random() % 8 == 0)
			flags = 0;
		if (is_uneven && net_random() % 4 == 0)
			flags |= TCP_WRITE_FLAG_MORE;
		count = count < total - done ? count : total - done;
		count = count < room ? count : room;
		if (!count || tcp_sndqueuelen(pcb) > TCP_SND_QUEUELEN - 64)
			break;
		uint32_t end = done + count;
		while (done < end) {
			uint32_t part = end - done < TCP_LARGE_MOST ? end - done : TCP_LARGE_MOST;
			uint8_t more = done + part < end ? TCP_WRITE_FLAG_MORE : 0;
			if (tcp_large_write(pcb, stream + done, (uint16_t)part, flags | more) !=
				ERR_OK)
				return done;
			done += part;
		}
		if (!(flags & TCP_WRITE_FLAG_MORE) || done == total)
			(void)tcp_output(pcb);
	}
	return done;
}

/* All of it, and the end; `most` as above. */
static void transfer_uneven(struct tcp_pcb *pcb, uint32_t total, uint32_t most, bool is_uneven)
{
	uint32_t done = 0, mss = pcb->mss;
	bool is_closed = false;
	for (uint32_t i = 0; i < STREAM; i++)
		stream[i] = byte_of(i);
	for (uint32_t i = 0; i < 2000000 && !peer.has_fin; i++) {
		expect(!has_error);
		if (!is_closed) {
			done = write_some(pcb, done, total, most, is_uneven);
			expect_equal(pcb->mss, mss);
		}
		if (done == total && !is_closed) {
			tcp_err(pcb, NULL);
			expect_equal(tcp_close(pcb), ERR_OK);
			is_closed = true;
		}
		step();
	}
	expect(peer.has_fin);
	expect_equal(peer.next - peer.first, total + 2);
	while (card_receive())
		;
	if (tcp_active_pcbs)
		tcp_abort(tcp_active_pcbs);
	expect(!tcp_active_pcbs);
}

/* The same without an end: what was acknowledged leaves room for others. */
static void leaves_room(void)
{
	for (uint32_t i = 0; i < 8; i++) {
		usual_peer();
		peer.loss = peer.ack_loss = 100;
		random_state = 5 + i;
		struct tcp_pcb *pcb = connect_peer();
		uint32_t done = 0;
		for (uint32_t j = 0; j < 200000 && (done < 400000 || pcb->unsent || pcb->unacked);
			j++) {
			done = write_some(pcb, done, 400000, 100000, false);
			step();
		}
		expect_equal(peer.next - peer.first - 1, 400000);
		expect_equal(pcb->snd_buf, TCP_SND_BUF);
		expect_equal(pcb->snd_queuelen, 0);
	}
}

static void transfer(struct tcp_pcb *pcb, uint32_t total, uint32_t most)
{
	transfer_uneven(pcb, total, most, false);
}

static void sends_large_frames(void)
{
	for (int v6 = 0; v6 < 2; v6++) {
		usual_peer();
		peer.is_v6 = v6;
		peer.mss = v6 ? 1440 : 1460;
		transfer(connect_peer(), STREAM, 1u << 18);
		expect(peer.largest > 60000 && peer.largest < 65536);
		expect(peer.sent_bytes == STREAM);
		expect(peer.frames < STREAM / 8000); /* with all the small ones at the start */
	}
}

static void small_is_small(void)
{
	usual_peer();
	struct tcp_pcb *pcb = connect_peer();
	tcp_nagle_disable(pcb);
	transfer(pcb, 30 * 200, 200);
	expect_equal(peer.largest, 20 + 20 + 200);
}

static void keeps_to_the_window(void)
{
	static const uint32_t windows[] = { 65535, 20000, 4000, 1461, 1000, 100 };
	for (uint32_t i = 0; i < ARRAY_SIZE(windows); i++) {
		usual_peer();
		peer.has_scale = false;
		peer.window = windows[i];
		transfer(connect_peer(), windows[i] < 2000 ? 30000 : 1000000, 50000);
	}
}

static void waits_for_a_closed_window(void)
{
	usual_peer();
	struct tcp_pcb *pcb = connect_peer();
	peer.window = 40000;
	uint32_t done = write_some(pcb, 0, 300000, 300000, false);
	peer.window = 0;
	for (int i = 0; i < 300; i++)
		step();
	expect(!has_error && peer.next - peer.first < 300000);
	expect_equal(done, 300000);
	peer.window = 70000;
	for (int i = 0; i < 3000 && peer.next - peer.first - 1 < 300000; i++) {
		if (i == 0)
			tell(TCP_ACK_);
		step();
	}
	expect_equal(peer.next - peer.first - 1, 300000);
	tcp_abort(pcb);
}

/* Three acknowledgements of the same byte: one segment goes out again, not the 64 KiB that it was a part of. */
static void sends_only_what_was_lost(void)
{
	for (uint32_t at = 1000000; at < 1020000; at += 1999) {
		usual_peer();
		peer.lost_at = at;
		transfer(connect_peer(), 2000000, 200000);
		expect_equal(peer.lost_at, UINT32_MAX);
		expect(peer.sent_bytes <= 2000000 + peer.mss);
	}
}

/* The last one: nobody asks for it, so a timer does. */
static void sends_the_lost_end(void)
{
	usual_peer();
	peer.lost_at = 999999;
	transfer(connect_peer(), 1000000, 300000);
	expect(peer.sent_bytes <= 1000000 + 70000);
}

static void survives_loss(void)
{
	static const uint32_t losses[] = { 2, 10, 50, 200 };
	for (uint32_t i = 0; i < ARRAY_SIZE(losses); i++)
		for (int v6 = 0; v6 < 2; v6++) {
			usual_peer();
			peer.is_v6 = v6;
			peer.mss = v6 ? 1440 : 1460;
			peer.loss = losses[i];
			peer.ack_loss = losses[i];
			random_state = 77 + i;
			transfer(connect_peer(), losses[i] > 100 ? 200000 : 2000000, 200000);
			expect(peer.sent_bytes < (losses[i] > 100 ? 1000000 : 4000000));
		}
}

/* A large window, then nearly nothing arrives for a while, and so on. */
static void survives_bursts(void)
{
	for (uint32_t i = 0; i < 20; i++) {
		usual_peer();
		random_state = 300 + i;
		peer.burst_loss = 60 + 15 * (i % 10);
		transfer(connect_peer(), 3000000, 200000);
	}
}

static void uneven_writes(void)
{
	for (uint32_t i = 0; i < 40; i++) {
		usual_peer();
		random_state = 1000 + i;
		peer.mss = 300 + net_random() % 1161;
		peer.loss = i % 4 * 10;
		peer.ack_loss = i % 3 * 10;
		peer.has_scale = i % 5 != 0;
		peer.window = 3000 + net_random() % 200000;
		transfer_uneven(connect_peer(), 300000, 1u << (4 + i % 14), true);
	}
}

/* What the peer takes is less than the MTU: its segments are what it takes. */
static void small_mss(void)
{
	usual_peer();
	peer.mss = 536;
	transfer(connect_peer(), 1000000, 100000);
	expect(peer.largest > 20000);
}

static void without_offload(void)
{
	for (int v6 = 0; v6 < 2; v6++) {
		usual_peer();
		peer.is_v6 = v6;
		peer.has_offload = false;
		peer.mss = v6 ? 1440 : 1460;
		peer.loss = 10;
		transfer(connect_peer(), 1000000, 100000);
		expect(peer.largest <= MTU);
	}
}

/* A router says that less fits: the host is told to cut smaller. */
static void smaller_path(void)
{
	usual_peer();
	peer.is_v6 = true;
	peer.mss = 1440;
	struct tcp_pcb *pcb = connect_peer();
	uint8_t *icmp = ip_frame(8 + 40, IP6_NEXTH_ICMP6);
	icmp[0] = ICMP6_TYPE_PTB;
	set32(icmp + 4, 1280);
	icmp[8] = 0x60;
	icmp[8 + 6] = IP6_NEXTH_TCP;
	icmp[8 + 8] = icmp[8 + 24] = 0xfd;
	icmp[8 + 23] = 1;
	icmp[8 + 39] = 2;
	while (card_receive())
		;
	peer.path_mtu = 1280;
	transfer(pcb, 1000000, 100000);
	expect(peer.largest > 20000);
}

static const struct test tests[] = {
	{ "what is written at once is one frame, of up to 64 KiB", sends_large_frames },
	{ "what is written alone is sent alone", small_is_small },
	{ "no window is exceeded, however small", keeps_to_the_window },
	{ "a window that closes is waited for", waits_for_a_closed_window },
	{ "of a large segment only what was lost is sent again", sends_only_what_was_lost },
	{ "an end that was lost is sent again", sends_the_lost_end },
	{ "every byte arrives where segments and acknowledgements are lost", survives_loss },
	{ "every byte arrives where much is lost at once", survives_bursts },
	{ "what was acknowledged in whatever parts leaves room", leaves_room },
	{ "writes of all sizes, copied and not, at once and later", uneven_writes },
	{ "a peer of small segments is sent small ones", small_mss },
	{ "where the host takes over nothing segments fit the MTU", without_offload },
	{ "a path of less than the MTU is kept to", smaller_path },
};

TEST_MAIN(tests)
