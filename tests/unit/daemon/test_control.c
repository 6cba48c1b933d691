/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/instance/control.h"

#include <string.h>

#include "test.h"

static bool reads(const char *text, struct control_word *ret)
{
	return control_read(text, strlen(text), ret);
}

static void reads_sizes_and_signals(void)
{
	struct control_word word;
	expect(reads(
		"{\"command\":\"window-resize\",\"args\":{\"width\":\"120\",\"height\":\"50\"}}",
		&word));
	expect_equal(word.columns, 120);
	expect_equal(word.rows, 50);
	expect_equal(word.signal, 0);
	expect(reads("{\"command\":\"signal\",\"signal\":15}", &word));
	expect_equal(word.signal, 15);
}

static void leaves_out_the_rest(void)
{
	static const char *const texts[] = { "", "x", "[]", "5", "{}", "{\"command\":5}",
		"{\"command\":\"window-resize\"}",
		"{\"command\":\"window-resize\",\"args\":{\"width\":\"1\"}}",
		"{\"command\":\"window-resize\",\"args\":{\"width\":\"-1\",\"height\":\"5\"}}",
		"{\"command\":\"window-resize\",\"args\":{\"width\":\"65536\",\"height\":\"5\"}}",
		"{\"command\":\"window-resize\",\"args\":{\"width\":120,\"height\":50}}",
		"{\"command\":\"signal\",\"signal\":0}", "{\"command\":\"signal\",\"signal\":-9}",
		"{\"command\":\"signal\",\"signal\":999}",
		"{\"command\":\"signal\",\"signal\":\"9\"}" };
	struct control_word word = { .signal = 77 };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		expect(!reads(texts[i], &word));
	cleanup(free) char *long_one = alloc_zeroed(1, CONTROL_BYTES + 2);
	memset(long_one, ' ', CONTROL_BYTES + 1);
	long_one[0] = '{';
	long_one[CONTROL_BYTES] = '}';
	expect(!reads(long_one, &word));
	expect_equal(word.signal, 77);
}

static const struct test tests[] = {
	{ "sizes and signals are read", reads_sizes_and_signals },
	{ "all else is left out", leaves_out_the_rest },
};
TEST_MAIN(tests)
