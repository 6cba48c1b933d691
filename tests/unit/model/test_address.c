/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_address.c - addresses and ranges: what is read, what is refused, how they are counted.
 */
#include "model/address.h"

#include <arpa/inet.h>
#include <errno.h>

#include "test.h"

static struct address address(const char *text)
{
	struct address read;
	if ((strchr(text, '/') ? address_parse_cidr(text, &read) : address_parse(text, &read)) < 0)
		test_fail("%s is refused", text);
	return read;
}

static void reads_addresses(void)
{
	static const char *const texts[] = { "10.1.2.3/24", "0.0.0.0/0", "fd42:1::1/64", "::/0",
		"255.255.255.255/32" };
	char text[ADDRESS_TEXT];
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct address read = address(texts[i]);
		expect_text(address_format_cidr(&read, text), texts[i]);
	}
	struct address read = address("fd42::0001");
	expect_equal(read.prefix, 128);
	expect_text(address_format(&read, text), "fd42::1");
}

static void refuses_what_is_none(void)
{
	static const char *const texts[] = { "", "10.1.2", "10.1.2.256", "10.1.2.3/33", "10.1.2.3/",
		"10.1.2.3/-1", "10.1.2.3/ 4", "fd42::1/129", "fd42:::1/64", "10.1.2.3/24/24",
		" 10.1.2.3/8", "/24", "10.1.2.3/99999999999999999999",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd/64" };
	struct address read;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		expect_equal(address_parse_cidr(texts[i], &read), -EINVAL);
	expect_equal(address_parse("10.1.2.3/24", &read), -EINVAL);
	expect_equal(address_parse_cidr("10.1.2.3", &read), -EINVAL);
}

static void knows_networks(void)
{
	char text[ADDRESS_TEXT];
	struct address one = address("10.1.2.130/25");
	struct address network = address_network(&one), last = address_last(&one);
	expect_text(address_format_cidr(&network, text), "10.1.2.128/25");
	expect_text(address_format(&last, text), "10.1.2.255");
	struct address inside = address("10.1.2.200"), outside = address("10.1.2.100");
	expect(address_is_in(&inside, &network));
	expect(!address_is_in(&outside, &network));
	struct address wide = address("10.0.0.0/8"), other = address("172.16.0.0/12");
	struct address all = address("0.0.0.0/0"), six = address("::/0");
	expect(address_overlaps(&wide, &network) && address_overlaps(&network, &wide));
	expect(!address_overlaps(&other, &network));
	expect(address_overlaps(&all, &network));
	expect(!address_overlaps(&six, &network));
}

static void counts(void)
{
	char text[ADDRESS_TEXT];
	struct address one = address("10.1.255.255");
	struct address next = address_plus(&one, 1);
	expect_text(address_format(&next, text), "10.2.0.0");
	expect_equal(address_minus(&next, &one), 1);
	expect_equal(address_minus(&one, &next), 0);
	struct address six = address("fd00::ffff:ffff:ffff:fffe");
	next = address_plus(&six, UINT64_C(0x1000000000000003));
	expect_text(address_format(&next, text), "fd00::1:1000:0:0:1");
	expect(address_minus(&next, &six) == UINT64_C(0x1000000000000003));
	struct address far = address("fe00::");
	expect(address_minus(&far, &six) == UINT64_MAX);
}

static void carries_over_all_bytes(void)
{
	char text[ADDRESS_TEXT];
	struct address six = address("fd00::ffff:ffff:ffff:ffff");
	struct address next = address_plus(&six, 1);
	expect_text(address_format(&next, text), "fd00:0:0:1::");
	next = address_plus(&six, UINT64_MAX);
	expect_text(address_format(&next, text), "fd00::1:ffff:ffff:ffff:fffe");
	struct address top = address("255.255.255.255");
	next = address_plus(&top, 1);
	expect_text(address_format(&next, text), "0.0.0.0");
}

static void reads_ranges(void)
{
	struct address_range ranges[3];
	expect_equal(address_ranges_parse("10.0.0.2-10.0.0.9, 10.0.1.0-10.0.1.0", ranges, 3), 2);
	expect_equal(address_range_count(&ranges[0]), 8);
	expect_equal(address_range_count(&ranges[1]), 1);
	struct address in = address("10.0.0.9"), out = address("10.0.0.10"),
		       six = address("fd00::1");
	expect(address_range_has(&ranges[0], &in));
	expect(!address_range_has(&ranges[0], &out));
	expect(!address_range_has(&ranges[0], &six));
	static const char *const wrong[] = { "", "10.0.0.2", "10.0.0.9-10.0.0.2",
		"10.0.0.2-fd00::1", "10.0.0.2-", "-10.0.0.2", "10.0.0.2-10.0.0.3,", ",",
		"10.0.0.2 - 10.0.0.3" };
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		expect_equal(address_ranges_parse(wrong[i], ranges, 3), -EINVAL);
	expect_equal(address_ranges_parse("::1-::2,::1-::2,::1-::2,::1-::2", ranges, 3), -E2BIG);
}

static void reads_macs(void)
{
	uint8_t mac[MAC_SIZE];
	char text[MAC_TEXT];
	expect_equal(mac_parse("00:16:3E:0a:0b:ff", mac), 0);
	expect_text(mac_format(mac, text), "00:16:3e:0a:0b:ff");
	static const char *const wrong[] = { "", "00:16:3e:0a:0b", "00:16:3e:0a:0b:fg",
		"00-16-3e-0a-0b-ff", "00:16:3e:0a:0b:ff:", "01:16:3e:0a:0b:ff", "00:00:00:00:00:00",
		"ff:ff:ff:ff:ff:ff", "0:016:3e:0a:0b:ff" };
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		expect_equal(mac_parse(wrong[i], mac), -EINVAL);
	mac_random(mac);
	expect_equal(mac_parse(mac_format(mac, text), mac), 0);
	expect_equal(mac[2], 0x3e);
}

static void derives_addresses_of_macs(void)
{
	char text[ADDRESS_TEXT];
	uint8_t mac[MAC_SIZE];
	expect_equal(mac_parse("00:16:3e:0a:0b:ff", mac), 0);
	struct address network = address("fd42:1:2:3::1/64");
	struct address derived = address_from_mac(&network, mac);
	expect_text(address_format_cidr(&derived, text), "fd42:1:2:3:216:3eff:fe0a:bff/64");
}

static const struct test tests[] = {
	{ "addresses are read and written", reads_addresses },
	{ "what is no address is refused", refuses_what_is_none },
	{ "networks contain and overlap", knows_networks },
	{ "addresses are added and subtracted", counts },
	{ "a sum carries over all bytes", carries_over_all_bytes },
	{ "ranges are read and counted", reads_ranges },
	{ "interface addresses are read strictly", reads_macs },
	{ "stateless addresses follow from interface addresses", derives_addresses_of_macs },
};
TEST_MAIN(tests)
