/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c - words to a verb, its options and arguments.
 */
#include "cli/options.h"

#include <errno.h>
#include <string.h>

#define WORD_MAX 64

const struct option options_common[] = {
	{ "project", '\0', "PROJECT", "act in this project", WORDS_PROJECT },
	{ "server", '\0', "URL", "talk to https://HOST:PORT instead of the local daemon" },
	{ "quiet", 'q', NULL, "no progress and no notes" },
	{ "debug", '\0', NULL, "show each request on standard error" },
	{ "help", 'h', NULL, "show what a verb takes" },
	{},
};

void options_done(struct options *options)
{
	free(options->path);
	free(options->arguments);
	free(options->values);
	*options = (struct options){};
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

unsigned words_distance(const char *a, const char *b, unsigned limit)
{
	size_t a_length = strlen(a), b_length = strlen(b);
	if (a_length > WORD_MAX || b_length > WORD_MAX)
		return limit + 1;
	unsigned rows[3][WORD_MAX + 1];
	for (unsigned j = 0; j <= b_length; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3],
			 *above_2 = rows[(i + 1) % 3];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_length; j++) {
			unsigned change = above[j - 1] + (a[i - 1] != b[j - 1]);
			row[j] = least(change, least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], above_2[j - 2] + 1);
		}
	}
	return least(rows[a_length % 3][b_length], limit + 1);
}

/* Keeps the nearest of the words it is shown. */
struct guess {
	const char *wanted;
	const char *nearest;
	unsigned distance;
};

static struct guess guess_start(const char *wanted)
{
	/* A third of the letters wrong, at most: more is another word. */
	unsigned limit = (unsigned)(strlen(wanted) + 1) / 3;
	return (struct guess){ .wanted = wanted, .distance = (limit ? limit : 1) + 1 };
}

static void guess_look(struct guess *guess, const char *word)
{
	unsigned distance = words_distance(guess->wanted, word, guess->distance);
	if (distance < guess->distance) {
		guess->distance = distance;
		guess->nearest = word;
	}
}

static int say_guess(const struct guess *guess, const char *dashes, struct error *e)
{
	if (!guess->nearest)
		return -EINVAL;
	struct error said = *e;
	return error_set(e, -EINVAL, "%s: did you mean %s%s?", said.text, dashes, guess->nearest);
}

static const struct verb *find_verb(const struct verb *verbs, const char *name)
{
	for (; verbs->name; verbs++)
		if (text_equal(verbs->name, name))
			return verbs;
	return NULL;
}

static const struct verb *find_usual(const struct verb *verbs)
{
	while (verbs->name && !verbs->is_usual)
		verbs++;
	return verbs->name ? verbs : NULL;
}

static int unknown_verb(
	const struct options *options, const struct verb *verbs, const char *name, struct error *e)
{
	if (options->path)
		error_set(e, -EINVAL, "berth %s has no verb '%s'", options->path, name);
	else
		error_set(e, -EINVAL, "there is no verb '%s'", name);
	struct guess guess = guess_start(name);
	for (; verbs->name; verbs++)
		guess_look(&guess, verbs->name);
	return say_guess(&guess, "", e);
}

static const struct option *find_in(
	const struct option *options, const char *name, size_t length, char letter)
{
	for (; options && options->name; options++) {
		if (letter ? options->letter == letter
			   : strlen(options->name) == length &&
					memcmp(options->name, name, length) == 0)
			return options;
	}
	return NULL;
}

static const struct option *find_option(
	const struct verb *verb, const char *name, size_t length, char letter)
{
	const struct option *found = find_in(verb->options, name, length, letter);
	return found ? found : find_in(options_common, name, length, letter);
}

static int unknown_option(
	const struct options *options, const char *name, size_t length, struct error *e)
{
	cleanup(free) char *wanted = alloc_text_n(name, length);
	error_set(e, -EINVAL, "berth%s%s has no option --%s", options->path ? " " : "",
		options->path ? options->path : "", wanted);
	struct guess guess = guess_start(wanted);
	const struct option *tables[] = { options->verb->options, options_common };
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct option *option = tables[i]; option && option->name; option++)
			guess_look(&guess, option->name);
	return say_guess(&guess, "--", e);
}

static void add_value(struct options *options, const struct option *option, const char *value)
{
	if (text_equal(option->name, "help"))
		options->wants_help = true;
	options->values[options->value_count++] = (struct option_value){ option, value };
}

/* "--name", "--name=value" or "--name value". */
static int read_long(
	struct options *options, const char *const *words, size_t count, size_t *i, struct error *e)
{
	const char *name = words[*i] + 2;
	size_t length = strcspn(name, "=");
	const char *value = name[length] ? name + length + 1 : NULL;
	const struct option *option = find_option(options->verb, name, length, '\0');
	if (!option)
		return unknown_option(options, name, length, e);
	if (!option->value && value)
		return error_set(e, -EINVAL, "--%s takes no value", option->name);
	if (option->value && !value) {
		if (*i + 1 >= count)
			return error_set(
				e, -EINVAL, "--%s needs a value: %s", option->name, option->value);
		value = words[++*i];
	}
	add_value(options, option, value);
	return 0;
}

/* "-rp", "-cKEY=VALUE" or "-c KEY=VALUE". */
static int read_letters(
	struct options *options, const char *const *words, size_t count, size_t *i, struct error *e)
{
	for (const char *letter = words[*i] + 1; *letter; letter++) {
		const struct option *option = find_option(options->verb, NULL, 0, *letter);
		if (!option)
			return error_set(e, -EINVAL, "berth%s%s has no option -%c",
				options->path ? " " : "", options->path ? options->path : "",
				*letter);
		if (!option->value) {
			add_value(options, option, NULL);
			continue;
		}
		const char *value = letter[1] ? letter + 1 : NULL;
		if (!value && *i + 1 >= count)
			return error_set(
				e, -EINVAL, "-%c needs a value: %s", *letter, option->value);
		add_value(options, option, value ? value : words[++*i]);
		return 0;
	}
	return 0;
}

