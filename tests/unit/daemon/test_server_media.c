/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/server/media.h"

#include <errno.h>

#include "test.h"

static void reads_parts(void)
{
	static const struct {
		const char *text;
		uint64_t at, length;
	} cases[] = { { "bytes=0-0", 0, 1 }, { "bytes=2048-4095", 2048, 2048 },
		{ "bytes=9000-", 9000, 1000 }, { "bytes=-1", 9999, 1 },
		{ "bytes=-20000", 0, 10000 }, { "bytes=9999-20000", 9999, 1 },
		{ "bytes=0-18446744073709551615", 0, 10000 } };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t at = 7, length = 7;
		expect_equal(server_media_range(cases[i].text, 10000, &at, &length), 0);
		expect_equal(at, cases[i].at);
		expect_equal(length, cases[i].length);
	}
}

static void refuses_others(void)
{
	static const struct {
		const char *text;
		int code;
	} cases[] = { { "bytes=10000-", -ERANGE }, { "bytes=10000-10001", -ERANGE },
		{ "bytes=-0", -ERANGE }, { "bytes=5-4", -EINVAL }, { "bytes=0-1,3-4", -EINVAL },
		{ "bytes=", -EINVAL }, { "bytes=-", -EINVAL }, { "bytes=x-", -EINVAL },
		{ "lines=0-1", -EINVAL }, { "", -EINVAL },
		{ "bytes=0-99999999999999999999", -EINVAL } };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t at = 7, length = 7;
		expect_equal(server_media_range(cases[i].text, 10000, &at, &length), cases[i].code);
		expect(at == 7 && length == 7);
	}
	uint64_t at, length;
	expect_equal(server_media_range("bytes=0-", 0, &at, &length), -ERANGE);
}

static const struct test tests[] = {
	{ "a part of a disc is read", reads_parts },
	{ "what is no part, or not there, is refused", refuses_others },
};
TEST_MAIN(tests)
