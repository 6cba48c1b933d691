/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_link.c - interfaces, addresses and routes, made and found again in a network of the test's own.
 */
#include "host/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>

#include "host/route.h"
#include "namespace.h"

static const uint8_t bridge_mac[MAC_SIZE] = { 0x00, 0x16, 0x3e, 1, 2, 3 };
static const uint8_t peer_mac[MAC_SIZE] = { 0x00, 0x16, 0x3e, 4, 5, 6 };

#define expect_done(call) \
	do { \
		struct error expect_error = {}; \
		struct error *why = &expect_error; \
		if ((call) < 0) \
			test_fail("%s: %s", #call, expect_error.text); \
	} while (0)

static struct netlink *open_route(void)
{
	struct netlink *netlink;
	enter_new_network();
	expect_done(netlink_open(NETLINK_ROUTE, &netlink, why));
	return netlink;
}

static void add_bridge(struct netlink *netlink)
{
	expect_done(link_add_bridge(
		netlink, &(struct link_bridge){ .name = "br0", .mac = bridge_mac }, why));
}

static void makes_a_bridge(void)
{
	cleanup(netlink_close) struct netlink *netlink = open_route();
	struct link_info link;
	struct error e = {};
	add_bridge(netlink);
	expect_done(link_get(netlink, "br0", &link, why));
	expect_text(link.kind, "bridge");
	expect(memcmp(link.mac, bridge_mac, MAC_SIZE) == 0);
	expect(!(link.flags & IFF_UP));
	expect_done(link_set_up(netlink, "br0", true, why));
	expect_done(link_set_mtu(netlink, "br0", 1400, why));
	expect_done(link_get(netlink, "br0", &link, why));
	expect(link.flags & IFF_UP);
	expect_equal(link.mtu, 1400);
	expect_equal(link_add_bridge(netlink,
			     &(struct link_bridge){ .name = "br0", .mac = bridge_mac }, &e),
		-EEXIST);
	expect_contains(e.text, "br0");
	expect_done(link_delete(netlink, "br0", why));
	expect_equal(link_get(netlink, "br0", &link, &e), -ENODEV);
	expect_equal(link_delete(netlink, "br0", &e), -ENODEV);
}

static void makes_a_veth_on_a_bridge(void)
{
	cleanup(netlink_close) struct netlink *netlink = open_route();
	struct link_info bridge, link;
	add_bridge(netlink);
	expect_done(link_add_veth(netlink,
		&(struct link_veth){ .name = "v1",
			.peer = "p1",
			.peer_netns = -1,
			.peer_mac = peer_mac,
			.mtu = 1450,
			.group = 77,
			.bridge = "br0",
			.port = { .is_isolated = true } },
		why));
	expect_done(link_get(netlink, "br0", &bridge, why));
	expect_done(link_get(netlink, "v1", &link, why));
	expect_equal(link.master, bridge.index);
	expect_equal(link.mtu, 1450);
	expect_equal(link.group, 77);
	expect(link.flags & IFF_UP);
	expect_text(link.kind, "veth");
	expect_done(link_get(netlink, "p1", &link, why));
	expect(memcmp(link.mac, peer_mac, MAC_SIZE) == 0);
	expect_equal(link.master, 0);
	expect(!(link.flags & IFF_UP));
	expect_done(link_rename(netlink, "p1", "eth0", why));
	expect_done(link_get(netlink, "eth0", &link, why));
	expect_done(link_set_master(netlink, "v1", NULL, why));
	expect_done(link_get(netlink, "v1", &link, why));
	expect_equal(link.master, 0);
	expect_done(link_delete(netlink, "v1", why));
	expect_equal(link_get(netlink, "eth0", &link, NULL), -ENODEV);
}

static void leaves_nothing_of_a_failed_veth(void)
{
	cleanup(netlink_close) struct netlink *netlink = open_route();
	struct link_info link;
	struct error e = {};
	struct link_veth veth = { .name = "v1", .peer = "p1", .peer_netns = -1, .bridge = "br0" };
	expect_equal(link_add_veth(netlink, &veth, &e), -ENODEV);
	expect_contains(e.text, "br0");
	expect_equal(link_get(netlink, "v1", &link, NULL), -ENODEV);
	veth.bridge = "lo";
	expect_equal(link_add_veth(netlink, &veth, &e), -EINVAL);
	expect_contains(e.text, "not a bridge");
	veth.bridge = NULL;
	veth.name = "a-name-of-16-chr";
	expect_equal(link_add_veth(netlink, &veth, &e), -EINVAL);
	veth.name = "";
	expect_equal(link_add_veth(netlink, &veth, &e), -EINVAL);
}

static int count_links(void *data, const struct link_info *link)
{
	*(int *)data += link->index > 0;
	return 0;
}

static void moves_between_namespaces(void)
{
	cleanup(netlink_close) struct netlink *there = open_route();
	cleanup(close) int netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	cleanup(netlink_close) struct netlink *here = open_route();
	struct link_info link;
	int count = 0;
	expect_done(link_add_veth(
		here, &(struct link_veth){ .name = "v1", .peer = "p1", .peer_netns = netns }, why));
	expect_done(link_get(there, "p1", &link, why));
	expect_equal(link_get(here, "p1", &link, NULL), -ENODEV);
	expect_done(link_set_up(here, "v1", false, why));
	expect_done(link_move(here, "v1", netns, "eth0", why));
	expect_done(link_get(there, "eth0", &link, why));
	expect_done(link_list(there, count_links, &count, why));
	expect(count >= 3);
	expect_done(link_move_to_pid(there, "eth0", getpid(), "back", why));
	expect_done(link_get(here, "back", &link, why));
}

static void opens_a_tap(void)
{
	cleanup(netlink_close) struct netlink *netlink = open_route();
	struct link_info link;
	struct error e = {};
	int fds[2];
	int r = link_open_tap("t1", 2, fds, &e);
	if (r == -ENOENT || r == -EACCES || r == -EPERM)
		test_skip("%.200s", e.text);
	expect_equal(r, 0);
	add_bridge(netlink);
	expect_done(link_join(netlink, "t1", "br0", &(struct link_port){}, peer_mac, 1400, 5, why));
	expect_done(link_get(netlink, "t1", &link, why));
	expect_text(link.kind, "tun");
	expect(link.master != 0);
	expect_equal(link.mtu, 1400);
	int again;
	expect_equal(link_open_tap("t1", 1, &again, &e), -EEXIST);
	close(fds[0]);
	expect_done(link_get(netlink, "t1", &link, why));
	close(fds[1]);
	expect_equal(link_get(netlink, "t1", &link, NULL), -ENODEV);
}

struct find {
	struct address address;
	int found;
};

static int find_address(void *data, int link, const struct address *address)
{
	struct find *find = data;
	if (address_compare(&find->address, address) == 0 &&
		address->prefix == find->address.prefix && link > 0)
		find->found++;
	return 0;
}

static void sets_addresses_and_routes(void)
{
	cleanup(netlink_close) struct netlink *netlink = open_route();
	struct address four, six, to, gateway;
	struct find find = {};
	add_bridge(netlink);
	expect_done(link_set_up(netlink, "br0", true, why));
	expect_equal(address_parse_cidr("10.9.8.1/24", &four), 0);
	expect_equal(address_parse_cidr("fd00:1:2:3::1/64", &six), 0);
	expect_done(route_add_address(netlink, "br0", &four, why));
	expect_done(route_add_address(netlink, "br0", &four, why));
	expect_done(route_add_address(netlink, "br0", &six, why));
	find.address = four;
	expect_done(route_list_addresses(netlink, "br0", find_address, &find, why));
	find.address = six;
	expect_done(route_list_addresses(netlink, NULL, find_address, &find, why));
	expect_equal(find.found, 2);

	expect_equal(address_parse_cidr("0.0.0.0/0", &to), 0);
	expect_equal(address_parse("10.9.8.254", &gateway), 0);
	expect_done(route_add(netlink, "br0", &to, &gateway, why));
	expect_equal(address_parse_cidr("fd00:99::/32", &to), 0);
	expect_equal(address_parse("fd00:1:2:3::9", &gateway), 0);
	expect_done(route_add(netlink, "br0", &to, &gateway, why));
	expect_equal(address_parse("10.9.8.7", &gateway), 0);
	expect_done(route_add_neighbour(netlink, "br0", &gateway, peer_mac, why));
	find = (struct find){ .address = to };
	expect_done(route_list(netlink, find_address, &find, why));
	expect_equal(address_parse_cidr("10.9.8.0/24", &find.address), 0);
	expect_done(route_list(netlink, find_address, &find, why));
	expect_equal(find.found, 2);

	expect_done(route_delete_address(netlink, "br0", &four, why));
	struct error e = {};
	expect_equal(route_delete_address(netlink, "br0", &four, &e), -EADDRNOTAVAIL);
	expect_contains(e.text, "10.9.8.1/24");
}

static const struct test tests[] = {
	{ "a bridge is made, set up, found and deleted", makes_a_bridge },
	{ "a veth pair is a port of its bridge from the start", makes_a_veth_on_a_bridge },
	{ "a veth pair that cannot join its bridge is not left over",
		leaves_nothing_of_a_failed_veth },
	{ "interfaces move between namespaces", moves_between_namespaces },
	{ "a tap with two queues lives as long as they are open", opens_a_tap },
	{ "addresses, routes and neighbours are set and listed", sets_addresses_and_routes },
};
TEST_MAIN(tests)
