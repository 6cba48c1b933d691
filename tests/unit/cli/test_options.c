/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include <errno.h>

#include "test.h"

static int nothing(struct context *context, struct error *e)
{
	(void)context;
	(void)e;
	return 0;
}

static const struct option launch_options[] = {
	{ "memory", 'm', "SIZE", "memory" },
	{ "config", 'c', "KEY=VALUE", "config" },
	{ "ephemeral", 'e', NULL, "ephemeral" },
	{},
};
static const struct verb image_verbs[] = {
	{ "import", "FILE", "import", .run = nothing, .min = 1, .max = 1 },
	{ "list", "", "list", .run = nothing },
	{},
};
static const struct verb snapshot_verbs[] = {
	{ "list", "NAME", "list", .run = nothing, .min = 1, .max = 1 },
	{ "create", "NAME [SNAPSHOT]", "create", .run = nothing, .min = 1, .max = 2,
		.is_usual = true },
	{},
};
static const struct verb verbs[] = {
	{ "launch", "IMAGE [NAME]", "launch", .run = nothing, .options = launch_options, .min = 1,
		.max = 9 },
	{ "exec", "NAME COMMAND...", "exec", .run = nothing, .options = launch_options, .min = 2,
		.max = ARGUMENTS_ANY, .free_after = 1 },
	{ "image", NULL, "images", .verbs = image_verbs },
	{ "snapshot", NULL, "Snapshots", .verbs = snapshot_verbs },
	{},
};

static struct options options;
static struct error e;

static int read_words(const char *const *words)
{
	size_t count = 0;
	while (words[count])
		count++;
	options_done(&options);
	e = (struct error){};
	return options_read(&options, verbs, words, count, &e);
}
#define READ(...) read_words((const char *const[]){ __VA_ARGS__, NULL })

static void reads_every_form(void)
{
	expect_equal(READ("launch", "-m", "1GiB", "deb", "--config=a=b", "-ec", "x=y", "c1"), 0);
	expect_text(options.path, "launch");
	expect_equal(options.argument_count, 2);
	expect_text(options.arguments[1], "c1");
	expect_text(options_text(&options, "memory"), "1GiB");
	expect(options_flag(&options, "ephemeral"));
	expect(!options_flag(&options, "quiet"));
	size_t position = 0;
	expect_text(options_next(&options, "config", &position), "a=b");
	expect_text(options_next(&options, "config", &position), "x=y");
	expect(options_next(&options, "config", &position) == NULL);
	expect_equal(READ("launch", "-cx=y", "deb"), 0);
	expect_text(options_text(&options, "config"), "x=y");
}

static void the_last_one_wins(void)
{
	expect_equal(READ("launch", "d", "--memory", "1", "--memory", "2"), 0);
	expect_text(options_text(&options, "memory"), "2");
}

static void dashes_end_the_options(void)
{
	expect_equal(READ("launch", "deb", "c1", "--", "-x", "--memory"), 0);
	expect_equal(options.argument_count, 4);
	expect_equal(options.count_before_dashes, 2);
	expect_text(options.arguments[2], "-x");
	expect_equal(READ("launch", "deb"), 0);
	expect_equal(options.count_before_dashes, ARGUMENTS_ANY);
	expect_equal(READ("launch", "-"), 0);
	expect_text(options.arguments[0], "-");
}

static void a_command_keeps_its_options(void)
{
	expect_equal(READ("exec", "c1", "ls", "-l", "--memory"), 0);
	expect_equal(options.argument_count, 4);
	expect_text(options.arguments[2], "-l");
	expect_equal(READ("exec", "c1", "-m", "1", "--", "ls", "--", "-l"), 0);
	expect_equal(options.argument_count, 4);
	expect_text(options.arguments[2], "--");
	expect_text(options_text(&options, "memory"), "1");
}

static void common_options_stand_anywhere(void)
{
	expect_equal(READ("--project", "p", "image", "list", "-q"), 0);
	expect_text(options_text(&options, "project"), "p");
	expect(options_flag(&options, "quiet"));
	expect_text(options.path, "image list");
}

static void a_noun_may_have_a_usual_verb(void)
{
	expect_equal(READ("snapshot", "web", "before"), 0);
	expect_text(options.path, "snapshot create");
	expect_equal(options.argument_count, 2);
	expect_text(options.arguments[0], "web");
	expect_equal(READ("snapshot", "create", "web"), 0);
	expect_equal(options.argument_count, 1);
	expect_equal(READ("snapshot", "list", "web"), 0);
	expect_text(options.path, "snapshot list");
	expect_equal(READ("snapshot"), 0);
	expect(options.wants_help);
}

static void guesses_what_was_meant(void)
{
	static const struct {
		const char *words[4];
		const char *text;
	} cases[] = {
		{ { "lanch" }, "there is no verb 'lanch': did you mean launch?" },
		{ { "image", "improt" }, "berth image has no verb 'improt': did you mean import?" },
		{ { "launch", "--memroy=1", "d" },
			"berth launch has no option --memroy: did you mean --memory?" },
		{ { "frobnicate" }, "there is no verb 'frobnicate'" },
		{ { "launch", "-z" }, "berth launch has no option -z" },
		{ { "launch", "--memory" }, "--memory needs a value: SIZE" },
		{ { "launch", "-m" }, "-m needs a value: SIZE" },
		{ { "launch", "--ephemeral=1" }, "--ephemeral takes no value" },
		{ { "launch" }, "berth launch needs: IMAGE [NAME]" },
		{ { "image", "import", "a", "b" },
			"'b' is too much: berth image import takes FILE" },
		{ { "image", "list", "x" }, "'x' is too much: berth image list takes no argument" },
		{ { "--nonsense" }, "berth has no option --nonsense" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		expect_equal(read_words(cases[i].words), -EINVAL);
		expect_text(e.text, cases[i].text);
	}
}

static void help_is_for_asking(void)
{
	expect_equal(READ("image"), 0);
	expect(options.wants_help);
	expect_equal(READ("launch", "--help"), 0);
	expect(options.wants_help);
	expect_equal(read_words((const char *const[]){ NULL }), 0);
	expect(options.wants_help);
	cleanup(text_done) struct text text = {};
	options_help(&text, &verbs[0], "launch");
	expect_contains(text.data, "usage: berth launch [OPTION...] IMAGE [NAME]\n");
	expect_contains(text.data, "  -m, --memory SIZE             memory\n");
	expect_contains(text.data, "--project PROJECT");
}

static void measures_distance(void)
{
	expect_equal(words_distance("launch", "launch", 3), 0);
	expect_equal(words_distance("lanuch", "launch", 3), 1);
	expect_equal(words_distance("lunch", "launch", 3), 1);
	expect_equal(words_distance("abc", "xyz", 2), 3);
	expect_equal(words_distance("", "ab", 9), 2);
	char huge[500];
	memset(huge, 'a', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	expect_equal(words_distance(huge, "a", 3), 4);
}

static const struct test tests[] = {
	{ "long, short and joined options are read", reads_every_form },
	{ "of an option that is given twice the last one counts", the_last_one_wins },
	{ "two dashes end the options, and where is known", dashes_end_the_options },
	{ "the words of a command to run are left alone", a_command_keeps_its_options },
	{ "common options stand before or behind the verb", common_options_stand_anywhere },
	{ "a noun may have a usual verb", a_noun_may_have_a_usual_verb },
	{ "a slip gets a sentence and a guess", guesses_what_was_meant },
	{ "help is given for a noun, a verb and nothing at all", help_is_for_asking },
	{ "swapped, missing and changed letters count one each", measures_distance },
};
TEST_MAIN(tests)
