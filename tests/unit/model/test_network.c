/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_network.c - what networks and forwards can be asked to be, each refusal by its field, and how
 * addresses are chosen.
 */
#include "model/network.h"

#include <arpa/inet.h>
#include <errno.h>

#include "model/json.h"
#include "test.h"

static json_t *json(const char *text)
{
	json_t *read;
	struct error e = {};
	if (json_parse(text, strlen(text), &read, &e) < 0)
		test_fail("%s: %s", text, e.text);
	return read;
}

static struct network_config config(const char *text)
{
	static json_t *kept; /* the config borrows from it */
	struct network_config read;
	struct error e = {};
	json_decref(kept);
	kept = json(text);
	if (network_config_read(kept, &read, &e) < 0)
		test_fail("%s: %s", text, e.text);
	return read;
}

static void has_defaults(void)
{
	struct network_config read = config("{}");
	expect(read.ipv4.is_auto && read.ipv6.is_auto);
	expect(read.ipv4.nat && read.ipv6.nat);
	expect(read.ipv4.dhcp && read.ipv6.dhcp && read.ipv6.is_stateful);
	expect(read.ipv4.firewall && read.ipv4.routing);
	expect_text(read.domain, "berth");
	expect_equal(read.dns, NETWORK_DNS_MANAGED);
	expect_equal(read.mtu, 0);
	expect_equal(network_config_read(NULL, &read, NULL), 0);
}

static void reads_all_keys(void)
{
	char text[ADDRESS_TEXT];
	struct network_config read =
		config("{\"ipv4.address\":\"10.5.0.1/24\",\"ipv4.nat\":\"yes\","
		       "\"ipv4.nat.address\":\"192.0.2.1\","
		       "\"ipv4.dhcp.ranges\":\"10.5.0.9-10.5.0.19,10.5.0.50-10.5.0.60\","
		       "\"ipv4.dhcp.gateway\":\"10.5.0.2\",\"ipv4.dhcp.expiry\":\"2h\","
		       "\"ipv6.address\":\"fd42::1/64\",\"ipv6.dhcp.stateful\":\"false\","
		       "\"ipv6.routing\":\"false\",\"dns.mode\":\"dynamic\","
		       "\"dns.domain\":\"a.b-c.test\",\"dns.search\":\"x.test, y.test\","
		       "\"bridge.mtu\":\"1400\",\"bridge.hwaddr\":\"00:16:3e:01:02:03\","
		       "\"bridge.external_interfaces\":\"eth7, eth8\","
		       "\"user.note\":\"anything\"}");
	expect_text(address_format_cidr(&read.ipv4.address, text), "10.5.0.1/24");
	expect_equal(read.ipv4.range_count, 2);
	expect(read.ipv4.nat && !read.ipv6.nat && !read.ipv6.is_stateful && !read.ipv6.routing);
	expect_text(read.ipv4.dhcp_expiry, "2h");
	expect_equal(read.dns, NETWORK_DNS_DYNAMIC);
	expect_text(read.search, "x.test, y.test");
	expect_equal(read.interface_count, 2);
	expect_text(read.interfaces[1], "eth8");
	expect(read.is_mac_set);
	network_config_done(&read);
	read = config("{\"ipv4.address\":\"none\",\"ipv6.address\":\"auto\"}");
	expect(!read.ipv4.is_auto && !read.ipv4.address.family && read.ipv6.is_auto);
}

