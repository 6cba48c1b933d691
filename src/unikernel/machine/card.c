/* SPDX-License-Identifier: Apache-2.0 */
/*
 * card.c - a virtio network card.
 *
 * Theory of operation. Each entry of a ring has a page of its own. What is sent is copied into as many as it takes, so
 * that nobody waits for the device; what is received is copied out of as many as the device says that it took. Where the
 * device merges buffers it may deliver TCP segments of up to 64 KiB; else a frame has one page and no more.
 */
#include "unikernel/machine/card.h"

#include <linux/virtio_net.h>

#define RECEIVE   0
#define SEND      1
#define RING_MOST 128u
#define MTU_USUAL 1500u
#define MTU_MOST  65535u
#define HEADER    sizeof(struct virtio_net_hdr_v1)
#define OLD       sizeof(struct virtio_net_hdr) /* without the count of merged buffers */
#define BIT(name) (UINT64_C(1) << (name))
#define OFFLOAD \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | \
		BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_MRG_RXBUF))
#define WHOLE_SEGMENTS (BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6))

/* How long a full ring is looked at before a frame is lost. */
#define ROOM_LONGEST UINT64_C(2000000) /* ns */

static struct {
	struct virtio device;
	struct ring receive, send;
	uint8_t *receive_pages, *send_pages;
	uint32_t header_bytes;
	uint16_t free[RING_MOST], free_count; /* of `send` */
	bool is_there, is_stuck, is_full;
} card;

static uint8_t *page_of(uint8_t *pages, uint32_t entry)
{
	return pages + (uint64_t)entry * KERNEL_PAGE;
}

static void offer_page(uint16_t entry)
{
	ring_describe(&card.receive, entry, pages_physical(page_of(card.receive_pages, entry)),
		KERNEL_PAGE, VIRTIO_DESC_WRITE, 0);
	ring_offer(&card.receive, entry);
}

static void read_config(struct boot_net *ret)
{
	struct virtio_net_config config = {};
	virtio_config(&card.device, offsetof(struct virtio_net_config, mac), config.mac,
		sizeof(config.mac));
	if (virtio_has(&card.device, VIRTIO_NET_F_MTU))
		virtio_config(&card.device, offsetof(struct virtio_net_config, mtu), &config.mtu,
			sizeof(config.mtu));
	if (!virtio_has(&card.device, VIRTIO_NET_F_MAC) || (config.mac[0] & 1))
		virtio_broke(&card.device, "has no address");
	memcpy(ret->mac, config.mac, sizeof(ret->mac));
	/* Without merged buffers a frame has to fit into one. */
	uint32_t most = virtio_has(&card.device, VIRTIO_NET_F_MRG_RXBUF) ? MTU_MOST : MTU_USUAL;
	uint32_t mtu = config.mtu >= 576 ? config.mtu : MTU_USUAL;
	ret->mtu = (uint16_t)(mtu < most ? mtu : most);
}

uint32_t card_start(const struct virtio *device, struct boot_net *ret)
{
	card.device = *device;
	struct virtio *own = &card.device;
	const uint64_t usual = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_MTU);
	uint64_t offers = own->transport->features(own);
	card.is_full = (offers & OFFLOAD) == OFFLOAD;
	virtio_begin(own,
		usual | (card.is_full ? OFFLOAD | WHOLE_SEGMENTS : BIT(VIRTIO_NET_F_MRG_RXBUF)));
	read_config(ret);
	card.header_bytes =
		own->is_legacy && !virtio_has(own, VIRTIO_NET_F_MRG_RXBUF) ? OLD : HEADER;
	ring_start(&card.receive, own, RECEIVE, RING_MOST);
	ring_start(&card.send, own, SEND, RING_MOST);
	card.receive_pages = virtio_alloc((uint64_t)card.receive.size * KERNEL_PAGE);
	card.send_pages = virtio_alloc((uint64_t)card.send.size * KERNEL_PAGE);
	while (card.free_count < card.send.size) {
		card.free[card.free_count] = card.free_count;
		card.free_count++;
	}
	virtio_ready(own);
	for (uint16_t i = 0; i < card.receive.size; i++)
		offer_page(i);
	ring_kick(&card.receive);
	card.is_there = true;
	return BOOT_NET | (card.is_full ? BOOT_NET_OFFLOAD : 0);
}

uint32_t card_again(struct boot_net *ret)
{
	if (!card.is_there)
		return 0;
	read_config(ret);
	return BOOT_NET | (card.is_full ? BOOT_NET_OFFLOAD : 0);
}

bool card_has_frame(void)
{
	return card.is_there && ring_has(&card.receive);
}

void card_listen(bool is_listening)
{
	if (card.is_there)
		ring_listen(&card.receive, is_listening);
}

