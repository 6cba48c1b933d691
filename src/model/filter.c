/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.c - the filter language of the API.
 */
#include "model/filter.h"

#include <errno.h>
#include <inttypes.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

struct clause {
	bool is_or; /* joined to what is before it by `or` */
	bool is_negated;
	char *field;
	char *value;
	bool has_regex;
	regex_t regex;
};

struct filter {
	struct clause clauses[FILTER_CLAUSES_MAX];
	size_t count;
};

void filter_free(struct filter *filter)
{
	if (!filter)
		return;
	for (size_t i = 0; i < filter->count; i++) {
		free(filter->clauses[i].field);
		free(filter->clauses[i].value);
		if (filter->clauses[i].has_regex)
			regfree(&filter->clauses[i].regex);
	}
	free(filter);
}

/* The next word, NULL at the end; the caller owns it. */
static char *next_word(const char **at)
{
	*at += strspn(*at, " \t");
	size_t length = strcspn(*at, " \t");
	if (length == 0)
		return NULL;
	char *word = alloc_text_n(*at, length);
	*at += length;
	return word;
}

/* A word, or what stands between quotes. */
static int next_value(const char **at, char **ret, struct error *e)
{
	*at += strspn(*at, " \t");
	char quote = **at;
	if (quote != '"' && quote != '\'') {
		*ret = next_word(at);
		return *ret ? 0 : error_set(e, -EINVAL, "filter: a value is missing at the end");
	}
	const char *start = *at + 1;
	const char *end = strchr(start, quote);
	if (!end)
		return error_set(e, -EINVAL, "filter: a quote is not closed");
	*ret = alloc_text_n(start, (size_t)(end - start));
	*at = end + 1;
	return 0;
}

static int compile(struct clause *clause, struct error *e)
{
	if (strlen(clause->value) > FILTER_VALUE_MAX)
		return error_set(
			e, -EINVAL, "filter: a value of more than %d bytes", FILTER_VALUE_MAX);
	/* Repetition counts are the way to make a regular expression that needs all memory. */
	if (strchr(clause->value, '{'))
		return 0;
	bool has_anchor = strpbrk(clause->value, "^$") != NULL;
	cleanup(free) char *pattern =
		has_anchor ? alloc_text(clause->value) : alloc_printf("^(%s)$", clause->value);
	clause->has_regex = regcomp(&clause->regex, pattern, REG_EXTENDED | REG_NOSUB) == 0;
	return 0;
}

/* Reads one clause into the next place of `filter`. */
static int parse_clause(struct filter *filter, const char **at, bool is_or, struct error *e)
{
	if (filter->count == FILTER_CLAUSES_MAX)
		return error_set(e, -EINVAL, "filter: more than %d clauses", FILTER_CLAUSES_MAX);
	struct clause *clause = &filter->clauses[filter->count++];
	clause->is_or = is_or;
	clause->field = next_word(at);
	if (clause->field && strcasecmp(clause->field, "not") == 0) {
		clause->is_negated = true;
		free(clause->field);
		clause->field = next_word(at);
	}
	if (!clause->field)
		return error_set(e, -EINVAL, "filter: a field is missing at the end");
	cleanup(free) char *operator= next_word(at);
	if (!operator)
		return error_set(
			e, -EINVAL, "filter: \"%.64s\" needs eq or ne and a value", clause->field);
	if (strcasecmp(operator, "ne") == 0)
		clause->is_negated = !clause->is_negated;
	else if (strcasecmp(operator, "eq") != 0)
		return error_set(e, -EINVAL, "filter: \"%.64s\" is not eq or ne", operator);
	int r = next_value(at, &clause->value, e);
	return r < 0 ? r : compile(clause, e);
}

int filter_parse(const char *text, struct filter **ret, struct error *e)
{
	cleanup(filter_free) struct filter *filter = alloc(struct filter);
	bool is_or = false;
	text += strspn(text, " \t");
	while (*text) {
		int r = parse_clause(filter, &text, is_or, e);
		if (r < 0)
			return r;
		cleanup(free) char *join = next_word(&text);
		if (!join)
			break;
		is_or = strcasecmp(join, "or") == 0;
		if (!is_or && strcasecmp(join, "and") != 0)
			return error_set(e, -EINVAL, "filter: \"%.64s\" is not and or or", join);
		text += strspn(text, " \t");
		if (!*text)
			return error_set(e, -EINVAL, "filter: nothing follows \"%s\"", join);
	}
	*ret = TAKE_PTR(filter);
	return 0;
}

/* A map's key may have dots, so the whole of the path is tried first at each step. */
static const json_t *find(const json_t *object, const char *path)
{
	while (json_is_object(object)) {
		const json_t *value = json_object_get(object, path);
		if (value)
			return value;
		const char *dot = strchr(path, '.');
		if (!dot)
			return NULL;
		cleanup(free) char *part = alloc_text_n(path, (size_t)(dot - path));
		object = json_object_get(object, part);
		path = dot + 1;
	}
	return NULL;
}

static bool clause_matches(const struct clause *clause, const json_t *object)
{
	const json_t *value = find(object, clause->field);
	char number[32];
	const char *text = NULL;
	if (json_is_string(value))
		text = json_string_value(value);
	else if (json_is_boolean(value))
		text = json_is_true(value) ? "true" : "false";
	else if (json_is_integer(value)) {
		snprintf(
			number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		text = number;
	}
	if (!text)
		return false;
	if (clause->has_regex)
		return regexec(&clause->regex, text, 0, NULL, 0) == 0;
	return text_equal(text, clause->value);
}

bool filter_matches(const struct filter *filter, const json_t *object)
{
	bool matches = true;
	for (size_t i = 0; i < filter->count; i++) {
		const struct clause *clause = &filter->clauses[i];
		bool is_true = clause_matches(clause, object) != clause->is_negated;
		matches = clause->is_or ? matches || is_true : matches && is_true;
	}
	return matches;
}
