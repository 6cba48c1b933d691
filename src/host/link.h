/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link.h - network interfaces of this host: bridges, veth pairs, taps.
 *
 * Everything goes through one rtnetlink handle that its owner keeps open: netlink_open(NETLINK_ROUTE).
 * The handle acts in the network namespace in which it was opened. Names are at most 15 characters.
 * Failures are the kernel's errno: -EEXIST, -ENODEV, ... Blocks for the kernel's work only, some 0.1 ms.
 */
#pragma once

#include <net/if.h>
#include <sys/types.h>

#include "base/base.h"
#include "base/error.h"
#include "host/netlink.h"
#include "model/address.h"

#define LINK_NAME_SIZE IFNAMSIZ

/* A Linux bridge numbers its ports with 10 bits. */
#define LINK_BRIDGE_PORTS_MAX 1023

struct link_counters {
	uint64_t received_bytes, received_packets, received_errors, received_dropped;
	uint64_t sent_bytes, sent_packets, sent_errors, sent_dropped;
};

struct link_info {
	int index;
	int master; /* index of its bridge, or 0 */
	char name[LINK_NAME_SIZE];
	char kind[16]; /* "bridge", "veth", "tun", ...; "" for hardware */
	uint8_t mac[MAC_SIZE];
	uint16_t hardware; /* ARPHRD_ETHER, ARPHRD_LOOPBACK, ... */
	uint32_t flags;    /* IFF_UP, IFF_RUNNING, ... */
	uint32_t mtu;
	uint32_t group;
	struct link_counters counters;
};

/* -ENODEV if there is none of that name. */
int link_get(
	struct netlink *netlink, const char *name, struct link_info *ret, struct error *e) must_use;

/* Its number, which is never 0; -ENODEV. */
int link_index(struct netlink *netlink, const char *name, uint32_t *ret, struct error *e) must_use;

/* Calls for each interface; a negative return ends it. */
typedef int link_call(void *data, const struct link_info *link);
int link_list(struct netlink *netlink, link_call *call, void *data, struct error *e) must_use;

int link_delete(struct netlink *netlink, const char *name, struct error *e) must_use;

struct link_bridge {
	const char *name;
	const uint8_t *mac;
	uint32_t mtu; /* 0: the kernel's choice */
};
/* Makes a bridge without spanning tree or multicast snooping; it is down. */
int link_add_bridge(
	struct netlink *netlink, const struct link_bridge *bridge, struct error *e) must_use;

/* What the port of a bridge does. */
struct link_port {
	bool is_isolated; /* reaches only ports that are not isolated */
	bool is_hairpin;  /* frames may leave by the port they came in */
};

struct link_veth {
	const char *name;   /* stays here */
	const char *peer;   /* its name where it is made */
	int peer_netns;     /* descriptor of the namespace the peer is made in, or -1 for here */
	const uint8_t *mac; /* of this end; NULL: random */
	const uint8_t *peer_mac; /* NULL: random */
	uint32_t mtu;            /* of both; 0: 1500 */
	uint32_t group;          /* of this end */
	const char *bridge;      /* that this end joins, or NULL */
	struct link_port port;   /* if it joins one */
};
/* Makes the pair. This end is up, speaks no IP of its own and is a port of the bridge; the peer is down. */
int link_add_veth(struct netlink *netlink, const struct link_veth *veth, struct error *e) must_use;

/* Makes a macvlan in bridge mode on `parent`; it is down. */
int link_add_macvlan(struct netlink *netlink, const char *name, const char *parent,
	const uint8_t *mac, uint32_t mtu, struct error *e) must_use;

/*
 * Makes a tap with virtio headers and opens `queues` (1 or more) descriptors of it in `ret`; it goes when
 * they are all closed. It is down; see link_join().
 */
int link_open_tap(const char *name, uint32_t queues, int *ret, struct error *e) must_use;

/* Makes an interface without IP of its own a port of the bridge and up. `mac` may be NULL. */
int link_join(struct netlink *netlink, const char *name, const char *bridge,
	const struct link_port *port, const uint8_t *mac, uint32_t mtu, uint32_t group,
	struct error *e) must_use;

/* `bridge` NULL: leaves it. */
int link_set_master(
	struct netlink *netlink, const char *name, const char *bridge, struct error *e) must_use;
int link_set_port(struct netlink *netlink, const char *name, const struct link_port *port,
	struct error *e) must_use;
int link_set_up(struct netlink *netlink, const char *name, bool is_up, struct error *e) must_use;
int link_set_mtu(struct netlink *netlink, const char *name, uint32_t mtu, struct error *e) must_use;
int link_set_mac(
	struct netlink *netlink, const char *name, const uint8_t *mac, struct error *e) must_use;
/* The interface must be down. */
int link_rename(
	struct netlink *netlink, const char *name, const char *new_name, struct error *e) must_use;

/* Moves it into the namespace of `netns` (a descriptor) and renames it there if `new_name` is given. */
int link_move(struct netlink *netlink, const char *name, int netns, const char *new_name,
	struct error *e) must_use;
int link_move_to_pid(struct netlink *netlink, const char *name, pid_t pid, const char *new_name,
	struct error *e) must_use;
