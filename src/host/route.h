/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route.h - IP addresses, routes and neighbours of an interface, through the rtnetlink handle of link.h.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "host/netlink.h"
#include "model/address.h"

/*
 * Adds the address with its prefix; it may be there already. An IPv6 address is used at once, without a
 * search for duplicates.
 */
int route_add_address(struct netlink *netlink, const char *link, const struct address *address,
	struct error *e) must_use;
int route_delete_address(struct netlink *netlink, const char *link, const struct address *address,
	struct error *e) must_use;

/*
 * Adds a route by `gateway` (NULL: on the link); `to` is a network, of prefix 0 for the default route. One
 * that leads there already stays as it is.
 */
int route_add(struct netlink *netlink, const char *link, const struct address *to,
	const struct address *gateway, struct error *e) must_use;

/* Says for good which interface address an IP address of the link has. */
int route_add_neighbour(struct netlink *netlink, const char *link, const struct address *address,
	const uint8_t mac[MAC_SIZE], struct error *e) must_use;

/* `link` is the index of the interface. A negative return ends the list. */
typedef int route_call(void *data, int link, const struct address *address);

/* The addresses of all interfaces, or of the one called `link`. */
int route_list_addresses(struct netlink *netlink, const char *link, route_call *call, void *data,
	struct error *e) must_use;

/* The networks that the unicast routes of all tables lead to; the default route has prefix 0. */
int route_list(struct netlink *netlink, route_call *call, void *data, struct error *e) must_use;
