/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_firewall.c - what is put into the tables is what nft reads out of them, and is gone after.
 *
 * That packets are treated so is tested by tests/integration.
 */
#include "host/firewall.h"

#include <errno.h>
#include <nftables/libnftables.h>

#include "base/text.h"
#include "namespace.h"

static struct address address(const char *text)
{
	struct address read;
	if ((strchr(text, '/') ? address_parse_cidr(text, &read) : address_parse(text, &read)) < 0)
		test_fail("%s is refused", text);
	return read;
}

/* All tables, as nft prints them. */
static char *listing(void)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	nft_ctx_output_set_flags(nft, NFT_CTX_OUTPUT_NUMERIC_PROTO);
	nft_ctx_buffer_output(nft);
	nft_run_cmd_from_buffer(nft, "list ruleset");
	char *text = alloc_text(nft_ctx_get_output_buffer(nft));
	nft_ctx_free(nft);
	return text;
}

static void expect_listed(const char *part, bool wanted)
{
	cleanup(free) char *text = listing();
	if ((strstr(text, part) != NULL) != wanted)
		test_fail("\"%s\" is %s %s", part, wanted ? "missing in" : "left in", text);
}

static struct firewall *open_firewall(void)
{
	struct firewall *firewall;
	struct error e = {};
	enter_new_network();
	if (firewall_open("berth_test", &firewall, &e) < 0)
		test_fail("%s", e.text);
	return firewall;
}

