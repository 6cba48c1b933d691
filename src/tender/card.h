/* SPDX-License-Identifier: Apache-2.0 */
/*
 * card.h - the options that give a program of the library OS its network card and its addresses.
 */
#pragma once

#include "abi/boot.h"
#include "base/base.h"
#include "base/error.h"

struct card {
	struct boot_net net;
	int fd; /* of the tap; 0: there is no card */
	bool has_header;
};

/* Takes one option; -ENOENT if it is none of a card. */
int card_take_option(struct card *card, const char *option, struct error *e) must_use;

/* Fills in what was not said: a random address of Ethernet. -EINVAL: addresses without a card. */
int card_finish(struct card *card, struct error *e) must_use;

#define CARD_USAGE \
	"  --net=TAP                      its network card: the tap interface, or the descriptor @N\n" \
	"  --net-mac=MAC                  the card's address (random)\n" \
	"  --address=ADDRESS/PREFIX       an address of it, IPv4 and IPv6 (DHCP, router advertisements)\n" \
	"  --gateway=ADDRESS              where other networks are reached, IPv4 and IPv6\n" \
	"  --dns=ADDRESS                  a name server, at most two\n" \
	"  --no-ip4, --no-ip6             without one of the two\n" \
	"  --host-name=NAME               what the unikernel calls itself\n"
