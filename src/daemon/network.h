/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network.h - the networks of this daemon, and the network cards that instances have on them.
 *
 * A card is known by its project, instance and device. It has a lease from the instance's creation (or the
 * daemon's start) to its deletion: its addresses, the name of its interface on the host. While the
 * instance runs it is attached, too: what comes out of it is filtered. The interface itself is made by the
 * runner (a container's) or by network_card_tap(); what the runner must know is network_card_plan().
 *
 * After a start of the daemon the instances' module leases again what stood in `volatile.*`; when the
 * daemon's loop starts to turn, what has an interface on the host is attached again and what nobody leased is
 * removed. Nothing here waits for a process.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "host/link.h"
#include "host/shape.h"
#include "model/address.h"
#include "model/device.h"

struct service;

int networks_start(struct service *service, struct error *e) must_use;
void networks_stop(struct service *service);

struct network_card {
	const char *project;
	const char *instance;
	const struct nic_device *nic;

	/* What it had before, as `volatile.DEVICE.*` has it; NULL or "": chosen now. */
	const char *hwaddr;
	const char *ipv4, *ipv6; /* with or without their prefix */
	const char *
		host_name; /* taken over after the start of a daemon only; each start has another */
};

struct network_lease {
	char hwaddr[MAC_TEXT];
	char host_name[LINK_NAME_SIZE]; /* of the interface on this host */
	char bridge[LINK_NAME_SIZE];    /* that it joins */
	char shaper[LINK_NAME_SIZE];    /* see host/shape.h */
	char ipv4[ADDRESS_TEXT];        /* "10.0.0.2/24"; "": none, so the rest */
	char ipv6[ADDRESS_TEXT];
	char ipv4_gateway[ADDRESS_TEXT];
	char ipv6_gateway[ADDRESS_TEXT];
	char nameserver[ADDRESS_TEXT];
	char domain[256];
	uint32_t mtu;
};

/*
 * Whether such a card can be had: the network is there, the addresses lie in it and are nobody else's.
 * Nothing changes. -EINVAL, -ENOENT, -EEXIST with "devices.NAME.KEY: ...".
 */
int network_card_check(
	struct service *service, const struct network_card *card, struct error *e) must_use;

/*
 * Leases: chooses what is open, the same each time for the same card. One that has a lease keeps it where
 * `card` allows. With an address taken by another meanwhile: -EEXIST. -ENOSPC if a network is full.
 * What it fills is to be kept as volatile.DEVICE.{hwaddr,ipv4.address,ipv6.address,host_name}.
 */
int network_card_lease(struct service *service, const struct network_card *card,
	struct network_lease *ret, struct error *e) must_use;

/* Ends the lease of a device, or of all of the instance if `device` is NULL; detaches. */
void network_card_release(
	struct service *service, const char *project, const char *instance, const char *device);

/* The instance has another name: its leases go with it. */
void network_card_rename(
	struct service *service, const char *project, const char *instance, const char *new_name);

/*
 * Filters what will come out of the leased card: before its interface is made. `card->nic` says what is
 * filtered and limited. Does nothing if it is attached so.
 */
int network_card_attach(
	struct service *service, const struct network_card *card, struct error *e) must_use;

/*
 * The member `host` of the card in the runner's plan document (doc/plan.md). New reference.
 */
json_t *network_card_plan(const struct network_lease *lease, const struct nic_device *nic) must_use;

/* For a machine: makes the attached card's interface, a tap with `queues` descriptors in `ret`. */
int network_card_tap(struct service *service, const struct network_card *card, uint32_t queues,
	int *ret, struct error *e) must_use;

/* New limits and filters of an attached card whose instance runs. */
int network_card_update(
	struct service *service, const struct network_card *card, struct error *e) must_use;

/*
 * The instance has stopped, or has lost the card: filters and limits go. With `is_running` its interface is
 * deleted, which takes some 20 ms; without, it goes with the instance's last process.
 */
void network_card_detach(struct service *service, const char *project, const char *instance,
	const char *device, bool is_running);

/* The host's interface: "received" is what the instance sent. -ENODEV if it has none. */
int network_card_counters(struct service *service, const char *project, const char *instance,
	const char *device, struct link_counters *ret, struct error *e) must_use;
