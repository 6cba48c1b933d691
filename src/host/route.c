/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route.c - IP addresses, routes and neighbours of an interface, through the rtnetlink handle of link.h.
 */
#include "host/route.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "host/link.h"

static void put_address(struct netlink *netlink, uint16_t type, const struct address *address)
{
	netlink_put(netlink, type, address->bytes, address_size(address));
}

static int start_address(struct netlink *netlink, uint16_t type, uint16_t flags, const char *link,
	const struct address *address, struct error *e)
{
	uint32_t index = 0;
	int r = link_index(netlink, link, &index, e);
	if (r < 0)
		return r;
	struct ifaddrmsg header = {
		.ifa_family = address->family,
		.ifa_prefixlen = address->prefix,
		.ifa_index = index,
		.ifa_flags = address->family == AF_INET6 ? IFA_F_NODAD : 0,
	};
	netlink_begin(netlink);
	netlink_message(netlink, type, flags, &header, sizeof(header));
	put_address(netlink, IFA_LOCAL, address);
	put_address(netlink, IFA_ADDRESS, address);
	return 0;
}

int route_add_address(
	struct netlink *netlink, const char *link, const struct address *address, struct error *e)
{
	char text[ADDRESS_TEXT];
	int r = start_address(netlink, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, link, address, e);
	if (r < 0)
		return r;
	if (address->family == AF_INET && address->prefix < 31) {
		struct address last = address_last(address);
		put_address(netlink, IFA_BROADCAST, &last);
	}
	r = netlink_send(netlink, e);
	if (r < 0)
		return error_prefix(
			e, r, "add %s to interface %s", address_format_cidr(address, text), link);
	return 0;
}

int route_delete_address(
	struct netlink *netlink, const char *link, const struct address *address, struct error *e)
{
	char text[ADDRESS_TEXT];
	int r = start_address(netlink, RTM_DELADDR, 0, link, address, e);
	if (r < 0)
		return r;
	r = netlink_send(netlink, e);
	if (r < 0)
		return error_prefix(e, r, "delete %s from interface %s",
			address_format_cidr(address, text), link);
	return 0;
}

int route_add(struct netlink *netlink, const char *link, const struct address *to,
	const struct address *gateway, struct error *e)
{
	char text[ADDRESS_TEXT];
	uint32_t index = 0;
	int r = link_index(netlink, link, &index, e);
	if (r < 0)
		return r;
	struct rtmsg header = {
		.rtm_family = to->family,
		.rtm_dst_len = to->prefix,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = gateway || to->family == AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
		.rtm_type = RTN_UNICAST,
	};
	netlink_begin(netlink);
	netlink_message(netlink, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof(header));
	if (to->prefix > 0)
		put_address(netlink, RTA_DST, to);
	if (gateway)
		put_address(netlink, RTA_GATEWAY, gateway);
	netlink_put_u32(netlink, RTA_OIF, index);
	r = netlink_send(netlink, e);
	if (r < 0 && r != -EEXIST)
		return error_prefix(e, r, "add a route to %s by interface %s",
			address_format_cidr(to, text), link);
	return 0;
}

int route_add_neighbour(struct netlink *netlink, const char *link, const struct address *address,
	const uint8_t mac[MAC_SIZE], struct error *e)
{
	char text[ADDRESS_TEXT];
	uint32_t index = 0;
	int r = link_index(netlink, link, &index, e);
	if (r < 0)
		return r;
	struct ndmsg header = {
		.ndm_family = address->family,
		.ndm_ifindex = (int)index,
		.ndm_state = NUD_PERMANENT,
	};
	netlink_begin(netlink);
	netlink_message(
		netlink, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &header, sizeof(header));
	put_address(netlink, NDA_DST, address);
	netlink_put(netlink, NDA_LLADDR, mac, MAC_SIZE);
	r = netlink_send(netlink, e);
	if (r < 0)
		return error_prefix(e, r, "add neighbour %s to interface %s",
			address_format(address, text), link);
	return 0;
}

struct list {
	int link; /* index, or 0 for all */
	route_call *call;
	void *data;
};

/* Reads an address attribute of the family; false if it is absent or of another length. */
static bool read_address(
	const struct nlattr *attribute, uint8_t family, uint8_t prefix, struct address *ret)
{
	struct address address = { .family = family, .prefix = prefix };
	if (!attribute || netlink_length(attribute) != address_size(&address) ||
		prefix > address_bits(&address))
		return false;
	memcpy(address.bytes, netlink_data(attribute, 0), address_size(&address));
	*ret = address;
	return true;
}

static int take_address(void *data, uint16_t type, const void *message, size_t length)
{
	struct list *list = data;
	const struct ifaddrmsg *header = message;
	const struct nlattr *attributes[IFA_MAX + 1];
	size_t skip = NLMSG_ALIGN(sizeof(*header));
	if (type != RTM_NEWADDR || length < skip)
		return 0;
	int r = netlink_attributes(
		(const uint8_t *)message + skip, length - skip, attributes, ARRAY_SIZE(attributes));
	if (r < 0)
		return r;
	struct address address;
	if ((list->link && list->link != (int)header->ifa_index) ||
		!read_address(attributes[IFA_LOCAL] ?: attributes[IFA_ADDRESS], header->ifa_family,
			header->ifa_prefixlen, &address))
		return 0;
	return list->call(list->data, (int)header->ifa_index, &address);
}

int route_list_addresses(
	struct netlink *netlink, const char *link, route_call *call, void *data, struct error *e)
{
	struct list list = { .call = call, .data = data };
	struct ifaddrmsg header = { .ifa_family = AF_UNSPEC };
	uint32_t index = 0;
	int r = link ? link_index(netlink, link, &index, e) : 0;
	if (r < 0)
		return r;
	list.link = (int)index;
	netlink_begin(netlink);
	netlink_message(netlink, RTM_GETADDR, NLM_F_DUMP, &header, sizeof(header));
	return netlink_get(netlink, take_address, &list, e);
}

static int take_route(void *data, uint16_t type, const void *message, size_t length)
{
	struct list *list = data;
	const struct rtmsg *header = message;
	const struct nlattr *attributes[RTA_MAX + 1];
	size_t skip = NLMSG_ALIGN(sizeof(*header));
	if (type != RTM_NEWROUTE || length < skip || header->rtm_type != RTN_UNICAST ||
		header->rtm_flags & RTM_F_CLONED)
		return 0;
	int r = netlink_attributes(
		(const uint8_t *)message + skip, length - skip, attributes, ARRAY_SIZE(attributes));
	if (r < 0)
		return r;
	struct address to = { .family = header->rtm_family };
	if (header->rtm_dst_len > 0 &&
		!read_address(attributes[RTA_DST], header->rtm_family, header->rtm_dst_len, &to))
		return 0;
	return list->call(list->data, (int)netlink_u32(attributes[RTA_OIF], 0), &to);
}

int route_list(struct netlink *netlink, route_call *call, void *data, struct error *e)
{
	struct list list = { .call = call, .data = data };
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct rtmsg header = { .rtm_family = families[i] };
		netlink_begin(netlink);
		netlink_message(netlink, RTM_GETROUTE, NLM_F_DUMP, &header, sizeof(header));
		int r = netlink_get(netlink, take_route, &list, e);
		if (r < 0)
			return r;
	}
	return 0;
}
