/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nics.c - a container's ends of its network cards.
 */
#include "container/nics.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/text.h"
#include "host/link.h"
#include "host/nic.h"
#include "host/route.h"

/* Makes the pair with this end already there: to move it would take 16 to 20 ms. */
static int make(
	struct netlink *netlink, const struct container_nic *nic, int netns, struct error *e)
{
	uint8_t mac[MAC_SIZE];
	if (mac_parse(nic->mac, mac) < 0)
		return error_set(e, -EINVAL, "mac %s: no address", nic->mac);
	struct nic pair = {
		.host = nic->host.name,
		.bridge = nic->host.bridge,
		.shaper = nic->host.shaper,
		.mac = mac,
		.mtu = nic->mtu,
		.is_isolated = nic->host.is_isolated,
		.rates = { nic->host.into_bits, nic->host.out_of_bits },
	};
	return nic_make_veth(netlink, &pair, netns, nic->name, e);
}

int nics_move(const struct container *container, pid_t pid, struct error *e)
{
	if (container->nic_count == 0)
		return 0;
	char path[32];
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	cleanup(close) int netns = open(path, O_RDONLY | O_CLOEXEC);
	if (netns < 0)
		return error_errno(e, "open %s", path);
	cleanup(netlink_close) struct netlink *netlink = NULL;
	int r = netlink_open(NETLINK_ROUTE, &netlink, e);
	for (size_t i = 0; r == 0 && i < container->nic_count; i++) {
		const struct container_nic *nic = &container->nics[i];
		r = nic->link ? link_move(netlink, nic->link, netns, nic->name, e)
			      : make(netlink, nic, netns, e);
		if (r < 0)
			return error_prefix(e, r, "nic %s", nic->name);
	}
	return r;
}

static int raise_loopback(struct error *e)
{
	cleanup(close) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return error_errno(e, "raise lo");
	return 0;
}

static int add_gateway(struct netlink *netlink, const char *link, const char *text, struct error *e)
{
	struct address gateway;
	if (address_parse(text, &gateway) < 0)
		return error_set(e, -EINVAL, "gateway %s: no address", text);
	struct address all = { .family = gateway.family };
	return route_add(netlink, link, &all, &gateway, e);
}

static int configure(struct netlink *netlink, const struct container_nic *nic, struct error *e)
{
	uint8_t mac[MAC_SIZE];
	int r = 0;
	if (nic->link && nic->mac) {
		if (mac_parse(nic->mac, mac) < 0)
			return error_set(e, -EINVAL, "mac %s: no address", nic->mac);
		r = link_set_mac(netlink, nic->name, mac, e);
	}
	if (r == 0 && nic->link && nic->mtu)
		r = link_set_mtu(netlink, nic->name, nic->mtu, e);
	if (r == 0)
		r = link_set_up(netlink, nic->name, true, e);
	for (size_t i = 0; r == 0 && i < json_array_size(nic->addresses); i++) {
		const char *text = json_string_value(json_array_get(nic->addresses, i));
		struct address address;
		if (address_parse_cidr(text, &address) < 0)
			return error_set(e, -EINVAL, "address %s: ADDRESS/PREFIX is wanted", text);
		r = route_add_address(netlink, nic->name, &address, e);
	}
	for (size_t i = 0; r == 0 && i < json_array_size(nic->gateways); i++)
		r = add_gateway(
			netlink, nic->name, json_string_value(json_array_get(nic->gateways, i)), e);
	return r;
}

int nics_configure(const struct container *container, struct error *e)
{
	int r = raise_loopback(e);
	if (r < 0 || container->nic_count == 0)
		return r;
	cleanup(netlink_close) struct netlink *netlink = NULL;
	r = netlink_open(NETLINK_ROUTE, &netlink, e);
	for (size_t i = 0; r == 0 && i < container->nic_count; i++) {
		r = configure(netlink, &container->nics[i], e);
		if (r < 0)
			return error_prefix(e, r, "nic %s", container->nics[i].name);
	}
	return r;
}
