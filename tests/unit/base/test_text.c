/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <errno.h>

#include "test.h"

static void grows(void)
{
	cleanup(text_done) struct text text = {};
	expect_text(text_str(&text), "");
	for (int i = 0; i < 1000; i++)
		text_printf(&text, "%d,", i);
	expect(text_starts(text.data, "0,1,2,") && text_ends(text.data, ",998,999,"));
	cleanup(free) char *taken = text_take(&text);
	expect(text.data == NULL && taken != NULL);
}

static void reads_sizes(void)
{
	static const struct {
		const char *text;
		int result;
		uint64_t bytes;
	} cases[] = {
		{ "0", 0, 0 },
		{ "512B", 0, 512 },
		{ "1kB", 0, 1000 },
		{ "1KiB", 0, 1024 },
		{ "10GiB", 0, 10 * GIB },
		{ "10GB", 0, UINT64_C(10000000000) },
		{ "7EiB", 0, UINT64_C(7) << 60 },
		{ "8EiB", -ERANGE, 0 },
		{ "99999999999999999999", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "GiB", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 GiB", -EINVAL, 0 },
		{ "1gib", -EINVAL, 0 },
		{ "1.5GiB", -EINVAL, 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t bytes = 0;
		printf("# %s\n", cases[i].text);
		expect_equal(text_to_bytes(cases[i].text, &bytes), cases[i].result);
		expect_equal(bytes, cases[i].bytes);
	}
}

static void reads_rates_and_durations(void)
{
	uint64_t value;
	expect_equal(text_to_bits("100Mbit", &value), 0);
	expect_equal(value, 100000000);
	expect_equal(text_to_bits("100MB", &value), -EINVAL);
	expect_equal(text_to_ns("30", &value), 0);
	expect_equal(value, 30 * NS_PER_SEC);
	expect_equal(text_to_ns("5ms", &value), 0);
	expect_equal(value, 5 * NS_PER_MS);
}

static void reads_signed_numbers_to_the_edge(void)
{
	int64_t value;
	expect_equal(text_to_i64("-9223372036854775808", &value), 0);
	expect(value == INT64_MIN);
	expect_equal(text_to_i64("9223372036854775807", &value), 0);
	expect_equal(text_to_i64("9223372036854775808", &value), -ERANGE);
	expect_equal(text_to_i64("-", &value), -EINVAL);
	expect_equal(text_to_i64("--1", &value), -EINVAL);
}

static void writes_sizes(void)
{
	char buffer[TEXT_SIZE_MAX];
	expect_text(text_format_bytes(1023, buffer), "1023B");
	expect_text(text_format_bytes(1536, buffer), "1.50KiB");
	expect_text(text_format_bytes(UINT64_MAX, buffer), "16.00EiB");
}

static void hex_goes_there_and_back(void)
{
	uint8_t bytes[3];
	char hex[7];
	expect_equal(text_from_hex("00fFa5", bytes, 3), 0);
	text_hex(bytes, 3, hex);
	expect_text(hex, "00ffa5");
	expect_equal(text_from_hex("00ffa", bytes, 3), -EINVAL);
	expect_equal(text_from_hex("00ffag", bytes, 3), -EINVAL);
}

static void labels(void)
{
	expect(text_is_label("web1") && text_is_label("a") && text_is_label("A-b-9"));
	expect(!text_is_label("") && !text_is_label("-a") && !text_is_label("a-"));
	expect(!text_is_label("1a") && !text_is_label("a.b") && !text_is_label("a/b"));
	expect(!text_is_label("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
}

static void times_are_rfc_3339(void)
{
	char buffer[TEXT_TIME_SIZE];
	expect_text(text_format_time(0, buffer), "1970-01-01T00:00:00.000000000Z");
	expect_text(text_format_time(UINT64_C(1700000000123456789), buffer),
		"2023-11-14T22:13:20.123456789Z");
}

static void uuids_are_version_4(void)
{
	char a[TEXT_UUID_SIZE], b[TEXT_UUID_SIZE];
	text_random_uuid(a);
	text_random_uuid(b);
	expect(strlen(a) == 36 && a[14] == '4' && a[8] == '-' && strcmp(a, b) != 0);
}

static const struct test tests[] = {
	{ "a text grows as it is added to", grows },
	{ "sizes are read strictly", reads_sizes },
	{ "rates and durations have their own units", reads_rates_and_durations },
	{ "signed numbers are read to the edge", reads_signed_numbers_to_the_edge },
	{ "sizes are written for people", writes_sizes },
	{ "hex goes there and back", hex_goes_there_and_back },
	{ "names are DNS labels", labels },
	{ "times are RFC 3339", times_are_rfc_3339 },
	{ "UUIDs are version 4 and differ", uuids_are_version_4 },
};
TEST_MAIN(tests)
