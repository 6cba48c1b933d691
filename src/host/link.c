/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link.c - network interfaces of this host: bridges, veth pairs, taps.
 */
#include "host/link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define VIRTIO_NET_HEADER 12 /* bytes, of virtio 1 */

static int check_name(const char *name, struct error *e)
{
	size_t length = strlen(name);
	if (length == 0 || length >= LINK_NAME_SIZE)
		return error_set(e, -EINVAL, "interface name \"%.32s\" is not 1 to %d characters",
			name, LINK_NAME_SIZE - 1);
	return 0;
}

/* A message about the interface `name`, or, with flags, one that makes it. */
static void link_message(struct netlink *netlink, uint16_t type, uint16_t flags, const char *name,
	uint32_t link_flags, uint32_t change)
{
	struct ifinfomsg header = {
		.ifi_family = AF_UNSPEC,
		.ifi_flags = link_flags,
		.ifi_change = change,
	};
	netlink_message(netlink, type, flags, &header, sizeof(header));
	netlink_put_text(netlink, IFLA_IFNAME, name);
}

static int send_about(struct netlink *netlink, const char *name, const char *what, struct error *e)
{
	int r = netlink_send(netlink, e);
	if (r < 0)
		return error_prefix(e, r, "%s %s", what, name);
	return 0;
}

static void read_counters(const struct nlattr *attribute, struct link_counters *ret)
{
	struct rtnl_link_stats64 stats = {};
	size_t length = netlink_length(attribute);
	if (!attribute)
		return;
	memcpy(&stats, netlink_data(attribute, 0), length < sizeof(stats) ? length : sizeof(stats));
	*ret = (struct link_counters){
		.received_bytes = stats.rx_bytes,
		.received_packets = stats.rx_packets,
		.received_errors = stats.rx_errors,
		.received_dropped = stats.rx_dropped,
		.sent_bytes = stats.tx_bytes,
		.sent_packets = stats.tx_packets,
		.sent_errors = stats.tx_errors,
		.sent_dropped = stats.tx_dropped,
	};
}

static int read_link(const void *message, size_t length, struct link_info *ret)
{
	const struct ifinfomsg *header = message;
	size_t skip = NLMSG_ALIGN(sizeof(*header));
	const struct nlattr *attributes[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1];
	if (length < skip)
		return -EBADMSG;
	int r = netlink_attributes(
		(const uint8_t *)message + skip, length - skip, attributes, ARRAY_SIZE(attributes));
	if (r < 0)
		return r;
	*ret = (struct link_info){
		.index = header->ifi_index,
		.hardware = header->ifi_type,
		.flags = header->ifi_flags,
		.master = (int)netlink_u32(attributes[IFLA_MASTER], 0),
		.mtu = netlink_u32(attributes[IFLA_MTU], 0),
		.group = netlink_u32(attributes[IFLA_GROUP], 0),
	};
	netlink_text(attributes[IFLA_IFNAME], ret->name, sizeof(ret->name));
	if (netlink_length(attributes[IFLA_ADDRESS]) == MAC_SIZE)
		memcpy(ret->mac, netlink_data(attributes[IFLA_ADDRESS], MAC_SIZE), MAC_SIZE);
	read_counters(attributes[IFLA_STATS64], &ret->counters);
	if (!attributes[IFLA_LINKINFO])
		return 0;
	r = netlink_attributes(netlink_data(attributes[IFLA_LINKINFO], 0),
		netlink_length(attributes[IFLA_LINKINFO]), info, ARRAY_SIZE(info));
	if (r < 0)
		return r;
	netlink_text(info[IFLA_INFO_KIND], ret->kind, sizeof(ret->kind));
	return 0;
}

static int take_link(void *data, uint16_t type, const void *message, size_t length)
{
	return type == RTM_NEWLINK ? read_link(message, length, data) : 0;
}

int link_get(struct netlink *netlink, const char *name, struct link_info *ret, struct error *e)
{
	int r = check_name(name, e);
	if (r < 0)
		return r;
	struct link_info link = {};
	netlink_begin(netlink);
	link_message(netlink, RTM_GETLINK, 0, name, 0, 0);
	r = netlink_get(netlink, take_link, &link, e);
	if (r < 0)
		return error_prefix(e, r, "interface %s", name);
	*ret = link;
	return 0;
}

int link_index(struct netlink *netlink, const char *name, uint32_t *ret, struct error *e)
{
	struct link_info link = {};
	int r = link_get(netlink, name, &link, e);
	if (r < 0)
		return r;
	*ret = (uint32_t)link.index;
	return 0;
}

