/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/call.h"

#include <errno.h>

#include "test.h"

static void reads_an_address(void)
{
	struct call_server server;
	expect_equal(call_read_url("http://10.77.0.1:8470/agent/abc", &server, NULL), 0);
	expect_text(server.address, "10.77.0.1");
	expect_equal(server.port, 8470);
	expect_text(server.path, "/agent/abc");
}

static void refuses_other_addresses(void)
{
	static const char *const cases[] = { "https://10.0.0.1:1/x", "http://host:1/x",
		"http://10.0.0.1/x", "http://10.0.0.1:0/x", "http://10.0.0.1:99999/x",
		"http://10.0.0.1:80x" };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct call_server server;
		expect_equal(call_read_url(cases[i], &server, NULL), -EINVAL);
	}
}

static int head(const char *text, int *status, uint64_t *length)
{
	return call_read_head(text, strlen(text), status, length);
}

static void reads_a_head(void)
{
	int status = 0;
	uint64_t length = 7;
	expect_equal(
		head("HTTP/1.1 200 OK\r\nDate: x\r\ncontent-LENGTH:  12\r\n\r\n", &status, &length),
		0);
	expect(status == 200 && length == 12);
	expect_equal(head("HTTP/1.1 204 No\r\n\r\n", &status, &length), 0);
	expect(status == 204 && length == 0);
}

static void refuses_other_heads(void)
{
	static const char *const cases[] = { "", "\r\n\r\n", "HTTP/2 200\r\n\r\n",
		"HTTP/1.1 abc OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int status;
		uint64_t length;
		expect_equal(head(cases[i], &status, &length), -EBADMSG);
	}
}

static const struct test tests[] = {
	{ "an address to call is read", reads_an_address },
	{ "names, other schemes and ports are refused", refuses_other_addresses },
	{ "an answer's head is read", reads_a_head },
	{ "what is no answer is refused", refuses_other_heads },
};

TEST_MAIN(tests)
