/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_shape.c - limits are set, changed, taken away and cleared. That they hold is measured by
 * tests/integration.
 */
#include "host/shape.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include "host/nic.h"
#include "namespace.h"

static const uint8_t mac[MAC_SIZE] = { 0x00, 0x16, 0x3e, 1, 2, 3 };

#define expect_done(call) \
	do { \
		struct error expect_error = {}; \
		struct error *why = &expect_error; \
		if ((call) < 0) \
			test_fail("%s: %s", #call, expect_error.text); \
	} while (0)

struct count {
	uint32_t link;
	uint16_t type;
	int found;
};

static int count_one(void *data, uint16_t type, const void *message, size_t length)
{
	struct count *count = data;
	const struct tcmsg *header = message;
	if (type == count->type && length >= sizeof(*header) &&
		(uint32_t)header->tcm_ifindex == count->link && header->tcm_parent != 0)
		count->found++;
	return 0;
}

/* Disciplines (RTM_GETQDISC) or classes (RTM_GETTCLASS) of an interface. */
static int count(struct netlink *netlink, const char *link, uint16_t get)
{
	struct count found = { .type = (uint16_t)(get - 2) };
	expect_done(link_index(netlink, link, &found.link, why));
	struct tcmsg header = { .tcm_ifindex = (int)found.link };
	netlink_begin(netlink);
	netlink_message(netlink, get, NLM_F_DUMP, &header, sizeof(header));
	expect_done(netlink_get(netlink, count_one, &found, why));
	return found.found;
}

static struct netlink *start(void)
{
	struct netlink *netlink;
	struct error e = {};
	enter_new_network();
	expect_done(netlink_open(NETLINK_ROUTE, &netlink, why));
	int r = shape_add_shaper(netlink, "shaper", &e);
	if (r == -EPERM || r == -EOPNOTSUPP || r == -ENOENT)
		test_skip("%.200s", e.text);
	expect_equal(r, 0);
	expect_done(shape_add_shaper(netlink, "shaper", why));
	return netlink;
}

static void add_pair(struct netlink *netlink, const char *name)
{
	char peer[LINK_NAME_SIZE];
	snprintf(peer, sizeof(peer), "p%.10s", name);
	expect_done(link_add_veth(
		netlink, &(struct link_veth){ .name = name, .peer = peer, .peer_netns = -1 }, why));
}

static void sets_and_takes_away(void)
{
	cleanup(netlink_close) struct netlink *netlink = start();
	struct shape_rates rates = { 10000000, 20000000 };
	add_pair(netlink, "v1");
	int before = count(netlink, "v1", RTM_GETQDISC);
	for (int i = 0; i < 3; i++) {
		expect_done(shape_set(netlink, "v1", "shaper", &rates, why));
		expect_equal(count(netlink, "v1", RTM_GETQDISC), before + 1);
		expect_equal(count(netlink, "shaper", RTM_GETTCLASS), 1);
		rates.into_bits *= 100;
		rates.out_of_bits *= 100;
	}
	rates = (struct shape_rates){};
	expect_done(shape_set(netlink, "v1", "shaper", &rates, why));
	expect_done(shape_set(netlink, "v1", "shaper", &rates, why));
	expect_equal(count(netlink, "v1", RTM_GETQDISC), before);
	expect_equal(count(netlink, "shaper", RTM_GETTCLASS), 0);
	rates.out_of_bits = 20000000;
	expect_done(shape_set(netlink, "v1", "shaper", &rates, why));
	expect_equal(count(netlink, "v1", RTM_GETQDISC), before + 1);
	expect_equal(count(netlink, "shaper", RTM_GETTCLASS), 1);
}

static void refuses_wrong_rates(void)
{
	cleanup(netlink_close) struct netlink *netlink = start();
	struct error e = {};
	add_pair(netlink, "v1");
	expect_equal(
		shape_set(netlink, "v1", "shaper", &(struct shape_rates){ 7999, 0 }, &e), -EINVAL);
	expect_equal(shape_set(netlink, "v1", "shaper",
			     &(struct shape_rates){ 0, SHAPE_BITS_MAX + 1 }, &e),
		-EINVAL);
	expect_equal(shape_set(netlink, "nobody", "shaper", &(struct shape_rates){ 8000, 0 }, &e),
		-ENODEV);
	expect_contains(e.text, "nobody");
	expect_equal(
		shape_set(netlink, "v1", "nobody", &(struct shape_rates){ 0, 8000 }, &e), -ENODEV);
	expect_done(shape_set(netlink, "v1", NULL, &(struct shape_rates){ 8000, 0 }, why));
	expect_done(shape_set(netlink, "v1", "shaper",
		&(struct shape_rates){ SHAPE_BITS_MAX, SHAPE_BITS_MAX }, why));
}

static void clears_what_is_gone(void)
{
	cleanup(netlink_close) struct netlink *netlink = start();
	struct shape_rates rates = { 0, 20000000 };
	char name[LINK_NAME_SIZE];
	for (int i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "v%d", i);
		add_pair(netlink, name);
		expect_done(shape_set(netlink, name, "shaper", &rates, why));
	}
	expect_done(shape_sweep(netlink, "shaper", why));
	expect_equal(count(netlink, "shaper", RTM_GETTCLASS), 6);
	expect_done(link_delete(netlink, "v2", why));
	expect_done(link_delete(netlink, "v4", why));
	expect_done(shape_sweep(netlink, "shaper", why));
	expect_equal(count(netlink, "shaper", RTM_GETTCLASS), 4);
	expect_done(shape_sweep(netlink, "nobody", why));
}

static void makes_a_whole_card(void)
{
	cleanup(netlink_close) struct netlink *there = start();
	cleanup(close) int netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	cleanup(netlink_close) struct netlink *netlink = start();
	struct link_info link;
	struct nic nic = {
		.host = "v1",
		.bridge = "br0",
		.shaper = "shaper",
		.mac = mac,
		.rates = { 10000000, 20000000 },
	};
	expect_equal(nic_make_veth(netlink, &nic, netns, "eth0", NULL), -ENODEV);
	expect_done(
		link_add_bridge(netlink, &(struct link_bridge){ .name = "br0", .mac = mac }, why));
	nic.rates.into_bits = 1;
	expect_equal(nic_make_veth(netlink, &nic, netns, "eth0", NULL), -EINVAL);
	expect_equal(link_get(netlink, "v1", &link, NULL), -ENODEV);
	nic.rates.into_bits = 0;
	expect_done(nic_make_veth(netlink, &nic, netns, "eth0", why));
	expect_done(link_get(there, "eth0", &link, why));
	expect(memcmp(link.mac, mac, MAC_SIZE) == 0);
	expect_done(link_get(netlink, "v1", &link, why));
	expect_equal(link.mac[0], 0xfe);
	expect_equal(count(netlink, "shaper", RTM_GETTCLASS), 1);
	cleanup(netlink_close) struct netlink *entered = NULL;
	expect_done(netlink_open_in(netns, NETLINK_ROUTE, &entered, why));
	expect_done(link_get(entered, "eth0", &link, why));
	expect_done(link_set_up(entered, "eth0", true, why));
}

static const struct test tests[] = {
	{ "limits are set, changed and taken away", sets_and_takes_away },
	{ "a limit that can't be is refused", refuses_wrong_rates },
	{ "limits of interfaces that are gone are cleared", clears_what_is_gone },
	{ "a card is made with all that hangs on it, or not at all", makes_a_whole_card },
};
TEST_MAIN(tests)
