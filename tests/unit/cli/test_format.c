/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/format.h"

#include "test.h"

static void counts_columns(void)
{
	static const struct {
		const char *text;
		size_t width;
	} cases[] = {
		{ "", 0 },
		{ "abc", 3 },
		{ "Zürich", 6 },
		{ "日本", 4 },
		{ "e\xcc\x81", 1 },
		{ "\xff\xfe", 2 },
		{ "\x1b[1m", 4 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		printf("# case %zu\n", i);
		expect_equal(format_width(cases[i].text), cases[i].width);
	}
}

static const char *cleaned(const char *string, size_t width)
{
	static char buffer[256];
	cleanup(text_done) struct text text = {};
	format_clean(&text, string, width);
	snprintf(buffer, sizeof(buffer), "%s", text_str(&text));
	return buffer;
}

static void takes_the_sting_out(void)
{
	expect_text(cleaned("a\x1b[2Jb\nc", 0), "a?[2Jb?c");
	expect_text(cleaned("\xe2\x80\xae"
			    "evil",
			    0),
		"?evil");
	expect_text(cleaned("\xc3", 0), "?");
	expect_text(cleaned("\xc2\x9b"
			    "1m",
			    0),
		"?1m");
	expect_text(cleaned("\xed\xa0\x80", 0), "???");
	expect_text(cleaned("Zürich", 0), "Zürich");
}

static void cuts_by_columns(void)
{
	expect_text(cleaned("abcdef", 6), "abcdef");
	expect_text(cleaned("abcdef", 5), "abcd…");
	expect_text(cleaned("日本語", 5), "日本…");
	expect_text(cleaned("日本語", 4), "日…");
	expect_text(cleaned("abc", 1), "…");
}

static const char *duration(uint64_t ns)
{
	static char buffer[64];
	cleanup(text_done) struct text text = {};
	format_duration(&text, ns);
	snprintf(buffer, sizeof(buffer), "%s", text_str(&text));
	return buffer;
}

static void writes_durations(void)
{
	expect_text(duration(12 * NS_PER_MS), "12ms");
	expect_text(duration(3 * NS_PER_SEC), "3s");
	expect_text(duration(312 * NS_PER_SEC), "5m12s");
	expect_text(duration(7380 * NS_PER_SEC), "2h03m");
	expect_text(duration(UINT64_C(1051200) * NS_PER_SEC), "12d4h");
}

static const char *rate(double bytes)
{
	static char buffer[64];
	cleanup(text_done) struct text text = {};
	format_rate(&text, bytes);
	snprintf(buffer, sizeof(buffer), "%s", text_str(&text));
	return buffer;
}

static void writes_rates(void)
{
	expect_text(rate(0), "0B/s");
	expect_text(rate(999), "999B/s");
	expect_text(rate(1000), "1.0kB/s");
	expect_text(rate(12500000), "12.5MB/s");
	expect_text(rate(125000000), "125MB/s");
	expect_text(rate(999999), "1.0MB/s");
	expect_text(rate(1e18), "1000000TB/s");
}

static const char *time_text(const char *rfc3339)
{
	static char buffer[64];
	cleanup(text_done) struct text text = {};
	format_time(&text, rfc3339);
	snprintf(buffer, sizeof(buffer), "%s", text_str(&text));
	return buffer;
}

static void writes_times(void)
{
	expect_text(time_text("2026-11-24T12:22:01.123456789Z"), "2026-11-24 12:22");
	expect_text(time_text("0001-01-01T00:00:00Z"), "-");
	expect_text(time_text("1970-01-01T00:00:00Z"), "-");
	expect_text(time_text(NULL), "-");
	expect_text(time_text("soon"), "soon");
}

static const struct test tests[] = {
	{ "columns are counted as a terminal draws them", counts_columns },
	{ "what would steer a terminal becomes a question mark", takes_the_sting_out },
	{ "a long string is cut at a column, never inside a character", cuts_by_columns },
	{ "durations have two units", writes_durations },
	{ "rates have three digits", writes_rates },
	{ "times are short, and never is a dash", writes_times },
};
TEST_MAIN(tests)