struct list {
	link_call *call;
	void *data;
};

static int take_one(void *data, uint16_t type, const void *message, size_t length)
{
	struct list *list = data;
	struct link_info link = {};
	if (type != RTM_NEWLINK)
		return 0;
	int r = read_link(message, length, &link);
	return r < 0 ? r : list->call(list->data, &link);
}

int link_list(struct netlink *netlink, link_call *call, void *data, struct error *e)
{
	struct list list = { call, data };
	struct ifinfomsg header = {};
	netlink_begin(netlink);
	netlink_message(netlink, RTM_GETLINK, NLM_F_DUMP, &header, sizeof(header));
	return netlink_get(netlink, take_one, &list, e);
}

int link_delete(struct netlink *netlink, const char *name, struct error *e)
{
	int r = check_name(name, e);
	if (r < 0)
		return r;
	netlink_begin(netlink);
	link_message(netlink, RTM_DELLINK, 0, name, 0, 0);
	return send_about(netlink, name, "delete interface", e);
}

int link_add_bridge(struct netlink *netlink, const struct link_bridge *bridge, struct error *e)
{
	int r = check_name(bridge->name, e);
	if (r < 0)
		return r;
	netlink_begin(netlink);
	link_message(netlink, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, bridge->name, 0, 0);
	/* Without an address of its own it takes that of a port, and changes it as ports come and go. */
	netlink_put(netlink, IFLA_ADDRESS, bridge->mac, MAC_SIZE);
	if (bridge->mtu)
		netlink_put_u32(netlink, IFLA_MTU, bridge->mtu);
	size_t info = netlink_nest(netlink, IFLA_LINKINFO);
	netlink_put_text(netlink, IFLA_INFO_KIND, "bridge");
	size_t data = netlink_nest(netlink, IFLA_INFO_DATA);
	netlink_put_u32(netlink, IFLA_BR_FORWARD_DELAY, 0);
	netlink_put_u32(netlink, IFLA_BR_STP_STATE, 0);
	netlink_put_u8(netlink, IFLA_BR_MCAST_SNOOPING, 0);
	netlink_nest_end(netlink, data);
	netlink_nest_end(netlink, info);
	return send_about(netlink, bridge->name, "make bridge", e);
}

static int bridge_index(struct netlink *netlink, const char *bridge, uint32_t *ret, struct error *e)
{
	struct link_info link = {};
	*ret = 0;
	if (!bridge)
		return 0;
	int r = link_get(netlink, bridge, &link, e);
	if (r < 0)
		return r;
	if (strcmp(link.kind, "bridge") != 0)
		return error_set(e, -EINVAL, "interface %s is not a bridge", bridge);
	*ret = (uint32_t)link.index;
	return 0;
}

static void put_port(struct netlink *netlink, const char *name, const struct link_port *port)
{
	link_message(netlink, RTM_NEWLINK, 0, name, 0, 0);
	size_t info = netlink_nest(netlink, IFLA_LINKINFO);
	netlink_put_text(netlink, IFLA_INFO_SLAVE_KIND, "bridge");
	size_t data = netlink_nest(netlink, IFLA_INFO_SLAVE_DATA);
	netlink_put_u8(netlink, IFLA_BRPORT_ISOLATED, port->is_isolated);
	netlink_put_u8(netlink, IFLA_BRPORT_MODE, port->is_hairpin);
	netlink_nest_end(netlink, data);
	netlink_nest_end(netlink, info);
}

/*
 * Three messages that make an existing interface a port: no IPv6 of its own (it would search for
 * duplicates and send router solicitations for nobody), the bridge, what the port does.
 */
