/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h - the networks of this daemon and the cards on them, in memory.
 */
#pragma once

#include <jansson.h>

#include "base/loop.h"
#include "host/firewall.h"
#include "host/link.h"
#include "host/netlink.h"
#include "host/shape.h"
#include "model/network.h"

#define NETWORKS_MAX  1000
#define CARD_BUCKETS  1024
#define CARD_LIST_MAX 99999 /* their numbers have five digits in an interface's name */

/* A list that is in buckets by one property of a card. */
enum card_index {
	CARD_BY_OWNER,
	CARD_BY_HOST,
	CARD_BY_MAC,
	CARD_BY_IPV4,
	CARD_BY_IPV6,
	CARD_INDEXES
};

struct dnsmasq;
struct metadata;
struct service;

struct network {
	struct network *next; /* by number */
	char *project;
	char *name;
	json_t *object;               /* as stored: {description, config, number} */
	struct network_config config; /* of `object`; addresses are chosen */
	uint32_t number;
	char bridge[LINK_NAME_SIZE];
	struct firewall_network rules; /* in force while it is up */
	struct dnsmasq *dnsmasq;       /* NULL: it needs none, or is down */
	struct metadata *metadata;     /* NULL until an instance with an IPv4 address runs on it */
	bool is_up;
	size_t leased;   /* cards with a lease */
	size_t attached; /* cards that are attached */
};

struct card {
	struct card *next[CARD_INDEXES];
	char *project, *instance, *device;
	struct network *network; /* NULL: a bridge of the host's own */
	char bridge[LINK_NAME_SIZE];
	char host_name[LINK_NAME_SIZE];
	char name[LINK_NAME_SIZE]; /* in the instance */
	uint8_t mac[MAC_SIZE];
	struct address ipv4, ipv6;
	uint32_t mtu;
	bool mac_filtering, ipv4_filtering, ipv6_filtering, port_isolation;
	struct shape_rates rates;
	bool is_attached;
	struct firewall_port port; /* in force while it is attached */
};

struct leaving;
struct nat;

struct networks {
	struct service *service;
	struct netlink *route;     /* NULL: this process may not change the network, `why_not` */
	struct firewall *firewall; /* likewise */
	char why_not[ERROR_TEXT_SIZE];
	char shaper[LINK_NAME_SIZE];
	bool has_shaper;
	bool is_settled; /* what an earlier daemon left is adopted or removed */
	struct network *list;
	size_t count;
	struct nat *nats; /* of nat.c */
	struct card *cards[CARD_INDEXES][CARD_BUCKETS];
	size_t card_count;
	size_t attached_count; /* of all networks */
	uint32_t next_card;
	struct source *look; /* timer of leave.c */
	struct leaving *leaving;
};

/* NULL if there is none. */
struct network *network_find(struct networks *networks, const char *project, const char *name);

void card_link(struct networks *networks, struct card *card);
void card_unlink(struct networks *networks, struct card *card);
void card_free(struct card *card);
typedef void cards_call(void *data, struct card *card);
/* The callee may free the card. */
void cards_each(struct networks *networks, cards_call *call, void *data);
void cards_free(struct networks *networks);
struct card *card_find(
	struct networks *networks, const char *project, const char *instance, const char *device);
/* The first of a list by next[CARD_BY_OWNER] that has the instance's, and maybe others. */
struct card *cards_of(struct networks *networks, const char *project, const char *instance);
struct card *card_find_host(struct networks *networks, const char *host_name);
/* Who, but for `but`, has this address in the network? */
struct card *card_find_mac(struct networks *networks, const struct network *network,
	const uint8_t *mac, const struct card *but);
struct card *card_find_address(struct networks *networks, const struct network *network,
	const struct address *address, const struct card *but);