static int read_words(struct options *options, const char *const *words, size_t count, size_t start,
	struct error *e)
{
	unsigned free_after = options->verb->free_after;
	bool is_free = false;
	for (size_t i = start; i < count; i++) {
		const char *word = words[i];
		if (!is_free && free_after && options->argument_count >= free_after)
			is_free = word[0] != '-';
		int r = 0;
		if (!is_free && text_equal(word, "--")) {
			is_free = true;
			options->count_before_dashes = options->argument_count;
		} else if (is_free || word[0] != '-' || !word[1]) {
			options->arguments[options->argument_count++] = word;
		} else if (word[1] == '-') {
			r = read_long(options, words, count, &i, e);
		} else {
			r = read_letters(options, words, count, &i, e);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_count(const struct options *options, struct error *e)
{
	const struct verb *verb = options->verb;
	if (options->argument_count < verb->min)
		return error_set(e, -EINVAL, "berth %s needs: %s", options->path, verb->arguments);
	if (options->argument_count > verb->max)
		return error_set(e, -EINVAL, "'%s' is too much: berth %s takes %s",
			options->arguments[verb->max], options->path,
			verb->max ? verb->arguments : "no argument");
	return 0;
}

int options_read(struct options *options, const struct verb *verbs, const char *const *words,
	size_t count, struct error *e)
{
	/* Letters in one word are a value each, so there is room for one a letter. */
	size_t letters = 1;
	for (size_t i = 0; i < count; i++)
		letters += strlen(words[i]) + 1;
	*options = (struct options){
		.arguments = alloc_array(count + 1, const char *),
		.values = alloc_array(letters, struct option_value),
		.count_before_dashes = ARGUMENTS_ANY,
	};

	size_t next = 0;
	/* Common options may stand before the verb. */
	static const struct verb program = { .name = "berth" };
	options->verb = &program;
	while (next < count && words[next][0] == '-') {
		int r = words[next][1] == '-' ? read_long(options, words, count, &next, e)
					      : read_letters(options, words, count, &next, e);
		if (r < 0)
			return r;
		next++;
	}
	options->verb = NULL;
	while (verbs && next < count && words[next][0] != '-') {
		const struct verb *named = find_verb(verbs, words[next]);
		const struct verb *verb = named ? named : find_usual(verbs);
		if (!verb)
			return unknown_verb(options, verbs, words[next], e);
		char *path = options->path ? alloc_printf("%s %s", options->path, verb->name)
					   : alloc_text(verb->name);
		free(options->path);
		options->path = path;
		options->verb = verb;
		verbs = verb->verbs;
		next += named != NULL;
	}
	if (!options->verb || options->verb->verbs) {
		options->wants_help = true;
		return 0;
	}
	int r = read_words(options, words, count, next, e);
	if (r == 0 && !options->wants_help)
		r = check_count(options, e);
	return r;
}

/* That the table of the verb has it: a wrong name is our own mistake. */
static void check_name(const struct options *options, const char *name)
{
	assert(find_option(options->verb, name, strlen(name), '\0'));
}

const char *options_text(const struct options *options, const char *name)
{
	check_name(options, name);
	for (size_t i = options->value_count; i > 0; i--)
		if (text_equal(options->values[i - 1].option->name, name))
			return options->values[i - 1].value;
	return NULL;
}

bool options_flag(const struct options *options, const char *name)
{
	check_name(options, name);
	for (size_t i = 0; i < options->value_count; i++)
		if (text_equal(options->values[i].option->name, name))
			return true;
	return false;
}

const char *options_next(const struct options *options, const char *name, size_t *position)
{
	check_name(options, name);
	while (*position < options->value_count) {
		const struct option_value *value = &options->values[(*position)++];
		if (text_equal(value->option->name, name))
			return value->value;
	}
	return NULL;
}

static void help_options(struct text *text, const char *title, const struct option *options)
{
	if (!options || !options->name)
		return;
	text_printf(text, "\n%s\n", title);
	for (; options->name; options++) {
		cleanup(free) char *left = alloc_printf("%s%c%s--%s%s%s",
			options->letter ? "-" : " ", options->letter ? options->letter : ' ',
			options->letter ? ", " : "  ", options->name, options->value ? " " : "",
			options->value ? options->value : "");
		text_printf(text, "  %-28s  %s\n", left, options->help);
	}
}

void options_help(struct text *text, const struct verb *verb, const char *path)
{
	const char *space = *path ? " " : "";
	if (!verb->verbs) {
		text_printf(text, "usage: berth %s [OPTION...]%s%s\n\n%s.\n", path,
			*verb->arguments ? " " : "", verb->arguments, verb->help);
		help_options(text, "Options:", verb->options);
		help_options(text, "Of every verb:", options_common);
		return;
	}
	text_printf(text, "usage: berth%s%s VERB [OPTION...] [ARGUMENT...]\n\n%s.\n\nVerbs:\n",
		space, path, verb->help);
	for (const struct verb *each = verb->verbs; each->name; each++)
		text_printf(text, "  %-14s%s\n", each->name, each->help);
	text_printf(text, "\nberth%s%s VERB --help tells more of each; so does berth(1).\n", space,
		path);
}