static void refuses_wrong_config(void)
{
	static const char *const wrong[][2] = {
		{ "config.ipv4.address: ", "{\"ipv4.address\":\"10.5.0.1\"}" },
		{ "config.ipv4.address: ", "{\"ipv4.address\":\"10.5.0.0/24\"}" },
		{ "config.ipv4.address: ", "{\"ipv4.address\":\"10.5.0.255/24\"}" },
		{ "config.ipv4.address: ", "{\"ipv4.address\":\"10.5.0.1/31\"}" },
		{ "config.ipv4.address: ", "{\"ipv4.address\":\"127.0.0.1/24\"}" },
		{ "config.ipv4.address: ", "{\"ipv4.address\":\"224.0.0.1/24\"}" },
		{ "config.ipv4.address: ", "{\"ipv4.address\":\"fd42::1/64\"}" },
		{ "config.ipv6.address: ", "{\"ipv6.address\":\"fd42::/64\"}" },
		{ "config.ipv6.address: ", "{\"ipv6.address\":\"ff02::1/64\"}" },
		{ "config.ipv6.address: ",
			"{\"ipv6.address\":\"fd42::1/80\",\"ipv6.dhcp.stateful\":\"false\"}" },
		{ "config.ipv4.nat: ", "{\"ipv4.nat\":\"maybe\"}" },
		{ "config.ipv4.nat.address: ", "{\"ipv4.nat.address\":\"fd42::1\"}" },
		{ "config.ipv4.nat.address: ",
			"{\"ipv4.address\":\"10.5.0.1/24\",\"ipv4.nat.address\":\"192.0.2.1\"}" },
		{ "config.ipv4.dhcp.ranges: ", "{\"ipv4.dhcp.ranges\":\"10.5.0.1-10.5.0.3\"}" },
		{ "config.ipv4.dhcp.ranges: ",
			"{\"ipv4.address\":\"10.5.0.1/24\",\"ipv4.dhcp.ranges\":\"10.5.0.9\"}" },
		{ "config.ipv4.dhcp.ranges: ",
			"{\"ipv4.address\":\"10.5.0.1/24\",\"ipv4.dhcp.ranges\":\"10.5.0.9-10.5.1.9\"}" },
		{ "config.ipv4.dhcp.gateway: ",
			"{\"ipv4.address\":\"10.5.0.1/24\",\"ipv4.dhcp.gateway\":\"10.6.0.1\"}" },
		{ "config.ipv4.dhcp.expiry: ", "{\"ipv4.dhcp.expiry\":\"1y\"}" },
		{ "config.ipv4.dhcp.expiry: ", "{\"ipv4.dhcp.expiry\":\"1h,ignore\"}" },
		{ "config.dns.mode: ", "{\"dns.mode\":\"x\"}" },
		{ "config.dns.domain: ", "{\"dns.domain\":\"a..b\"}" },
		{ "config.dns.domain: ", "{\"dns.domain\":\"-a\"}" },
		{ "config.dns.domain: ", "{\"dns.domain\":\"a\\nb\"}" },
		{ "config.dns.domain: ", "{\"dns.domain\":\"a,b\"}" },
		{ "config.dns.search: ", "{\"dns.search\":\"a,,b\"}" },
		{ "config.bridge.mtu: ", "{\"bridge.mtu\":\"575\",\"ipv6.address\":\"none\"}" },
		{ "config.bridge.mtu: ", "{\"bridge.mtu\":\"1279\"}" },
		{ "config.bridge.mtu: ", "{\"bridge.mtu\":\"65536\"}" },
		{ "config.bridge.hwaddr: ", "{\"bridge.hwaddr\":\"01:00:00:00:00:01\"}" },
		{ "config.bridge.driver: ", "{\"bridge.driver\":\"openvswitch\"}" },
		{ "config.bridge.external_interfaces: ",
			"{\"bridge.external_interfaces\":\"a/b\"}" },
		{ "config.bridge.external_interfaces: ",
			"{\"bridge.external_interfaces\":\"sixteen-letters-\"}" },
		{ "config.raw.dnsmasq: ", "{\"raw.dnsmasq\":\"x\"}" },
		{ "config.security.acls: ", "{\"security.acls\":\"x\"}" },
		{ "config.unknown: ", "{\"unknown\":\"x\"}" },
		{ "config.ipv4.nat: ", "{\"ipv4.nat\":true}" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		cleanup(json_decref) json_t *read = json(wrong[i][1]);
		struct network_config unused;
		struct error e = {};
		if (network_config_read(read, &unused, &e) != -EINVAL)
			test_fail("%s is taken", wrong[i][1]);
		if (strncmp(e.text, wrong[i][0], strlen(wrong[i][0])) != 0)
			test_fail("%s: \"%s\"", wrong[i][1], e.text);
	}
}

static void checks_names(void)
{
	static const char *const wrong[] = { "", "-a", ".", "..", ".a", "a/b", "a b", "a\n", "é",
		"0123456789012345678901234567890123456789012345678901234567890123" };
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		expect_equal(network_check_name(wrong[i], NULL), -EINVAL);
	expect_equal(network_check_name("net-1.a_b", NULL), 0);
}

struct taken {
	struct address addresses[4];
	size_t count;
	size_t asked;
};

static bool is_taken(void *data, const struct address *address)
{
	struct taken *taken = data;
	taken->asked++;
	for (size_t i = 0; i < taken->count; i++)
		if (address_overlaps(&taken->addresses[i], address))
			return true;
	return false;
}

static bool is_address_taken(void *data, const struct address *candidate)
{
	struct address one = *candidate;
	one.prefix = (uint8_t)address_bits(candidate);
	return is_taken(data, &one);
}

static struct address address(const char *text)
{
	struct address read;
	if (address_parse_cidr(text, &read) < 0)
		test_fail("%s is refused", text);
	return read;
}

static void chooses_networks(void)
{
	char text[ADDRESS_TEXT];
	struct taken taken = {};
	struct address chosen, again;
	expect(network_choose(AF_INET, 0x0203, is_taken, &taken, &chosen));
	expect_text(address_format_cidr(&chosen, text), "10.3.3.1/24");
	taken.addresses[0] = chosen;
	taken.count = 1;
	expect(network_choose(AF_INET, 0x0203, is_taken, &taken, &again));
	expect_text(address_format_cidr(&again, text), "10.3.4.1/24");
	taken.addresses[0] = address("0.0.0.0/0");
	expect(!network_choose(AF_INET, 1, is_taken, &taken, &again));
	taken.count = 0;
	expect(network_choose(AF_INET6, UINT64_C(0x123456789abc), is_taken, &taken, &chosen));
	expect_text(address_format_cidr(&chosen, text), "fd42:1234:5678:9abc::1/64");
}

static void chooses_addresses(void)
{
	char text[ADDRESS_TEXT];
	struct taken taken = {};
	struct address chosen;
	struct network_family family = { .address = address("10.5.0.1/29") };
	/* .0 is the network's, .1 the bridge's. */
	expect(network_choose_address(&family, 8, is_address_taken, &taken, &chosen));
	expect_text(address_format_cidr(&chosen, text), "10.5.0.2/29");
	expect(network_choose_address(&family, 6, is_address_taken, &taken, &chosen));
	expect_text(address_format_cidr(&chosen, text), "10.5.0.6/29");
	/* .7 is its broadcast. */
	expect(network_choose_address(&family, 7, is_address_taken, &taken, &chosen));
	expect_text(address_format_cidr(&chosen, text), "10.5.0.2/29");
	expect_equal(
		address_ranges_parse("10.5.0.3-10.5.0.3,10.5.0.5-10.5.0.5", family.ranges, 16), 2);
	family.range_count = 2;
	expect(network_choose_address(&family, 1, is_address_taken, &taken, &chosen));
	expect_text(address_format_cidr(&chosen, text), "10.5.0.5/29");
	taken.addresses[0] = address("10.5.0.5/32");
	taken.count = 1;
	expect(network_choose_address(&family, 1, is_address_taken, &taken, &chosen));
	expect_text(address_format_cidr(&chosen, text), "10.5.0.3/29");
	taken.addresses[1] = address("10.5.0.3/32");
	taken.count = 2;
	expect(!network_choose_address(&family, 1, is_address_taken, &taken, &chosen));
	struct network_family six = { .address = address("fd42::1/64") };
	expect(network_choose_address(&six, UINT64_MAX, is_taken, &taken, &chosen));
	expect(address_is_in(&chosen, &six.address));
}

static void full_networks_end(void)
{
	struct taken all = { .addresses = { address("0.0.0.0/0") }, .count = 1 };
	struct address chosen;
	struct network_family family = { .address = address("10.0.0.1/8") };
	expect(!network_choose_address(&family, 5, is_taken, &all, &chosen));
	expect(all.asked <= 65536);
}

static int read_forward(const char *text, struct network_forward *ret, struct error *e)
{
	struct network_config on =
		config("{\"ipv4.address\":\"10.5.0.1/24\",\"ipv6.address\":\"fd42::1/64\"}");
	cleanup(json_decref) json_t *read = json(text);
	return network_forward_read(read, &on, ret, e);
}

static void reads_forwards(void)
{
	char text[ADDRESS_TEXT];
	cleanup(network_forward_done) struct network_forward forward = {};
	expect_equal(
		read_forward(
			"{\"listen_address\":\"192.0.2.1\",\"ports\":["
			"{\"protocol\":\"tcp\",\"listen_port\":\"80,90-92\",\"target_port\":\"8080\",\"target_address\":\"10.5.0.9\"},"
			"{\"protocol\":\"udp\",\"listen_port\":\"80-81\",\"target_port\":\"53,55\",\"target_address\":\"10.5.0.9\"},"
			"{\"protocol\":\"tcp\",\"listen_port\":\"22\",\"target_address\":\"10.5.0.8\"}],"
			"\"config\":{\"target_address\":\"10.5.0.7\",\"user.x\":\"y\"}}",
			&forward, NULL),
		0);
	expect_equal(forward.count, 8);
	expect_equal(forward.ports[3].listen, 92);
	expect_equal(forward.ports[3].target, 8080);
	expect_equal(forward.ports[5].listen, 81);
	expect_equal(forward.ports[5].target, 55);
	expect_equal(forward.ports[6].target, 22);
	expect_equal(forward.ports[7].protocol, 0);
	expect_text(address_format(&forward.ports[7].to, text), "10.5.0.7");
}

static void refuses_wrong_forwards(void)
{
#define PORT(more) "{\"listen_address\":\"192.0.2.1\",\"ports\":[{\"protocol\":\"tcp\"," more "}]}"
	static const char *const wrong[][2] = {
		{ "listen_address: ", "{}" },
		{ "listen_address: ", "{\"listen_address\":\"here\"}" },
		{ "listen_address: ", "{\"listen_address\":\"10.0.0.0/8\"}" },
		{ "config.x: ", "{\"listen_address\":\"192.0.2.1\",\"config\":{\"x\":\"\"}}" },
		{ "config.target_address: ",
			"{\"listen_address\":\"192.0.2.1\",\"config\":{\"target_address\":\"fd42::2\"}}" },
		{ "config.target_address: ",
			"{\"listen_address\":\"192.0.2.1\",\"config\":{\"target_address\":\"10.5.0.1\"}}" },
		{ "ports: ", "{\"listen_address\":\"192.0.2.1\",\"ports\":{}}" },
		{ "ports.0: ", "{\"listen_address\":\"192.0.2.1\",\"ports\":[1]}" },
		{ "ports.0.listen_port: ",
			PORT("\"listen_port\":\"0\",\"target_address\":\"10.5.0.9\"") },
		{ "ports.0.listen_port: ",
			PORT("\"listen_port\":\"9-8\",\"target_address\":\"10.5.0.9\"") },
		{ "ports.0.listen_port: ",
			PORT("\"listen_port\":\"65536\",\"target_address\":\"10.5.0.9\"") },
		{ "ports.0.listen_port: ",
			PORT("\"listen_port\":\"1-65535\",\"target_address\":\"10.5.0.9\"") },
		{ "ports.0.listen_port: ",
			PORT("\"listen_port\":\"80,\",\"target_address\":\"10.5.0.9\"") },
		{ "ports.0.listen_port: ",
			PORT("\"listen_port\":\"80,80\",\"target_address\":\"10.5.0.9\"") },
		{ "ports.0.target_port: ",
			PORT("\"listen_port\":\"80-82\",\"target_port\":\"1-2\",\"target_address\":\"10.5.0.9\"") },
		{ "ports.0.target_address: ",
			PORT("\"listen_port\":\"80\",\"target_address\":\"10.6.0.9\"") },
		{ "ports.0.target_address: ", PORT("\"listen_port\":\"80\"") },
		{ "ports.0.more: ", PORT("\"more\":\"\"") },
	};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct network_forward unused = {};
		struct error e = {};
		if (read_forward(wrong[i][1], &unused, &e) != -EINVAL)
			test_fail("%s is taken", wrong[i][1]);
		if (strncmp(e.text, wrong[i][0], strlen(wrong[i][0])) != 0)
			test_fail("%s: \"%s\"", wrong[i][1], e.text);
	}
}

static const struct test tests[] = {
	{ "a network has defaults for all", has_defaults },
	{ "every key of a network is read", reads_all_keys },
	{ "a wrong key of a network is refused by its path", refuses_wrong_config },
	{ "names of networks are checked", checks_names },
	{ "a network is chosen apart from those that are taken", chooses_networks },
	{ "an address is chosen within the ranges", chooses_addresses },
	{ "the search for an address ends", full_networks_end },
	{ "forwards are read port by port", reads_forwards },
	{ "a wrong forward is refused by its path", refuses_wrong_forwards },
};
TEST_MAIN(tests)
