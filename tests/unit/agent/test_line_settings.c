/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/line_settings.h"

#include <errno.h>
#include <netinet/in.h>

#include "test.h"

#define PIN "pin 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"

static void reads_settings(void)
{
	struct line_settings settings;
	expect_equal(line_settings_read("# whom\nto 10.0.0.1:8443\nto [2001:db8::1]:443\n" PIN
					"key 0a.ff\n",
			     &settings, NULL),
		0);
	expect_equal(settings.address_count, 2);
	expect_equal(settings.addresses[0].ss_family, AF_INET);
	expect_equal(ntohs(((const struct sockaddr_in *)&settings.addresses[0])->sin_port), 8443);
	expect_equal(settings.addresses[1].ss_family, AF_INET6);
	expect_equal(settings.pin[1], 0x11);
	expect_text(settings.key, "0a.ff");
}

static void refuses_others(void)
{
	static const char *const cases[] = { "", "to 10.0.0.1:8443\n" PIN, PIN "key 0a\n",
		"to 10.0.0.1:8443\nkey 0a\n", "to 10.0.0.1\n" PIN "key 0a\n",
		"to host:8443\n" PIN "key 0a\n", "to 10.0.0.1:0\n" PIN "key 0a\n",
		"to 10.0.0.1:65536\n" PIN "key 0a\n", "to ::1:8443\n" PIN "key 0a\n",
		"to [10.0.0.1]:8443\n" PIN "key 0a\n", "to 10.0.0.1:1\npin 00\nkey 0a\n",
		"to 10.0.0.1:1\n" PIN "key a b\n", "to 10.0.0.1:1\n" PIN "key a\rX: y\n",
		"to 10.0.0.1:1\n" PIN "key 0a\nother\n" };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct line_settings settings;
		struct error e = {};
		expect_equal(line_settings_read(cases[i], &settings, &e), -EBADMSG);
		expect(e.text[0] != '\0');
	}
}

static void reads_an_answer(void)
{
	expect_equal(line_answer_read("HTTP/1.1 101 Switching Protocols\r\n\r\n"), 101);
	expect_equal(line_answer_read("HTTP/1.1 403 Forbidden\r\n\r\n"), 403);
	expect_equal(line_answer_read("SSH-2.0-x\r\n"), -EBADMSG);
	expect_equal(line_answer_read(""), -EBADMSG);
}

static const struct test tests[] = {
	{ "settings are read", reads_settings },
	{ "a line that is none, or a missing one, is refused", refuses_others },
	{ "the status of an answer is read", reads_an_answer },
};

TEST_MAIN(tests)
