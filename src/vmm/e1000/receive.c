/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receive.c - packets from the tap into the ring. While there is no free descriptor packets wait in the
 * tap; none is taken and dropped.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vmm/e1000/card.h"

#define DESCRIPTOR_BYTES   16u
#define RCTL_PROMISCUOUS   (1u << 3)
#define RCTL_ALL_MULTICAST (1u << 4)
#define RCTL_BROADCAST     (1u << 15)
#define RCTL_VLAN_FILTER   (1u << 18)
#define RCTL_EXTEND        (1u << 25)
#define RCTL_STRIP_CRC     (1u << 26)
#define STATUS_DONE        0x01u
#define STATUS_END         0x02u
#define STATUS_NO_SUM      0x04u /* checksums were not looked at */
#define STATUS_VLAN        0x08u
#define ADDRESS_VALID      (1u << 31)
#define ADDRESSES          16
#define CRC_BYTES          4
#define FRAME_MIN          60
#define VLAN_AT            12
#define VLAN_BYTES         4

struct descriptor {
	uint64_t at;
	uint16_t bytes, sum;
	uint8_t status, errors;
	uint16_t vlan;
};
static_assert(sizeof(struct descriptor) == DESCRIPTOR_BYTES, "layout");

static uint32_t ring_count(const struct e1000 *card)
{
	return e1000_get(card, E1000_RDLEN) / DESCRIPTOR_BYTES;
}

static uint32_t free_count(const struct e1000 *card)
{
	uint32_t count = ring_count(card), head = e1000_get(card, E1000_RDH);
	uint32_t tail = e1000_get(card, E1000_RDT);
	if (!count || head >= count || tail >= count)
		return 0;
	return tail >= head ? tail - head : count - head + tail;
}

static uint32_t buffer_bytes(const struct e1000 *card)
{
	uint32_t rctl = e1000_get(card, E1000_RCTL), size = rctl >> 16 & 3;
	if (rctl & RCTL_EXTEND)
		return size ? 32768u >> size : 2048;
	return 2048u >> size;
}

bool e1000_can_receive(const struct e1000 *card)
{
	uint32_t free = free_count(card);
	/* The longest packet that a tap without offloads gives: it must fit, or it waits. */
	return (e1000_get(card, E1000_RCTL) & E1000_RCTL_ON) && free > 0 &&
		(free >= 8 || free * buffer_bytes(card) >= 2048);
}

static bool is_ours(const struct e1000 *card, const uint8_t *packet)
{
	for (uint32_t i = 0; i < ADDRESSES; i++) {
		uint32_t low = card->registers[E1000_RAL / 4 + 2 * i];
		uint32_t high = card->registers[E1000_RAL / 4 + 2 * i + 1];
		if ((high & ADDRESS_VALID) && memcmp(packet, &low, 4) == 0 &&
			memcmp(packet + 4, &high, 2) == 0)
			return true;
	}
	return false;
}

static bool is_wanted_group(const struct e1000 *card, const uint8_t *packet)
{
	static const uint8_t shifts[4] = { 4, 3, 2, 0 };
	uint32_t rctl = e1000_get(card, E1000_RCTL);
	if (rctl & RCTL_ALL_MULTICAST)
		return true;
	uint32_t hash = ((uint32_t)packet[5] << 8 | packet[4]) >> shifts[rctl >> 12 & 3] & 0xfff;
	return card->registers[E1000_MTA / 4 + hash / 32] >> (hash % 32) & 1;
}

static bool is_vlan(const struct e1000 *card, const uint8_t *packet)
{
	return (uint32_t)(packet[VLAN_AT] << 8 | packet[VLAN_AT + 1]) ==
		(e1000_get(card, E1000_VET) & 0xffff);
}

