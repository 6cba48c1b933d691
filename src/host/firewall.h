/* SPDX-License-Identifier: Apache-2.0 */
/*
 * firewall.h - what may pass: address translation, forwards, isolation of networks, no false senders.
 *
 * A daemon has two nf_tables tables, one of the family inet and one of the family bridge, with the same
 * name. Their rules are always the same and are loaded once; networks, ports and forwards are elements of
 * their sets and maps. So a change is one small transaction, done or not done as a whole.
 *
 * Blocks for the kernel's work only: some 0.1 ms, 10 ms for firewall_open(). It acts in the network
 * namespace in which it was opened.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "model/address.h"

#define FIREWALL_NAME_MAX           32
#define FIREWALL_PORT_ADDRESSES_MAX 8
#define FIREWALL_FORWARDS_MAX       8192 /* of one call */

struct firewall;

/*
 * Loads new, empty tables named NAME_N, N one more than those that are there. Older ones stay in force until
 * firewall_retire(): what was let pass still does while the new tables are filled.
 */
int firewall_open(const char *name, struct firewall **ret, struct error *e) must_use;
int firewall_retire(struct firewall *firewall, struct error *e) must_use;
/* Closes it; the tables stay. */
void firewall_close(struct firewall *firewall);
DEFINE_CLEANUP(struct firewall *, firewall_close);
/* Deletes all tables of that name. */
int firewall_remove(const char *name, struct error *e) must_use;

struct firewall_network {
	const char *bridge;
	struct address ipv4, ipv6; /* of the bridge; none if `family` is 0 */
	bool ipv4_nat, ipv6_nat;   /* the host's address for what goes elsewhere */
	struct address ipv4_nat_address, ipv6_nat_address; /* this one; none: that of the way out */
	bool ipv4_closed, ipv6_closed; /* nothing goes elsewhere or comes from there */
};
/* Instances of this network reach no other network of the daemon, nor its gateway. */
int firewall_add_network(struct firewall *firewall, const struct firewall_network *network,
	struct error *e) must_use;
int firewall_delete_network(struct firewall *firewall, const struct firewall_network *network,
	struct error *e) must_use;

struct firewall_port {
	const char *link; /* the name of the bridge's port; it need not be there yet */
	uint8_t mac
		[MAC_SIZE]; /* the only sender that may be behind it, if one of the next is set */
	bool check_mac;     /* in frames and ARP */
	bool check_ipv4;    /* only `addresses` in IPv4 and ARP; no DHCP server */
	bool check_ipv6;    /* only `addresses` in IPv6 and neighbour discovery; no router */
	struct address addresses[FIREWALL_PORT_ADDRESSES_MAX];
	size_t address_count;
	bool has_metadata;       /* it asks the metadata service by no address but: */
	struct address metadata; /* IPv4, or none: not at all */
};
/* With all three checks nothing but ARP, IPv4 and IPv6 passes. */
int firewall_add_port(
	struct firewall *firewall, const struct firewall_port *port, struct error *e) must_use;
/* One in place of the other, with nothing unfiltered between; both of the same link. */
int firewall_replace_port(struct firewall *firewall, const struct firewall_port *old,
	const struct firewall_port *port, struct error *e) must_use;
/* `port` as it was added. */
int firewall_delete_port(
	struct firewall *firewall, const struct firewall_port *port, struct error *e) must_use;

/* What instances of the network send to port 80 of 169.254.169.254 goes to this port of its gateway. */
int firewall_add_metadata(
	struct firewall *firewall, const char *bridge, uint16_t port, struct error *e) must_use;
int firewall_delete_metadata(
	struct firewall *firewall, const char *bridge, uint16_t port, struct error *e) must_use;

/* What is sent to `listen` goes to `target`; also from this host and from `target`'s own network. */
struct firewall_forward {
	struct address listen, target; /* of one family */
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP, or 0: all that has no other forward */
	uint16_t listen_port, target_port; /* 0 with protocol 0 */
};
/* -EEXIST, and none is added, if one of them is there with another target. */
int firewall_add_forwards(struct firewall *firewall, const struct firewall_forward *forwards,
	size_t count, struct error *e) must_use;
int firewall_delete_forwards(struct firewall *firewall, const struct firewall_forward *forwards,
	size_t count, struct error *e) must_use;
