/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nic.c - makes the host's end of an instance's network card and what it hangs on.
 */
#include "host/nic.h"

#include <string.h>

/* A bridge's ports need addresses of their own; a locally administered one that tells whose it is. */
static void mac_of_host_end(const uint8_t mac[MAC_SIZE], uint8_t ret[MAC_SIZE])
{
	memcpy(ret, mac, MAC_SIZE);
	ret[0] = 0xfe;
}

static int limit(struct netlink *netlink, const struct nic *nic, struct error *e)
{
	if (nic->rates.into_bits == 0 && nic->rates.out_of_bits == 0)
		return 0;
	return shape_set(netlink, nic->host, nic->shaper, &nic->rates, e);
}

int nic_make_veth(struct netlink *netlink, const struct nic *nic, int netns, const char *name,
	struct error *e)
{
	uint8_t mac[MAC_SIZE];
	mac_of_host_end(nic->mac, mac);
	struct link_veth veth = {
		.name = nic->host,
		.peer = name,
		.peer_netns = netns,
		.mac = mac,
		.peer_mac = nic->mac,
		.mtu = nic->mtu,
		.bridge = nic->bridge,
		.port = { .is_isolated = nic->is_isolated },
	};
	int r = link_add_veth(netlink, &veth, e);
	if (r < 0)
		return r;
	r = limit(netlink, nic, e);
	if (r < 0)
		(void)!link_delete(netlink, nic->host, NULL);
	return r;
}

int nic_make_tap(
	struct netlink *netlink, const struct nic *nic, uint32_t queues, int *ret, struct error *e)
{
	uint8_t mac[MAC_SIZE];
	mac_of_host_end(nic->mac, mac);
	int r = link_open_tap(nic->host, queues, ret, e);
	if (r < 0)
		return r;
	struct link_port port = { .is_isolated = nic->is_isolated };
	r = link_join(netlink, nic->host, nic->bridge, &port, mac, nic->mtu, 0, e);
	if (r == 0)
		r = limit(netlink, nic, e);
	for (uint32_t i = 0; r < 0 && i < queues; i++)
		close(ret[i]);
	return r;
}
