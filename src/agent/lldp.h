/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lldp.h - what the switch at the other end of a cable says of itself (IEEE 802.1AB).
 */
#pragma once

#include "base/base.h"

#define LLDP_TYPE     0x88cc
#define LLDP_WORD_MAX 96

struct lldp_neighbour {
	char chassis[LLDP_WORD_MAX], port[LLDP_WORD_MAX], system[LLDP_WORD_MAX];
	uint16_t vlan; /* of what is not tagged; 0: not said */
};

/* A whole frame. -EBADMSG if it is none, or says goodbye. */
int lldp_read(const uint8_t *frame, size_t length, struct lldp_neighbour *ret) must_use;
