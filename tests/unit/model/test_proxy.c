/* SPDX-License-Identifier: Apache-2.0 */
#include "model/proxy.h"

#include <errno.h>

#include "base/text.h"
#include "test.h"

static void addresses_are_read(void)
{
	struct proxy_address address;
	expect_equal(proxy_address_parse("tcp:127.0.0.1:80", &address, NULL), 0);
	expect_equal(address.protocol, PROXY_TCP);
	expect_text(address.host, "127.0.0.1");
	expect_equal(address.port_count, 1);
	expect_equal(address.ports[0], 80);
	expect_equal(proxy_address_parse("udp:[::1]:53,60-62", &address, NULL), 0);
	expect(address.is_ipv6);
	expect_text(address.host, "::1");
	expect_equal(address.port_count, 4);
	expect_equal(address.ports[3], 62);
	expect_equal(proxy_address_parse("unix:/run/x.sock", &address, NULL), 0);
	expect_text(address.path, "/run/x.sock");
	expect_equal(proxy_address_parse("unix:@name", &address, NULL), 0);
}

static void other_texts_are_refused(void)
{
	static const char *const bad[] = { "", "tcp", "tcp:", "tcp:80", "tcp:host:80",
		"tcp:1.2.3.4", "tcp:1.2.3.4:", "tcp:1.2.3.4:0", "tcp:1.2.3.4:65536",
		"tcp:1.2.3.4:9-8", "tcp:1.2.3.4:1-65", "tcp:1.2.3.4:1,", "tcp:1.2.3.4:1-",
		"tcp:::1:80", "tcp:[::1]80", "tcp:[::1:80", "tcp:[1.2.3.4]:80", "unix:", "unix:x",
		"unix:/", "http:1.2.3.4:80" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct proxy_address address;
		struct error e = {};
		expect_equal(proxy_address_parse(bad[i], &address, &e), -EINVAL);
		expect(e.text[0] != '\0');
	}
}

static void ports_have_partners(void)
{
	struct proxy_address many, two, one, packets;
	expect_equal(proxy_address_parse("tcp:1.2.3.4:1-3", &many, NULL), 0);
	expect_equal(proxy_address_parse("tcp:1.2.3.4:1-2", &two, NULL), 0);
	expect_equal(proxy_address_parse("unix:/x", &one, NULL), 0);
	expect_equal(proxy_address_parse("udp:1.2.3.4:1", &packets, NULL), 0);
	expect_equal(proxy_check_pair(&many, &one, NULL), 0);
	expect_equal(proxy_check_pair(&many, &many, NULL), 0);
	expect_equal(proxy_check_pair(&many, &two, NULL), -EINVAL);
	expect_equal(proxy_check_pair(&one, &packets, NULL), -EINVAL);
	expect_equal(proxy_check_pair(&packets, &one, NULL), -EINVAL);
}

static const struct test tests[] = {
	{ "addresses are read", addresses_are_read },
	{ "other texts are refused", other_texts_are_refused },
	{ "ports have partners", ports_have_partners },
};
TEST_MAIN(tests)
