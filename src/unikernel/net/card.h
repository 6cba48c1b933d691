/* SPDX-License-Identifier: Apache-2.0 */
/*
 * card.h - the Ethernet card between the platform and lwIP.
 */
#pragma once

#include <lwip/netif.h>

#include "unikernel/kernel.h"

extern struct netif net_card; /* without input if there is none */
extern bool net_has_card;

/* Makes the card an interface of lwIP; and what that has to be given back when it was removed. */
int card_init(const struct boot *boot);
void card_done(void);

/* What the platform takes over now. */
void card_set_offload(const struct boot *boot);

/* Hands every frame that waits to lwIP. True if there was one. */
bool card_receive(void);

/* Sends what was kept back to be joined. */
void card_flush(void);
