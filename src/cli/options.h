/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.h - the contract of a verb of the command line, and the reading of its words.
 *
 * Verbs and options are static tables; help, completion, and the test that the man page has a line for
 * each, are derived from them.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "base/text.h"

struct context;

/* What the shell completes a word with. */
enum words {
	WORDS_NONE,
	WORDS_FILE,
	WORDS_INSTANCE,
	WORDS_IMAGE,
	WORDS_PROFILE,
	WORDS_NETWORK,
	WORDS_POOL,
	WORDS_PROJECT
};

struct option {
	const char *name;  /* "memory": --memory */
	char letter;       /* 'm': -m; '\0': none */
	const char *value; /* what the value is called in the help; NULL: the option is a flag */
	const char *help;  /* half a sentence, no period */
	enum words words;
};

struct verb {
	const char *name;
	const char *arguments;        /* as in the help: "IMAGE [NAME]"; NULL for a noun */
	const char *help;             /* half a sentence, no period */
	const struct verb *verbs;     /* of a noun, up to a verb without a name; else NULL */
	const struct option *options; /* up to one without a name; NULL: none */
	/* The exit status, or a negative errno with *e set. */
	int (*run)(struct context *context, struct error *e);
	unsigned min, max; /* arguments; max 0 with min 0: none */
	/* After that many arguments, the rest are arguments even if they begin with a dash; 0: never. */
	unsigned free_after;
	enum words words; /* what the first argument is */
	bool is_usual;    /* what its noun does when the next word is none of its verbs */
};

#define ARGUMENTS_ANY 1000000U

/* The options of every verb. */
extern const struct option options_common[];

/* What was found in the words of one command; the words are borrowed. */
struct options {
	const struct verb *verb;
	char *path; /* "image import" */
	const char **arguments;
	unsigned argument_count;
	unsigned count_before_dashes; /* arguments before "--"; ARGUMENTS_ANY without one */
	struct option_value {
		const struct option *option;
		const char *value; /* NULL for a flag */
	} * values;
	size_t value_count;
	bool wants_help;
};

void options_done(struct options *options);
static inline void options_done_cleanup(struct options *local)
{
	options_done(local);
}

/*
 * Finds the verb of `words` in the table and reads its options and arguments. -EINVAL with a sentence
 * that says what was meant, as far as one can guess; options->verb and ->path are then as far as it got.
 * With --help, or a noun alone, ->wants_help is set and nothing is checked.
 */
int options_read(struct options *options, const struct verb *verbs, const char *const *words,
	size_t count, struct error *e) must_use;

/* The name must be in the verb's table or in options_common. The last one given wins. */
const char *options_text(const struct options *options, const char *name);
bool options_flag(const struct options *options, const char *name);

/* One after the other: start with *position = 0; NULL when there are no more. */
const char *options_next(const struct options *options, const char *name, size_t *position);

/* How far `a` is from `b`: letters to insert, drop, change or swap; at most `limit` + 1. */
unsigned words_distance(const char *a, const char *b, unsigned limit);

/* Adds the help of a verb or a noun ("" for the program itself, with `verbs` its table). */
void options_help(struct text *text, const struct verb *verb, const char *path);
