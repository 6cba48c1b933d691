/* SPDX-License-Identifier: Apache-2.0 */
#include "model/words.h"

#include <errno.h>

#include "test.h"

static void splits(void)
{
	cleanup(words_free) char **words = NULL;
	expect_equal(
		words_split(" /bin/sh  -c 'a b' \"c \\\"d\\\" \\n\" e\\ f ''", &words, NULL), 0);
	static const char *const wanted[] = { "/bin/sh", "-c", "a b", "c \"d\" \\n", "e f", "" };
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		expect_text(words[i], wanted[i]);
	expect(words[ARRAY_SIZE(wanted)] == NULL);
}

static void refuses_what_is_open(void)
{
	static const char *const cases[] = { "'a", "\"a", "a\\", "a 'b\" c" };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char **words;
		expect_equal(words_split(cases[i], &words, NULL), -EINVAL);
	}
	cleanup(free) char *many = alloc_array(2 * WORDS_MAX + 4, char);
	for (size_t i = 0; i <= WORDS_MAX; i++) {
		many[2 * i] = 'a';
		many[2 * i + 1] = ' ';
	}
	char **words;
	expect_equal(words_split(many, &words, NULL), -EINVAL);
}

static void joins_what_it_splits(void)
{
	const char *const words[] = { "a", "b c", "it's", "", "$x", "--k=v", NULL };
	cleanup(free) char *line = words_join(words);
	expect_text(line, "a 'b c' 'it'\\''s' '' '$x' --k=v");
	cleanup(words_free) char **again = NULL;
	expect_equal(words_split(line, &again, NULL), 0);
	for (size_t i = 0; words[i]; i++)
		expect_text(again[i], words[i]);
}

static const struct test tests[] = {
	{ "a line is split as a shell would", splits },
	{ "an open quote and too many words are refused", refuses_what_is_open },
	{ "words are quoted so that they split again", joins_what_it_splits },
};
TEST_MAIN(tests)
