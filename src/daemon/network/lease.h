/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease.h - which addresses the card of an instance has, chosen or asked for, and its names.
 */
#pragma once

#include "daemon/network/card.h"

/*
 * Whether such a card can be had: the network is there, the addresses lie in it and are nobody else's.
 * Nothing changes. -EINVAL, -ENOENT, -EEXIST with "devices.NAME.KEY: ...".
 */
int network_card_check(
	struct service *service, const struct network_card *wanted, struct error *e) must_use;

/*
 * Leases: chooses what is open, the same each time for the same card. One that has a lease keeps it where
 * `wanted` allows. With an address taken by another meanwhile: -EEXIST. -ENOSPC if a network is full.
 * What it fills is to be kept as volatile.DEVICE.{hwaddr,ipv4.address,ipv6.address,host_name}.
 */
int network_card_lease(struct service *service, const struct network_card *wanted,
	struct network_lease *ret, struct error *e) must_use;

/*
 * True if the card is attached and a lease of `wanted` now would not give it another network, name in the
 * instance or addresses: then network_card_update() will do.
 */
bool network_card_fits(struct service *service, const struct network_card *wanted);

/* Ends the lease of a device, or of all of the instance if `device` is NULL; detaches. */
void network_card_release(
	struct service *service, const char *project, const char *instance, const char *device);

/* The instance has another name: its leases go with it. */
void network_card_rename(
	struct service *service, const char *project, const char *instance, const char *new_name);

/* Tells dnsmasq of all cards of the network. */
void cards_publish(struct networks *networks, struct network *network);