#define expect_done(call) \
	do { \
		struct error expect_error = {}; \
		struct error *why = &expect_error; \
		if ((call) < 0) \
			test_fail("%s: %s", #call, expect_error.text); \
	} while (0)

static void replaces_older_tables(void)
{
	cleanup(firewall_close) struct firewall *first = open_firewall();
	expect_listed("table inet berth_test_0 {", true);
	expect_listed("table bridge berth_test_0 {", true);
	struct firewall *second, *other;
	expect_done(firewall_open("berth_test", &second, why));
	expect_done(firewall_open("berth_test2", &other, why));
	expect_listed("table inet berth_test_0 {", true);
	expect_listed("table inet berth_test_1 {", true);
	expect_done(firewall_retire(second, why));
	expect_listed("berth_test_0", false);
	expect_listed("table bridge berth_test_1 {", true);
	expect_done(firewall_remove("berth_test", why));
	expect_listed("berth_test_1", false);
	expect_listed("table bridge berth_test2_0 {", true);
	expect_done(firewall_remove("berth_test", why));
	firewall_close(second);
	firewall_close(other);
}

static void adds_a_network(void)
{
	cleanup(firewall_close) struct firewall *firewall = open_firewall();
	struct firewall_network network = {
		.bridge = "br0",
		.ipv4 = address("10.5.0.1/24"),
		.ipv6 = address("fd42::1/64"),
		.ipv4_nat = true,
		.ipv6_nat = true,
		.ipv6_nat_address = address("2001:db8::9"),
		.ipv4_closed = true,
	};
	expect_done(firewall_add_network(firewall, &network, why));
	expect_done(firewall_add_network(firewall, &network, why));
	expect_listed("\"br0\" . \"br0\"", true);
	expect_listed("elements = { 10.5.0.1 }", true);
	expect_listed("ct state established accept", true);         /* input */
	expect_listed("ct state established,related accept", true); /* forward */
	expect_listed("\"br0\" . fd42::1", true);
	expect_listed("\"br0\" : 2001:db8::9", true);
	expect_done(firewall_delete_network(firewall, &network, why));
	expect_listed("elements", false);
	expect_done(firewall_delete_network(firewall, &network, why));
}

static struct firewall_port port(void)
{
	return (struct firewall_port){
		.link = "v12345678-12345",
		.mac = { 0x00, 0x16, 0x3e, 1, 2, 3 },
		.check_mac = true,
		.check_ipv4 = true,
		.check_ipv6 = true,
		.addresses = { address("10.5.0.7"), address("fd42::7"), address("fe80::1") },
		.address_count = 3,
	};
}

static void adds_a_port(void)
{
	cleanup(firewall_close) struct firewall *firewall = open_firewall();
	struct firewall_port one = port();
	expect_done(firewall_add_port(firewall, &one, why));
	expect_done(firewall_add_port(firewall, &one, why));
	expect_listed("\"v12345678-12345\" : goto mac_ip4_ip6", true);
	expect_listed("\"v12345678-12345\" . 00:16:3e:01:02:03", true);
	expect_listed("\"v12345678-12345\" . 10.5.0.7", true);
	expect_listed("\"v12345678-12345\" . fd42::7", true);
	expect_listed("\"v12345678-12345\" . 0xfe800000000000000000000000000001", true);
	expect_listed("\"v12345678-12345\" . 00:16:3e:01:02:03 . 10.5.0.7", true);
	expect_listed("\"v12345678-12345\" . 00:16:3e:01:02:03 . fd42::7", true);
	expect_done(firewall_delete_port(firewall, &one, why));
	expect_listed("elements", false);
	one.check_ipv4 = one.check_ipv6 = false;
	expect_done(firewall_add_port(firewall, &one, why));
	expect_listed("goto mac }", true);
	expect_listed("10.5.0.7", false);
	expect_done(firewall_delete_port(firewall, &one, why));
	one.check_mac = false;
	expect_done(firewall_add_port(firewall, &one, why));
	expect_listed("elements", false);
}

static void deletes_what_is_left(void)
{
	cleanup(firewall_close) struct firewall *firewall = open_firewall();
	struct firewall_port one = port();
	expect_done(firewall_add_port(firewall, &one, why));
	one.addresses[3] = address("10.5.0.8");
	one.address_count = 4;
	expect_done(firewall_delete_port(firewall, &one, why));
	expect_listed("elements", false);
}

static void replaces_a_port(void)
{
	cleanup(firewall_close) struct firewall *firewall = open_firewall();
	struct firewall_port one = port(), other = port();
	other.check_ipv6 = false;
	other.addresses[0] = address("10.5.0.9");
	expect_done(firewall_add_port(firewall, &one, why));
	expect_done(firewall_replace_port(firewall, &one, &other, why));
	expect_listed("goto mac_ip4 }", true);
	expect_listed("10.5.0.7", false);
	expect_listed("fd42::7", false);
	expect_listed("\"v12345678-12345\" . 10.5.0.9", true);
	expect_listed("\"v12345678-12345\" . 00:16:3e:01:02:03 . 10.5.0.9", true);
	expect_done(firewall_delete_port(firewall, &other, why));
	expect_listed("elements", false);
}

static void forwards_ports(void)
{
	cleanup(firewall_close) struct firewall *firewall = open_firewall();
	static struct firewall_forward forwards[600];
	struct error e = {};
	for (uint16_t i = 0; i < ARRAY_SIZE(forwards); i++)
		forwards[i] = (struct firewall_forward){
			.listen = address("192.0.2.1"),
			.target = address("10.5.0.7"),
			.protocol = 6,
			.listen_port = 1000 + i,
			.target_port = 2000 + i,
		};
	forwards[599] = (struct firewall_forward){ .listen = address("2001:db8::1"),
		.target = address("fd42::7") };
	expect_done(firewall_add_forwards(firewall, forwards, ARRAY_SIZE(forwards), why));
	expect_listed("192.0.2.1 . 6 . 1000 : 10.5.0.7 . 2000", true);
	expect_listed("192.0.2.1 . 6 . 1598 : 10.5.0.7 . 2598", true);
	expect_listed("2001:db8::1 : fd42::7", true);
	static struct firewall_forward others[300];
	for (uint16_t i = 0; i < ARRAY_SIZE(others); i++) {
		others[i] = forwards[0];
		others[i].listen_port = 4000 + i;
	}
	others[250] = forwards[5];
	others[250].target_port = 1;
	expect_equal(firewall_add_forwards(firewall, others, ARRAY_SIZE(others), &e), -EEXIST);
	expect_listed(" 4000 : ", false);
	expect_listed("192.0.2.1 . 6 . 1005 : 10.5.0.7 . 2005", true);
	expect_done(firewall_delete_forwards(firewall, forwards, ARRAY_SIZE(forwards), why));
	expect_listed("elements", false);
}

static const struct test tests[] = {
	{ "new tables stand beside older ones until these are retired", replaces_older_tables },
	{ "a network's elements are added and deleted", adds_a_network },
	{ "a port's elements are what it is held to", adds_a_port },
	{ "a port is deleted, whatever of it is left", deletes_what_is_left },
	{ "a port's filters are replaced at once", replaces_a_port },
	{ "many forwards are added all or none", forwards_ports },
};
TEST_MAIN(tests)
