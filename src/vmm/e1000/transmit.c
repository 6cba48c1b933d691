/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transmit.c - packets from the ring to the tap.
 *
 * A packet is copied together from its descriptors. Checksums of TCP and UDP and the cutting of large
 * packets into segments are left to the host by the tap's packet header; what the host expects to be
 * right before (lengths, the checksum of the IP header, the pseudo header's length) is put right here.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vmm/e1000/card.h"

#define DESCRIPTOR_BYTES 16u
#define COMMAND_END      0x01u
#define COMMAND_SUM      0x04u /* legacy: insert a checksum; extended: cut into segments */
#define COMMAND_REPORT   0x08u
#define COMMAND_EXTENDED 0x20u
#define COMMAND_VLAN     0x40u
#define STATUS_DONE      1u
#define TYPE_DATA        1u
#define SUM_IP           1u
#define SUM_TRANSPORT    2u
#define CONTEXT_IP4      2u
#define CONTEXT_TCP      1u
#define VLAN_BYTES       4
#define ADDRESSES        12 /* bytes of a frame before its type */

struct descriptor {
	uint64_t at;
	uint32_t low, high;
};
static_assert(sizeof(struct descriptor) == DESCRIPTOR_BYTES, "layout");

/* The packet starts behind the header, with room for a VLAN's tag. */
static uint8_t *packet(struct e1000 *card)
{
	return card->frame + E1000_HEADER_BYTES + VLAN_BYTES;
}

static void take_context(struct e1000 *card, const struct descriptor *descriptor)
{
	card->context = (struct e1000_context){
		.ip_start = (uint8_t)descriptor->at,
		.ip_offset = (uint8_t)(descriptor->at >> 8),
		.ip_end = (uint16_t)(descriptor->at >> 16),
		.sum_start = (uint8_t)(descriptor->at >> 32),
		.sum_offset = (uint8_t)(descriptor->at >> 40),
		.sum_end = (uint16_t)(descriptor->at >> 48),
		.payload = descriptor->low & 0xfffff,
		.command = (uint8_t)(descriptor->low >> 24),
		.header = (uint8_t)(descriptor->high >> 8),
		.mss = (uint16_t)(descriptor->high >> 16),
	};
}

static void append(struct e1000 *card, uint64_t at, uint32_t bytes)
{
	if (card->frame_is_bad || bytes > E1000_FRAME_MAX - card->frame_bytes ||
		guest_read(card->guest, at, packet(card) + card->frame_bytes, bytes) < 0) {
		card->frame_is_bad = true;
		return;
	}
	card->frame_bytes += bytes;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint16_t sum_of(const uint8_t *data, uint32_t bytes)
{
	uint32_t sum = 0;
	for (uint32_t i = 0; i + 1 < bytes; i += 2)
		sum += get_be16(data + i);
	if (bytes % 2)
		sum += (uint32_t)data[bytes - 1] << 8;
	return fold(sum);
}

static void sum_ip(struct e1000 *card)
{
	const struct e1000_context *context = &card->context;
	uint32_t end = context->ip_end ? context->ip_end + 1u : card->frame_bytes;
	if (end > card->frame_bytes || context->ip_start >= end ||
		context->ip_offset + 2u > card->frame_bytes)
		return;
	put_be16(packet(card) + context->ip_offset, 0);
	put_be16(packet(card) + context->ip_offset,
		(uint16_t)~sum_of(packet(card) + context->ip_start, end - context->ip_start));
}

/* The driver leaves lengths to the card, which sets each segment's; the host wants the whole's. */
static void set_lengths(struct e1000 *card)
{
	const struct e1000_context *context = &card->context;
	uint8_t *ip = packet(card) + context->ip_start, *sum = packet(card) + context->sum_offset;
	uint32_t length = card->frame_bytes - context->ip_start;
	if (context->command & CONTEXT_IP4)
		put_be16(ip + 2, length);
	else
		put_be16(ip + 4, length - 40);
	put_be16(sum, fold((uint32_t)get_be16(sum) + (card->frame_bytes - context->sum_start)));
}

static bool ask_for_segments(struct e1000 *card, struct virtio_net_hdr *header)
{
	const struct e1000_context *context = &card->context;
	/* Else a header would reach out of the packet. */
	if (!(context->command & CONTEXT_TCP) || !context->mss ||
		card->frame_bytes < context->sum_start + 20u ||
		context->ip_start + 20u > context->sum_start ||
		context->sum_offset + 2u > card->frame_bytes ||
		context->header > card->frame_bytes || card->frame_bytes > 65535)
		return false;
	if (!(context->command & CONTEXT_IP4) && context->ip_start + 40u > context->sum_start)
		return false;
	set_lengths(card);
	header->hdr_len = context->header;
	header->gso_size = context->mss;
	header->gso_type = context->command & CONTEXT_IP4 ? VIRTIO_NET_HDR_GSO_TCPV4
							  : VIRTIO_NET_HDR_GSO_TCPV6;
	return true;
}

static void ask_for_sum(struct e1000 *card, struct virtio_net_hdr *header)
{
	const struct e1000_context *context = &card->context;
	if (context->sum_offset < context->sum_start ||
		context->sum_offset + 2u > card->frame_bytes)
		return;
	header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header->csum_start = context->sum_start;
	header->csum_offset = (uint16_t)(context->sum_offset - context->sum_start);
}

static void send_frame(struct e1000 *card)
{
	struct virtio_net_hdr header = {};
	uint8_t *start = packet(card);
	uint32_t bytes = card->frame_bytes;
	if (card->frame_wants_segments &&
		bytes > (uint32_t)card->context.header + card->context.mss &&
		!ask_for_segments(card, &header))
		return;
	if (card->frame_wants_segments && header.gso_type == VIRTIO_NET_HDR_GSO_NONE &&
		bytes >= card->context.sum_offset + 2u && bytes >= card->context.ip_start + 6u &&
		bytes >= card->context.sum_start)
		set_lengths(card); /* one segment is enough */
	if (card->frame_sums & SUM_IP)
		sum_ip(card);
	if (card->frame_sums & SUM_TRANSPORT)
		ask_for_sum(card, &header);
	if (card->frame_wants_vlan && bytes >= ADDRESSES) {
		memmove(start - VLAN_BYTES, start, ADDRESSES);
		start -= VLAN_BYTES;
		bytes += VLAN_BYTES;
		put_be16(start + ADDRESSES, e1000_get(card, E1000_VET));
		put_be16(start + ADDRESSES + 2, card->frame_vlan);
		if (header.flags)
			header.csum_start += VLAN_BYTES;
		if (header.gso_type)
			header.hdr_len += VLAN_BYTES;
	}
	memset(start - E1000_HEADER_BYTES, 0, E1000_HEADER_BYTES);
	memcpy(start - E1000_HEADER_BYTES, &header, sizeof(header));
	/* A packet that the host has no room for is lost, as on a wire. */
	if (write(card->tap, start - E1000_HEADER_BYTES, bytes + E1000_HEADER_BYTES) < 0)
		return;
	e1000_count(card, E1000_GPTC, 1);
	e1000_count_octets(card, E1000_GOTCL, bytes);
}

static void end_frame(struct e1000 *card)
{
	if (!card->frame_is_bad && card->frame_bytes >= ADDRESSES + 2)
		send_frame(card);
	card->frame_bytes = 0;
	card->frame_is_bad = card->frame_wants_segments = card->frame_wants_vlan = false;
	card->frame_sums = 0;
}

static void take_data(struct e1000 *card, const struct descriptor *descriptor)
{
	uint8_t command = (uint8_t)(descriptor->low >> 24);
	if (command & COMMAND_EXTENDED) {
		if (card->frame_bytes == 0) {
			card->frame_sums = descriptor->high >> 8 & (SUM_IP | SUM_TRANSPORT);
			card->frame_wants_segments = command & COMMAND_SUM;
		}
		append(card, descriptor->at, descriptor->low & 0xfffff);
	} else {
		append(card, descriptor->at, descriptor->low & 0xffff);
		if (command & COMMAND_SUM) {
			card->context.sum_start = (uint8_t)(descriptor->high >> 8);
			card->context.sum_offset = (uint8_t)(descriptor->low >> 16);
			card->frame_sums = SUM_TRANSPORT;
		}
	}
	if (!(command & COMMAND_END))
		return;
	card->frame_wants_vlan =
		(command & COMMAND_VLAN) && (e1000_get(card, E1000_CTRL) & E1000_CTRL_VLAN);
	card->frame_vlan = (uint16_t)(descriptor->high >> 16);
	end_frame(card);
}

/* One descriptor; its interrupt causes. */
static uint32_t serve(struct e1000 *card, uint64_t at, const struct descriptor *descriptor)
{
	uint32_t command = descriptor->low >> 24, type = descriptor->low >> 20 & 15;
	if ((command & COMMAND_EXTENDED) && type != TYPE_DATA)
		take_context(card, descriptor);
	else
		take_data(card, descriptor);
	if (!(command & COMMAND_REPORT))
		return 0;
	uint32_t high = descriptor->high | STATUS_DONE;
	return guest_write(
		       card->guest, at + offsetof(struct descriptor, high), &high, sizeof(high)) < 0
		? 0
		: E1000_CAUSE_SENT;
}

bool e1000_send_all(struct e1000 *card)
{
	uint64_t ring = (uint64_t)e1000_get(card, E1000_TDBAH) << 32 | e1000_get(card, E1000_TDBAL);
	uint32_t count = e1000_get(card, E1000_TDLEN) / DESCRIPTOR_BYTES, causes = 0;
	uint32_t head = e1000_get(card, E1000_TDH), tail = e1000_get(card, E1000_TDT);
	if (!(e1000_get(card, E1000_TCTL) & E1000_TCTL_ON) || !count || head >= count ||
		tail >= count)
		return false;
	uint32_t budget = E1000_BUDGET;
	while (head != tail && budget-- > 0) {
		struct descriptor descriptor;
		uint64_t at = ring + (uint64_t)head * DESCRIPTOR_BYTES;
		if (guest_read(card->guest, at, &descriptor, sizeof(descriptor)) < 0)
			break;
		causes |= serve(card, at, &descriptor);
		head = head + 1 == count ? 0 : head + 1;
	}
	e1000_put(card, E1000_TDH, head);
	if (head == tail)
		causes |= E1000_CAUSE_SEND_EMPTY;
	e1000_interrupt(card, causes);
	return head != tail && budget == UINT32_MAX;
}
