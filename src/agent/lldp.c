/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lldp.c - type, length and value until the end.
 */
#include "agent/lldp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEAD_BYTES 14

enum { END, CHASSIS, PORT, LIFETIME, PORT_TEXT, SYSTEM, OF_OTHERS = 127 };
enum { MAC_OF_CHASSIS = 4, ADDRESS_OF_CHASSIS = 5, MAC_OF_PORT = 3, ADDRESS_OF_PORT = 4 };

/* What can be shown on a terminal. */
static void copy_text(char to[LLDP_WORD_MAX], const uint8_t *from, size_t length)
{
	size_t i = 0;
	for (; i < length && i < LLDP_WORD_MAX - 1; i++)
		to[i] = from[i] >= 0x20 && from[i] < 0x7f ? (char)from[i] : '?';
	to[i] = '\0';
}

/* A name behind its kind. */
static void copy_name(
	char to[LLDP_WORD_MAX], const uint8_t *value, size_t length, int mac_kind, int address_kind)
{
	const uint8_t *name = value + 1;
	if (value[0] == mac_kind && length == 7)
		snprintf(to, LLDP_WORD_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", name[0], name[1],
			name[2], name[3], name[4], name[5]);
	else if (value[0] == address_kind && length == 6 && name[0] == 1)
		(void)!inet_ntop(AF_INET, name + 1, to, LLDP_WORD_MAX);
	else if (value[0] == address_kind && length == 18 && name[0] == 2)
		(void)!inet_ntop(AF_INET6, name + 1, to, LLDP_WORD_MAX);
	else
		copy_text(to, name, length - 1);
}

static bool take(struct lldp_neighbour *ret, int type, const uint8_t *value, size_t length)
{
	static const uint8_t port_vlan[4] = { 0x00, 0x80, 0xc2, 1 };
	switch (type) {
	case CHASSIS:
		if (length < 2)
			return false;
		copy_name(ret->chassis, value, length, MAC_OF_CHASSIS, ADDRESS_OF_CHASSIS);
		return true;
	case PORT:
		if (length < 2)
			return false;
		copy_name(ret->port, value, length, MAC_OF_PORT, ADDRESS_OF_PORT);
		return true;
	case LIFETIME:
		/* None: it takes back what it said. */
		return length >= 2 && (value[0] | value[1]);
	case SYSTEM:
		copy_text(ret->system, value, length);
		return true;
	case OF_OTHERS:
		if (length == 6 && memcmp(value, port_vlan, sizeof(port_vlan)) == 0)
			ret->vlan = (uint16_t)(value[4] << 8 | value[5]);
		return true;
	default:
		return true;
	}
}

int lldp_read(const uint8_t *frame, size_t length, struct lldp_neighbour *ret)
{
	struct lldp_neighbour neighbour = {};
	if (length < HEAD_BYTES || frame[12] != LLDP_TYPE >> 8 || frame[13] != (LLDP_TYPE & 0xff))
		return -EBADMSG;
	int next = CHASSIS;
	for (size_t at = HEAD_BYTES; at + 2 <= length;) {
		int type = frame[at] >> 1;
		size_t bytes = (size_t)(frame[at] & 1) << 8 | frame[at + 1];
		at += 2;
		if (type == END)
			break;
		/* The first three stand first, and in this order. */
		if (bytes > length - at || (next <= LIFETIME && type != next++) ||
			!take(&neighbour, type, frame + at, bytes))
			return -EBADMSG;
		at += bytes;
	}
	if (next <= LIFETIME)
		return -EBADMSG;
	*ret = neighbour;
	return 0;
}