static bool is_wanted(const struct e1000 *card, const uint8_t *packet)
{
	static const uint8_t everybody[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	uint32_t rctl = e1000_get(card, E1000_RCTL);
	if ((rctl & RCTL_VLAN_FILTER) && is_vlan(card, packet)) {
		uint32_t vlan = (uint32_t)(packet[VLAN_AT + 2] & 15) << 8 | packet[VLAN_AT + 3];
		if (!(card->registers[E1000_VFTA / 4 + vlan / 32] >> (vlan % 32) & 1))
			return false;
	}
	if (memcmp(packet, everybody, sizeof(everybody)) == 0)
		return rctl & (RCTL_BROADCAST | RCTL_PROMISCUOUS);
	if (packet[0] & 1)
		return is_wanted_group(card, packet);
	return (rctl & RCTL_PROMISCUOUS) || is_ours(card, packet);
}

/* Writes the packet into as many descriptors as it needs; false if there are too few. */
static bool put(
	struct e1000 *card, const uint8_t *packet, uint32_t bytes, uint8_t status, uint16_t vlan)
{
	uint64_t ring = (uint64_t)e1000_get(card, E1000_RDBAH) << 32 | e1000_get(card, E1000_RDBAL);
	uint32_t size = buffer_bytes(card), count = ring_count(card);
	uint32_t head = e1000_get(card, E1000_RDH);
	if ((bytes + size - 1) / size > free_count(card))
		return false;
	for (uint32_t done = 0; done < bytes;) {
		struct descriptor descriptor;
		uint64_t at = ring + (uint64_t)head * DESCRIPTOR_BYTES;
		uint32_t part = bytes - done < size ? bytes - done : size;
		if (guest_read(card->guest, at, &descriptor, sizeof(descriptor)) < 0)
			return false;
		/* A null address is a descriptor without a buffer. */
		if (descriptor.at &&
			guest_write(card->guest, descriptor.at, packet + done, part) < 0)
			return false;
		done += part;
		descriptor.bytes = (uint16_t)part;
		descriptor.sum = 0;
		descriptor.errors = 0;
		descriptor.status = (uint8_t)(STATUS_DONE | (done == bytes ? status : 0));
		descriptor.vlan = done == bytes ? vlan : 0;
		if (guest_write(card->guest, at, &descriptor, sizeof(descriptor)) < 0)
			return false;
		head = head + 1 == count ? 0 : head + 1;
	}
	e1000_put(card, E1000_RDH, head);
	return true;
}

static uint32_t receive(struct e1000 *card, uint8_t *packet, uint32_t bytes)
{
	uint8_t status = STATUS_END | STATUS_NO_SUM;
	uint16_t vlan = 0;
	if (bytes < FRAME_MIN) {
		memset(packet + bytes, 0, FRAME_MIN - bytes);
		bytes = FRAME_MIN;
	}
	if (!is_wanted(card, packet))
		return 0;
	if ((e1000_get(card, E1000_CTRL) & E1000_CTRL_VLAN) && is_vlan(card, packet)) {
		vlan = (uint16_t)(packet[VLAN_AT + 2] << 8 | packet[VLAN_AT + 3]);
		status |= STATUS_VLAN;
		memmove(packet + VLAN_BYTES, packet, VLAN_AT);
		packet += VLAN_BYTES;
		bytes -= VLAN_BYTES;
	}
	uint32_t octets = bytes;
	if (!(e1000_get(card, E1000_RCTL) & RCTL_STRIP_CRC)) {
		/* Nobody damaged it on the way: drivers skip the four bytes unread. */
		memset(packet + bytes, 0, CRC_BYTES);
		bytes += CRC_BYTES;
	}
	if (!put(card, packet, bytes, status, vlan))
		return 0;
	e1000_count(card, E1000_GPRC, 1);
	e1000_count_octets(card, E1000_GORCL, octets);
	return E1000_CAUSE_RECEIVED;
}

static bool is_low(const struct e1000 *card)
{
	uint32_t shift = (e1000_get(card, E1000_RCTL) >> 8 & 3) + 1;
	return free_count(card) <= ring_count(card) >> shift;
}

void e1000_receive_all(struct e1000 *card)
{
	uint32_t causes = 0, budget = E1000_BUDGET;
	while (e1000_can_receive(card) && budget-- > 0) {
		ssize_t n = read(card->tap, card->received, sizeof(card->received) - CRC_BYTES);
		if (n < E1000_HEADER_BYTES + 14)
			break;
		causes |= receive(card, card->received + E1000_HEADER_BYTES,
			(uint32_t)n - E1000_HEADER_BYTES);
	}
	if (causes && is_low(card))
		causes |= E1000_CAUSE_RECEIVE_LOW;
	e1000_interrupt(card, causes);
}
