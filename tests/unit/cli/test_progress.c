/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include "cli/format.h"
#include "test.h"

static char *line(const char *what, const char *note, unsigned percent, size_t width)
{
	struct text text = {};
	progress_line(&text, what, note, percent, width);
	return text_take(&text);
}

static void tells_how_far(void)
{
	cleanup(free) char *half = line("import", "Unpack", 50, 79);
	expect_text(half, "import: Unpack [############............]  50%");
	cleanup(free) char *all = line("import", NULL, 100, 79);
	expect_text(all, "import [########################] 100%");
	cleanup(free) char *unknown = line("import", "12MB", 101, 79);
	expect_text(unknown, "import: 12MB");
}

static void fits(void)
{
	for (size_t width = 41; width < 100; width++)
		for (unsigned percent = 0; percent < 103; percent += 17) {
			cleanup(free) char *text = line("launch a-container-with-a-name",
				"a note from the server \x1b[2J that is long", percent, width);
			expect(format_width(text) <= width);
			expect(!strchr(text, '\x1b'));
		}
}

static void stays_silent(void)
{
	struct progress progress = {};
	progress_show(&progress, "launch", "c1", 10);
	expect(!progress.is_drawn);
	progress_clear(&progress);
}

static const struct test tests[] = {
	{ "a line tells what, how and how far", tells_how_far },
	{ "a line fits the terminal and can't steer it", fits },
	{ "nothing is drawn where nobody watches", stays_silent },
};
TEST_MAIN(tests)
