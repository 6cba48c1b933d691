/* SPDX-License-Identifier: Apache-2.0 */
/*
 * card.h - the network cards that instances have on the networks of this daemon.
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

#include "daemon/network/table.h"
#include "model/device.h"

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
 * Filters what will come out of the leased card: before its interface is made. `wanted->nic` says what is
 * filtered and limited. Does nothing if it is attached so.
 */
int network_card_attach(
	struct service *service, const struct network_card *wanted, struct error *e) must_use;

/*
 * The member `host` of the card in the runner's plan document (doc/plan.md). New reference.
 */
json_t *network_card_plan(const struct network_lease *lease, const struct nic_device *nic) must_use;

/*
 * For a container that runs: makes the attached card's pair with its end in the network namespace of `pid`
 * and sets its addresses up there.
 */
int network_card_plug(struct service *service, const struct network_card *wanted,
	const struct network_lease *lease, pid_t pid, struct error *e) must_use;

/* Calls for each attached card of the instance; the callee may detach or release it. */
typedef void network_card_call(void *data, const char *device);
void network_cards_attached(struct service *service, const char *project, const char *instance,
	network_card_call *call, void *data);

/* For a machine: makes the attached card's interface, a tap with `queues` descriptors in `ret`. */
int network_card_tap(struct service *service, const struct network_card *wanted, uint32_t queues,
	int *ret, struct error *e) must_use;

/* New limits and filters of an attached card whose instance runs. */
int network_card_update(
	struct service *service, const struct network_card *wanted, struct error *e) must_use;

/*
 * The instance has stopped, or has lost the card: filters and limits go. With `is_running` its interface is
 * deleted, which takes some 20 ms; without, it goes with the instance's last process.
 */
void network_card_detach(struct service *service, const char *project, const char *instance,
	const char *device, bool is_running);

/* The host's interface: "received" is what the instance sent. -ENODEV if it has none. */
int network_card_counters(struct service *service, const char *project, const char *instance,
	const char *device, struct link_counters *ret, struct error *e) must_use;

/* For the other files of networks. */

int card_check_rates(const struct nic_device *nic, struct error *e) must_use;
void card_set(struct card *card, const struct nic_device *nic);
int card_attach(struct networks *networks, struct card *card, struct error *e) must_use;
void card_detach(struct networks *networks, struct card *card, bool is_running);
