/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_netlink.c - what does not fit never reaches the kernel, and a wrong length is never followed.
 */
#include "host/netlink.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "namespace.h"

static struct netlink *open_route(void)
{
	struct netlink *netlink;
	struct error e = {};
	if (netlink_open(NETLINK_ROUTE, &netlink, &e) < 0)
		test_fail("%s", e.text);
	return netlink;
}

static void refuses_a_long_request(void)
{
	static const uint8_t block[4096];
	cleanup(netlink_close) struct netlink *netlink = open_route();
	struct ifinfomsg header = {};
	struct error e = {};
	netlink_begin(netlink);
	netlink_message(netlink, RTM_NEWLINK, 0, &header, sizeof(header));
	size_t nest = netlink_nest(netlink, IFLA_LINKINFO);
	for (int i = 0; i < 10; i++)
		netlink_put(netlink, IFLA_IFALIAS, block, sizeof(block));
	netlink_nest_end(netlink, nest);
	expect_equal(netlink_room(netlink), 0);
	expect_equal(netlink_send(netlink, &e), -E2BIG);
	expect_contains(e.text, "too long");
}

static void refuses_a_long_attribute(void)
{
	static const uint8_t block[70000];
	cleanup(netlink_close) struct netlink *netlink = open_route();
	struct ifinfomsg header = {};
	netlink_begin(netlink);
	netlink_message(netlink, RTM_NEWLINK, 0, &header, sizeof(header));
	/* 65540 in 16 bits would be 4. */
	netlink_put(netlink, IFLA_IFALIAS, block, 65536);
	expect_equal(netlink_send(netlink, NULL), -E2BIG);
	netlink_begin(netlink);
	netlink_put(netlink, IFLA_IFALIAS, block, SIZE_MAX - 2);
	expect_equal(netlink_send(netlink, NULL), -E2BIG);
}

static void refuses_too_many_messages(void)
{
	cleanup(netlink_close) struct netlink *netlink = open_route();
	struct nlmsghdr none = {};
	netlink_begin(netlink);
	for (int i = 0; i <= NETLINK_MESSAGES_MAX; i++)
		netlink_message_unanswered(netlink, NLMSG_NOOP, &none, 0);
	expect_equal(netlink_send(netlink, NULL), -E2BIG);
}

static void takes_up_after_a_refusal(void)
{
	enter_new_network();
	cleanup(netlink_close) struct netlink *netlink = open_route();
	struct ifinfomsg header = { .ifi_index = 12345 };
	struct error e = {};
	netlink_begin(netlink);
	netlink_message(netlink, RTM_DELLINK, 0, &header, sizeof(header));
	expect_equal(netlink_send(netlink, &e), -ENODEV);
	expect_contains(e.text, "No such device");
	header.ifi_index = 1;
	header.ifi_flags = header.ifi_change = IFF_UP;
	netlink_begin(netlink);
	netlink_message(netlink, RTM_NEWLINK, 0, &header, sizeof(header));
	netlink_message(netlink, RTM_NEWLINK, 0, &header, sizeof(header));
	expect_equal(netlink_send(netlink, &e), 0);
}

static void reports_the_kernels_sentence(void)
{
	enter_new_network();
	cleanup(netlink_close) struct netlink *netlink = open_route();
	struct ifinfomsg header = {};
	struct error e = {};
	netlink_begin(netlink);
	netlink_message(netlink, RTM_NEWLINK, NLM_F_CREATE, &header, sizeof(header));
	size_t info = netlink_nest(netlink, IFLA_LINKINFO);
	netlink_put_text(netlink, IFLA_INFO_KIND, "nosuchkind");
	netlink_nest_end(netlink, info);
	expect_equal(netlink_send(netlink, &e), -EOPNOTSUPP);
	expect_contains(e.text, "Unknown device type");
}

static void parses_attributes(void)
{
	struct {
		struct nlattr first;
		uint32_t number;
		struct nlattr second;
		char text[4];
	} bytes = { { 8, 1 }, 7, { 7, 2 | NLA_F_NESTED }, "abc" };
	const struct nlattr *attributes[3];
	char text[8];
	expect_equal(netlink_attributes(&bytes, sizeof(bytes), attributes, 3), 0);
	expect_equal(netlink_u32(attributes[1], 0), 7);
	netlink_text(attributes[2], text, sizeof(text));
	expect_text(text, "abc");
	netlink_text(attributes[2], text, 3);
	expect_text(text, "ab");
	expect(!attributes[0]);
	expect_equal(netlink_u32(attributes[0], 9), 9);
	expect_equal(netlink_u32(attributes[2], 9), 9);
	expect(!netlink_data(attributes[1], 5));
}

static void refuses_wrong_lengths(void)
{
	struct nlattr attribute = { 5, 1 };
	const struct nlattr *attributes[3];
	expect_equal(netlink_attributes(&attribute, 4, attributes, 3), -EBADMSG);
	attribute.nla_len = 3;
	expect_equal(netlink_attributes(&attribute, 4, attributes, 3), -EBADMSG);
	attribute.nla_len = 0;
	expect_equal(netlink_attributes(&attribute, 4, attributes, 3), -EBADMSG);
	attribute.nla_len = 4;
	attribute.nla_type = 3;
	expect_equal(netlink_attributes(&attribute, 4, attributes, 3), 0);
	expect(!attributes[0] && !attributes[1] && !attributes[2]);
	expect_equal(netlink_attributes(&attribute, 3, attributes, 3), 0);
}

static const struct test tests[] = {
	{ "a request that is too long is refused and not sent", refuses_a_long_request },
	{ "an attribute longer than 16 bits can say is refused", refuses_a_long_attribute },
	{ "more messages than can be acknowledged are refused", refuses_too_many_messages },
	{ "after a refused request the next one works", takes_up_after_a_refusal },
	{ "an error carries the kernel's own words", reports_the_kernels_sentence },
	{ "attributes are found by type", parses_attributes },
	{ "an attribute with a wrong length is refused", refuses_wrong_lengths },
};
TEST_MAIN(tests)