/* What the device is done with: chains of ours, in whatever order. */
static void take_back(void)
{
	uint16_t entry;
	uint32_t bytes;
	while (ring_take(&card.send, &entry, &bytes)) {
		bool is_more;
		do {
			const struct virtio_desc *desc = &card.send.desc[entry];
			if (card.free_count == card.send.size)
				virtio_broke(&card.device, "changes what it was given");
			card.free[card.free_count++] = entry;
			is_more = (desc->flags & VIRTIO_DESC_NEXT) != 0;
			entry = desc->next & (card.send.size - 1);
		} while (is_more);
		card.is_stuck = false;
	}
}

static bool wait_for_room(uint32_t count)
{
	take_back();
	if (card.free_count >= count)
		return true;
	uint64_t start = platform_clock_monotonic();
	while (!card.is_stuck && card.free_count < count) {
		if (platform_clock_monotonic() - start > ROOM_LONGEST)
			card.is_stuck = true; /* until it takes something again */
		__asm__ volatile("pause");
		take_back();
	}
	return card.free_count >= count;
}

/* The pieces one after the other into the pages of a chain. */
static uint16_t fill_chain(const struct iovec *parts, int count)
{
	uint16_t first = card.free[--card.free_count], entry = first;
	uint64_t skip = HEADER - card.header_bytes, used = 0;
	for (int i = 0; i < count; i++) {
		const uint8_t *from = parts[i].iov_base;
		uint64_t left = parts[i].iov_len - (i == 0 ? skip : 0);
		while (left) {
			if (used == KERNEL_PAGE) {
				uint16_t next = card.free[--card.free_count];
				ring_describe(&card.send, entry,
					pages_physical(page_of(card.send_pages, entry)),
					KERNEL_PAGE, VIRTIO_DESC_NEXT, next);
				entry = next;
				used = 0;
			}
			uint64_t room = KERNEL_PAGE - used, step = left < room ? left : room;
			memcpy(page_of(card.send_pages, entry) + used, from, step);
			from += step;
			left -= step;
			used += step;
		}
	}
	ring_describe(&card.send, entry, pages_physical(page_of(card.send_pages, entry)),
		(uint32_t)used, 0, 0);
	return first;
}

int64_t card_send(const struct iovec *parts, int count)
{
	uint64_t bytes = 0;
	if (!card.is_there)
		return -ENODEV;
	for (int i = 0; i < count; i++)
		bytes += parts[i].iov_len;
	uint64_t on_wire = bytes - (HEADER - card.header_bytes);
	uint64_t pages = (on_wire + KERNEL_PAGE - 1) / KERNEL_PAGE;
	if (count < 1 || parts[0].iov_len < HEADER || pages > card.send.size)
		return -EMSGSIZE;
	if (!wait_for_room((uint32_t)pages))
		return -EAGAIN;
	ring_offer(&card.send, fill_chain(parts, count));
	ring_kick(&card.send);
	return (int64_t)bytes;
}

/* One buffer of the device's, copied to `to` if there is room; true if there was one. */
static bool take_page(uint8_t *to, size_t size, uint32_t *ret_bytes)
{
	uint16_t entry;
	uint32_t bytes;
	if (!ring_take(&card.receive, &entry, &bytes))
		return false;
	if (bytes > KERNEL_PAGE)
		virtio_broke(&card.device, "says that it wrote more than it was given");
	if (bytes <= size)
		memcpy(to, page_of(card.receive_pages, entry), bytes);
	*ret_bytes = bytes;
	offer_page(entry);
	return true;
}

/* The first has the header, which says how many there are. -EAGAIN if what came is no frame. */
static int64_t take_frame(uint8_t *to, size_t size)
{
	uint32_t bytes = 0, gap = (uint32_t)HEADER - card.header_bytes;
	struct virtio_net_hdr_v1 *header = (void *)to;
	if (!take_page(to, size, &bytes))
		return -EAGAIN;
	bool is_good = bytes >= card.header_bytes && bytes + gap <= size;
	uint64_t got = bytes;
	if (is_good && gap) {
		memmove(to + HEADER, to + card.header_bytes, bytes - card.header_bytes);
		got += gap;
	}
	uint32_t count = is_good && virtio_has(&card.device, VIRTIO_NET_F_MRG_RXBUF)
		? header->num_buffers
		: 1;
	for (uint32_t i = 1; i < count && i < card.receive.size; i++) {
		if (!take_page(to + got, size - got, &bytes)) {
			is_good = false;
			break;
		}
		is_good = is_good && bytes <= size - got;
		got += is_good ? bytes : 0;
	}
	return is_good ? (int64_t)got : 0;
}

int64_t card_take(void *to, size_t size)
{
	int64_t got = 0;
	if (!card.is_there || size < HEADER)
		return -EAGAIN;
	/* What is wrong is lost; a device that has nothing else is not listened to for ever. */
	for (uint32_t i = 0; i < card.receive.size && got == 0; i++)
		got = take_frame(to, size);
	if (got != -EAGAIN)
		ring_kick(&card.receive);
	return got > 0 ? got : -EAGAIN;
}
