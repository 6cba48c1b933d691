/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network.h - what a network was asked to be: the `config` of a bridge and of its forwards, checked.
 *
 * The keys are LXD's. Everything unknown or wrong is -EINVAL with the path of the field. Texts are borrowed
 * from the JSON.
 */
#pragma once

#include <jansson.h>

#include "model/address.h"

#define NETWORK_RANGES_MAX     16
#define NETWORK_INTERFACES_MAX 16
#define NETWORK_PORTS_MAX      1024 /* forwarded ports of one listen address */

enum network_dns {
	NETWORK_DNS_MANAGED, /* names of instances only */
	NETWORK_DNS_DYNAMIC, /* and those that DHCP clients tell */
	NETWORK_DNS_NONE,
};

/* One of the two IP versions of a network. */
struct network_family {
	bool is_auto;           /* a network is to be chosen */
	struct address address; /* of the bridge; none if `family` is 0 */
	bool nat;
	bool is_nat_set;
	struct address nat_address; /* none: that of the way out */
	bool dhcp;
	bool is_stateful; /* IPv6: DHCP gives addresses, not only names of servers */
	struct address dhcp_gateway;
	const char *dhcp_expiry; /* "1h" */
	struct address_range ranges[NETWORK_RANGES_MAX];
	size_t range_count;
	bool firewall; /* our rules hold it apart from other networks */
	bool routing;
};

struct network_config {
	struct network_family ipv4, ipv6;
	enum network_dns dns;
	const char *domain; /* "berth" */
	const char *search; /* NULL: the domain */
	uint32_t mtu;       /* 0: 1500 */
	uint8_t mac[MAC_SIZE];
	bool is_mac_set;
	char *interfaces[NETWORK_INTERFACES_MAX]; /* of the host, that join it; owned */
	size_t interface_count;
};

/* `json` may be NULL. */
int network_config_read(const json_t *json, struct network_config *ret, struct error *e) must_use;
void network_config_done(struct network_config *config);
static inline void network_config_done_cleanup(struct network_config *local)
{
	network_config_done(local);
}

/* -EINVAL with "name: ..." for what is no name of a network. */
int network_check_name(const char *name, struct error *e) must_use;

/*
 * The first network of ours in `candidate` order that `is_taken` does not claim: 10.X.Y.1/24 and
 * fd42:.../64, begun at what follows from `seed`. Returns false if all that were tried are taken.
 */
bool network_choose(int family, uint64_t seed,
	bool (*is_taken)(void *data, const struct address *network), void *data,
	struct address *ret) must_use;

/*
 * The address of an instance in a network: where it stands follows from `seed`, then the next free one,
 * within the ranges if there are any. False if none is free.
 */
bool network_choose_address(const struct network_family *family, uint64_t seed,
	bool (*is_taken)(void *data, const struct address *address), void *data,
	struct address *ret) must_use;

/* FNV-1a over the text; for seeds. `seed` chains calls; 0 starts. */
uint64_t network_hash(uint64_t seed, const char *text) must_use;

/* A range of ports that go to a target, one to one. */
struct network_port {
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP; 0: everything else */
	uint16_t listen, target;
	struct address to;
};

/* What one listen address forwards, in the order it was said; `protocol` 0 is last. */
struct network_forward {
	struct address listen;
	struct network_port *ports; /* owned */
	size_t count;
};

/*
 * Reads {listen_address, config: {target_address, user.*}, ports: [{protocol, listen_port, target_port,
 * target_address, description}]}; targets must lie in the network of `config`.
 */
int network_forward_read(const json_t *forward, const struct network_config *config,
	struct network_forward *ret, struct error *e) must_use;
void network_forward_done(struct network_forward *forward);
static inline void network_forward_done_cleanup(struct network_forward *local)
{
	network_forward_done(local);
}
