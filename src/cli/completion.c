/* SPDX-License-Identifier: Apache-2.0 */
/*
 * completion.c - what the shell may offer next, from the table of verbs.
 *
 * `berth completion bash` prints a small function that asks `berth completion words` each time: so
 * verbs, options and the names of objects are never out of date.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cells.h"
#include "cli/context.h"
#include "cli/verbs.h"

static const char bash_script[] =
	"_berth()\n"
	"{\n"
	"\tlocal IFS=$'\\n'\n"
	"\tCOMPREPLY=($(\"${COMP_WORDS[0]}\" completion words -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" "
	"2>/dev/null))\n"
	"\t[[ ${#COMPREPLY[@]} -gt 0 ]] || compopt -o default\n"
	"\t[[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != */ ]] || compopt -o nospace\n"
	"}\n"
	"complete -F _berth berth\n";

static int bash(struct context *context, struct error *e)
{
	(void)context;
	cleanup(text_done) struct text text = {};
	text_add(&text, bash_script);
	return output_write(&text, e);
}

static void offer(struct text *text, const char *start, const char *word, const char *prefix)
{
	cleanup(free) char *whole = alloc_printf("%s%s", prefix, word);
	if (text_starts(whole, start))
		text_printf(text, "%s\n", whole);
}

/* The names of objects; silent when no daemon answers. */
static void offer_names(
	struct context *context, struct text *text, enum words words, const char *start)
{
	static const struct {
		const char *path, *member;
	} collections[] = {
		[WORDS_NONE] = { NULL, NULL },
		[WORDS_FILE] = { NULL, NULL },
		[WORDS_INSTANCE] = { "/1.0/instances?recursion=1", "name" },
		[WORDS_IMAGE] = { "/1.0/images/aliases?recursion=1", "name" },
		[WORDS_PROFILE] = { "/1.0/profiles?recursion=1", "name" },
		[WORDS_NETWORK] = { "/1.0/networks?recursion=1", "name" },
		[WORDS_POOL] = { "/1.0/storage-pools?recursion=1", "name" },
		[WORDS_PROJECT] = { "/1.0/projects?recursion=1", "name" },
	};
	cleanup(json_decref) json_t *objects = NULL;
	if (!collections[words].path ||
		context_get(context, collections[words].path, &objects, NULL, NULL) < 0)
		return;
	size_t i;
	json_t *object;
	json_array_foreach(objects, i, object)
	{
		const char *name = object_text(object, collections[words].member);
		if (name)
			offer(text, start, name, "");
	}
}

static void offer_options(struct text *text, const struct option *options, const char *start)
{
	for (; options && options->name; options++)
		offer(text, start, options->name, "--");
}

static const struct option *find_option(const struct option *options, const char *word)
{
	for (; options && options->name; options++) {
		bool is_long = text_starts(word, "--") && text_equal(options->name, word + 2);
		bool is_letter =
			word[0] == '-' && word[1] && word[1] == options->letter && !word[2];
		if (is_long || is_letter)
			return options;
	}
	return NULL;
}

/* What the last of the words may become. */
static int words(struct context *context, struct error *e)
{
	unsigned count = context->options.argument_count, i = 0;
	const char *last = count ? context_argument(context, count - 1) : "";
	const struct verb *table = context->verbs, *verb = NULL;
	for (; table && i + 1 < count; i++) {
		const struct verb *found = NULL;
		for (const struct verb *each = table; each->name && !found; each++)
			found = text_equal(each->name, context_argument(context, i)) ? each : NULL;
		if (!found)
			return 0;
		verb = found;
		table = found->verbs;
	}
	cleanup(text_done) struct text text = {};
	if (table) {
		for (const struct verb *each = table; each->name; each++)
			offer(&text, last, each->name, "");
		return output_write(&text, e);
	}
	if (!verb)
		return 0;
	const char *before = count > 1 ? context_argument(context, count - 2) : "";
	const struct option *option = find_option(verb->options, before);
	if (!option)
		option = find_option(options_common, before);
	if (option && option->value) {
		offer_names(context, &text, option->words, last);
	} else if (last[0] == '-') {
		offer_options(&text, verb->options, last);
		offer_options(&text, options_common, last);
	} else {
		offer_names(context, &text, verb->words, last);
	}
	return output_write(&text, e);
}

static void list_verbs(struct text *text, const struct verb *verbs, const char *path)
{
	for (; verbs->name; verbs++) {
		cleanup(free) char *whole =
			*path ? alloc_printf("%s %s", path, verbs->name) : alloc_text(verbs->name);
		if (verbs->verbs) {
			list_verbs(text, verbs->verbs, whole);
			continue;
		}
		text_printf(text, "verb\t%s\t%s\t%s\n", whole, verbs->arguments, verbs->help);
		for (const struct option *o = verbs->options; o && o->name; o++)
			text_printf(text, "option\t%s\t%s\t%c\t%s\t%s\n", whole, o->name,
				o->letter ? o->letter : '-', o->value ? o->value : "", o->help);
	}
}

/* Every verb and option, a line each: for tests and tools. */
static int table(struct context *context, struct error *e)
{
	cleanup(text_done) struct text text = {};
	list_verbs(&text, context->verbs, "");
	for (const struct option *o = options_common; o->name; o++)
		text_printf(&text, "option\t\t%s\t%c\t%s\t%s\n", o->name,
			o->letter ? o->letter : '-', o->value ? o->value : "", o->help);
	return output_write(&text, e);
}

const struct verb completion_verbs[] = {
	{ "bash", "", "print the function that completes in bash", .run = bash },
	{ "words", "[WORD...]", "print what the last word may become", .run = words,
		.max = ARGUMENTS_ANY },
	{ "table", "", "print every verb and option", .run = table },
	{},
};
