/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include "test.h"

static void fill(struct table *table, const char *const (*rows)[3], size_t count)
{
	static const char *const titles[] = { "NAME", "STATE", "SIZE" };
	table_init(table, 3);
	for (size_t i = 0; i < 3; i++)
		table_title(table, i, titles[i], i == 2);
	for (size_t row = 0; row < count; row++) {
		table_add_row(table);
		for (size_t i = 0; i < 3; i++)
			table_set(table, i, alloc_text(rows[row][i]));
	}
}

static const char *const rows[][3] = {
	{ "web", "RUNNING", "1.50GiB" },
	{ "Zürich-日本", NULL, "3B" },
};

static void aligns(void)
{
	cleanup(table_done) struct table table;
	cleanup(text_done) struct text text = {};
	fill(&table, rows, 2);
	table_print(&table, &text, 0, false);
	expect_text(text.data,
		"NAME         STATE       SIZE\n"
		"web          RUNNING  1.50GiB\n"
		"Zürich-日本                3B\n");
}

static void narrows_to_the_width(void)
{
	static const char *const wide[][3] = { { "a-name-that-is-quite-long", "RUNNING", "3B" } };
	cleanup(table_done) struct table table;
	cleanup(text_done) struct text text = {};
	fill(&table, wide, 1);
	table_print(&table, &text, 30, false);
	expect_contains(text.data, "a-name-that-is…  RUNNING    3B\n");
}

static void escapes_csv(void)
{
	static const char *const odd[][3] = { { "a,b", "say \"x\"", "two\nlines" },
		{ "plain", NULL, "\x1b" } };
	cleanup(table_done) struct table table;
	cleanup(text_done) struct text text = {};
	fill(&table, odd, 2);
	table_print_csv(&table, &text);
	expect_text(text.data, "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\"\nplain,,\x1b\n");
}

static void holds_thousands(void)
{
	cleanup(table_done) struct table table;
	cleanup(text_done) struct text text = {};
	table_init(&table, 1);
	table_title(&table, 0, "N", true);
	for (int i = 0; i < 5000; i++) {
		table_add_row(&table);
		table_set(&table, 0, alloc_printf("%d", i));
	}
	table_print(&table, &text, 0, true);
	expect(text_starts(text.data, "\033[1m   N\033[0m\n   0\n"));
	expect(text_ends(text.data, "\n4999\n"));
}

static const struct test tests[] = {
	{ "columns are as wide as their widest cell, numbers to the right", aligns },
	{ "the widest column is cut on a narrow terminal", narrows_to_the_width },
	{ "CSV puts quotes where they are needed and leaves the rest as it is", escapes_csv },
	{ "a table grows to thousands of rows", holds_thousands },
};
TEST_MAIN(tests)