static void put_join(
	struct netlink *netlink, const char *name, uint32_t bridge, const struct link_port *port)
{
	link_message(netlink, RTM_NEWLINK, 0, name, 0, 0);
	size_t families = netlink_nest(netlink, IFLA_AF_SPEC);
	size_t inet6 = netlink_nest(netlink, AF_INET6);
	netlink_put_u8(netlink, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	netlink_nest_end(netlink, inet6);
	netlink_nest_end(netlink, families);

	link_message(netlink, RTM_NEWLINK, 0, name, IFF_UP, IFF_UP);
	if (bridge)
		netlink_put_u32(netlink, IFLA_MASTER, bridge);
	if (bridge && (port->is_isolated || port->is_hairpin))
		put_port(netlink, name, port);
}

static void put_mac(struct netlink *netlink, const uint8_t *mac)
{
	if (mac)
		netlink_put(netlink, IFLA_ADDRESS, mac, MAC_SIZE);
}

static void put_veth(struct netlink *netlink, const struct link_veth *veth)
{
	uint32_t mtu = veth->mtu ?: 1500;
	link_message(netlink, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, veth->name, 0, 0);
	put_mac(netlink, veth->mac);
	netlink_put_u32(netlink, IFLA_MTU, mtu);
	netlink_put_u32(netlink, IFLA_GROUP, veth->group);
	size_t info = netlink_nest(netlink, IFLA_LINKINFO);
	netlink_put_text(netlink, IFLA_INFO_KIND, "veth");
	size_t data = netlink_nest(netlink, IFLA_INFO_DATA);
	size_t peer = netlink_nest(netlink, VETH_INFO_PEER);
	struct ifinfomsg header = {};
	netlink_put_raw(netlink, &header, sizeof(header));
	netlink_put_text(netlink, IFLA_IFNAME, veth->peer);
	put_mac(netlink, veth->peer_mac);
	netlink_put_u32(netlink, IFLA_MTU, mtu);
	if (veth->peer_netns >= 0)
		netlink_put_u32(netlink, IFLA_NET_NS_FD, (uint32_t)veth->peer_netns);
	netlink_nest_end(netlink, peer);
	netlink_nest_end(netlink, data);
	netlink_nest_end(netlink, info);
}

int link_add_veth(struct netlink *netlink, const struct link_veth *veth, struct error *e)
{
	uint32_t bridge = 0;
	int r = check_name(veth->name, e);
	if (r == 0)
		r = check_name(veth->peer, e);
	if (r == 0)
		r = bridge_index(netlink, veth->bridge, &bridge, e);
	if (r < 0)
		return r;
	netlink_begin(netlink);
	put_veth(netlink, veth);
	r = send_about(netlink, veth->name, "make interface", e);
	if (r < 0)
		return r;
	netlink_begin(netlink);
	put_join(netlink, veth->name, bridge, &veth->port);
	r = send_about(netlink, veth->name, "set up interface", e);
	if (r < 0)
		(void)!link_delete(netlink, veth->name, NULL);
	return r;
}

int link_add_macvlan(struct netlink *netlink, const char *name, const char *parent,
	const uint8_t *mac, uint32_t mtu, struct error *e)
{
	uint32_t index = 0;
	int r = check_name(name, e);
	if (r == 0)
		r = link_index(netlink, parent, &index, e);
	if (r < 0)
		return r;
	netlink_begin(netlink);
	link_message(netlink, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, name, 0, 0);
	netlink_put_u32(netlink, IFLA_LINK, index);
	put_mac(netlink, mac);
	if (mtu)
		netlink_put_u32(netlink, IFLA_MTU, mtu);
	size_t info = netlink_nest(netlink, IFLA_LINKINFO);
	netlink_put_text(netlink, IFLA_INFO_KIND, "macvlan");
	size_t data = netlink_nest(netlink, IFLA_INFO_DATA);
	netlink_put_u32(netlink, IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
	netlink_nest_end(netlink, data);
	netlink_nest_end(netlink, info);
	return send_about(netlink, name, "make interface", e);
}

static void close_all(const int *fds, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		close(fds[i]);
}

static int open_queue(const char *name, bool is_multi, int *ret, struct error *e)
{
	cleanup(close) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_errno(e, "open /dev/net/tun");
	struct ifreq request = {};
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (is_multi)
		request.ifr_flags |= IFF_MULTI_QUEUE;
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return error_errno(e, "make tap %s", name);
	int header = VIRTIO_NET_HEADER;
	if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0)
		return error_errno(e, "set the header size of tap %s", name);
	*ret = TAKE_FD(fd);
	return 0;
}

int link_open_tap(const char *name, uint32_t queues, int *ret, struct error *e)
{
	int r = check_name(name, e);
	if (r < 0)
		return r;
	/* The kernel would hand out a tap that is there already. It is made in the caller's namespace. */
	if (if_nametoindex(name) != 0)
		return error_set(e, -EEXIST, "make tap %s: it exists", name);
	for (uint32_t i = 0; i < queues; i++) {
		r = open_queue(name, queues > 1, &ret[i], e);
		if (r < 0) {
			close_all(ret, i);
			return r;
		}
	}
	return 0;
}

int link_join(struct netlink *netlink, const char *name, const char *bridge,
	const struct link_port *port, const uint8_t *mac, uint32_t mtu, uint32_t group,
	struct error *e)
{
	uint32_t index = 0;
	int r = check_name(name, e);
	if (r == 0)
		r = bridge_index(netlink, bridge, &index, e);
	if (r < 0)
		return r;
	netlink_begin(netlink);
	link_message(netlink, RTM_NEWLINK, 0, name, 0, 0);
	put_mac(netlink, mac);
	netlink_put_u32(netlink, IFLA_MTU, mtu ?: 1500);
	netlink_put_u32(netlink, IFLA_GROUP, group);
	put_join(netlink, name, index, port);
	return send_about(netlink, name, "set up interface", e);
}

int link_set_master(struct netlink *netlink, const char *name, const char *bridge, struct error *e)
{
	uint32_t index = 0;
	int r = check_name(name, e);
	if (r == 0)
		r = bridge_index(netlink, bridge, &index, e);
	if (r < 0)
		return r;
	netlink_begin(netlink);
	link_message(netlink, RTM_NEWLINK, 0, name, 0, 0);
	netlink_put_u32(netlink, IFLA_MASTER, index);
	return send_about(netlink, name, "set the bridge of interface", e);
}

int link_set_port(
	struct netlink *netlink, const char *name, const struct link_port *port, struct error *e)
{
	int r = check_name(name, e);
	if (r < 0)
		return r;
	netlink_begin(netlink);
	put_port(netlink, name, port);
	return send_about(netlink, name, "set up the bridge port", e);
}

int link_set_up(struct netlink *netlink, const char *name, bool is_up, struct error *e)
{
	int r = check_name(name, e);
	if (r < 0)
		return r;
	netlink_begin(netlink);
	link_message(netlink, RTM_NEWLINK, 0, name, is_up ? IFF_UP : 0, IFF_UP);
	return send_about(netlink, name, is_up ? "switch on interface" : "switch off interface", e);
}

int link_set_mtu(struct netlink *netlink, const char *name, uint32_t mtu, struct error *e)
{
	int r = check_name(name, e);
	if (r < 0)
		return r;
	netlink_begin(netlink);
	link_message(netlink, RTM_NEWLINK, 0, name, 0, 0);
	netlink_put_u32(netlink, IFLA_MTU, mtu);
	return send_about(netlink, name, "set the mtu of interface", e);
}

int link_set_mac(struct netlink *netlink, const char *name, const uint8_t *mac, struct error *e)
{
	int r = check_name(name, e);
	if (r < 0)
		return r;
	netlink_begin(netlink);
	link_message(netlink, RTM_NEWLINK, 0, name, 0, 0);
	put_mac(netlink, mac);
	return send_about(netlink, name, "set the address of interface", e);
}

/* A message about the interface with the name `name` that may give it another. */
static int start_by_index(
	struct netlink *netlink, const char *name, const char *new_name, struct error *e)
{
	uint32_t index = 0;
	int r = link_index(netlink, name, &index, e);
	if (r == 0 && new_name)
		r = check_name(new_name, e);
	if (r < 0)
		return r;
	struct ifinfomsg header = { .ifi_index = (int)index };
	netlink_begin(netlink);
	netlink_message(netlink, RTM_NEWLINK, 0, &header, sizeof(header));
	if (new_name)
		netlink_put_text(netlink, IFLA_IFNAME, new_name);
	return 0;
}

int link_rename(struct netlink *netlink, const char *name, const char *new_name, struct error *e)
{
	int r = start_by_index(netlink, name, new_name, e);
	if (r < 0)
		return r;
	return send_about(netlink, name, "rename interface", e);
}

int link_move(
	struct netlink *netlink, const char *name, int netns, const char *new_name, struct error *e)
{
	int r = start_by_index(netlink, name, new_name, e);
	if (r < 0)
		return r;
	netlink_put_u32(netlink, IFLA_NET_NS_FD, (uint32_t)netns);
	return send_about(netlink, name, "move interface", e);
}

int link_move_to_pid(
	struct netlink *netlink, const char *name, pid_t pid, const char *new_name, struct error *e)
{
	int r = start_by_index(netlink, name, new_name, e);
	if (r < 0)
		return r;
	netlink_put_u32(netlink, IFLA_NET_NS_PID, (uint32_t)pid);
	return send_about(netlink, name, "move interface", e);
}
