/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template.c - a template is read once, from left to right, and written while it is read.
 *
 * A part whose condition is false is read all the same, with nothing written: what is wrong in it is found in
 * any case. Every value is a text; what is not there is "", which is false, as "false" and "0" are.
 */
#include "model/template.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "model/json.h"

#define DEPTH_MAX 32
#define WORD_MAX  128

struct reader {
	const char *at;
	const char *end; /* of the tag that is read; NULL outside */
	const char *start;
	const json_t *context;
	struct text *output;
	bool is_quiet;
	bool is_trimming; /* space that comes next is dropped */
	unsigned int depth;
	struct error *e;
};

static int refuse(struct reader *reader, const char *what, const char *name, size_t length)
{
	size_t line = 1;
	for (const char *at = reader->start; at < reader->at; at++)
		line += *at == '\n';
	return error_set(reader->e, -EINVAL, "line %zu: %s%s%.*s%s", line, what,
		length ? " \"" : "", (int)(length > 40 ? 40 : length), name ? name : "",
		length ? "\"" : "");
}

/* -- expressions ---------------------------------------------------------------------------------- */

static void skip_space(struct reader *reader)
{
	while (reader->at < reader->end && isspace((unsigned char)*reader->at))
		reader->at++;
}

static bool take(struct reader *reader, const char *token)
{
	skip_space(reader);
	size_t length = strlen(token);
	if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, token, length) != 0)
		return false;
	/* A word ends where it ends. */
	if (isalpha((unsigned char)token[0]) && reader->at + length < reader->end &&
		(isalnum((unsigned char)reader->at[length]) || reader->at[length] == '_'))
		return false;
	reader->at += length;
	return true;
}

/* Letters, digits and '_'. */
static int read_word(struct reader *reader, char word[WORD_MAX])
{
	size_t length = 0;
	skip_space(reader);
	while (reader->at + length < reader->end && length < WORD_MAX - 1 &&
		(isalnum((unsigned char)reader->at[length]) || reader->at[length] == '_'))
		length++;
	if (length == 0)
		return refuse(reader, "a name or a text is wanted at", reader->at,
			(size_t)(reader->end - reader->at) < 10 ? (size_t)(reader->end - reader->at)
								: 10);
	memcpy(word, reader->at, length);
	word[length] = '\0';
	reader->at += length;
	return 0;
}

static int read_quoted(struct reader *reader, struct text *text)
{
	char quote = *reader->at++;
	while (reader->at < reader->end && *reader->at != quote) {
		if (*reader->at == '\\' && reader->at + 1 < reader->end) {
			char c = *++reader->at;
			text_add_char(text, c == 'n' ? '\n' : c == 't' ? '\t' : c);
		} else {
			text_add_char(text, *reader->at);
		}
		reader->at++;
	}
	if (reader->at == reader->end)
		return refuse(reader, "a quote is not closed", NULL, 0);
	reader->at++;
	return 0;
}

static int read_value(struct reader *reader, char **ret);

static void add_json(struct text *text, const json_t *value)
{
	if (json_is_string(value))
		text_add(text, json_string_value(value));
	else if (json_is_boolean(value))
		text_add(text, json_is_true(value) ? "true" : "false");
	else if (json_is_integer(value))
		text_printf(text, "%lld", (long long)json_integer_value(value));
}

/* config_get("key", "default") */
static int read_call(struct reader *reader, struct text *text)
{
	cleanup(free) char *key = NULL, *otherwise = NULL;
	int r = read_value(reader, &key);
	if (r == 0 && !take(reader, ","))
		r = refuse(reader, "config_get wants a key and a default", NULL, 0);
	if (r == 0)
		r = read_value(reader, &otherwise);
	if (r == 0 && !take(reader, ")"))
		r = refuse(reader, "config_get( is not closed", NULL, 0);
	if (r < 0)
		return r;
	const json_t *value = json_object_get(json_object_get(reader->context, "config"), key);
	const char *found = json_string_value(value);
	text_add(text, found ? found : otherwise);
	return 0;
}

/* container.name, properties["x"], trigger */
static int read_path(struct reader *reader, const char *word, struct text *text)
{
	static const char *const known[] = { "container", "instance", "config", "devices",
		"properties", "path", "trigger", "true", "false" };
	bool is_known = false;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		is_known |= text_equal(known[i], word);
	if (!is_known)
		return refuse(reader, "there is no name", word, strlen(word));
	if (text_equal(word, "true") || text_equal(word, "false")) {
		text_add(text, word);
		return 0;
	}
	const json_t *value = json_object_get(reader->context, word);
	for (;;) {
		char part[WORD_MAX];
		cleanup(free) char *key = NULL;
		int r = 0;
		if (take(reader, ".")) {
			r = read_word(reader, part);
			if (r == 0)
				key = alloc_text(part);
		} else if (take(reader, "[")) {
			r = read_value(reader, &key);
			if (r == 0 && !take(reader, "]"))
				r = refuse(reader, "[ is not closed", NULL, 0);
		} else {
			break;
		}
		if (r < 0)
			return r;
		value = json_object_get(value, key);
	}
	add_json(text, value);
	return 0;
}

static int filter(struct reader *reader, char **value)
{
	char name[WORD_MAX];
	cleanup(free) char *argument = NULL;
	int r = read_word(reader, name);
	if (r == 0 && take(reader, ":"))
		r = read_value(reader, &argument);
	if (r < 0)
		return r;
	if (text_equal(name, "safe"))
		return 0;
	if (text_equal(name, "default") && argument) {
		if (!**value) {
			free(*value);
			*value = TAKE_PTR(argument);
		}
		return 0;
	}
	bool is_lower = text_equal(name, "lower"), is_upper = text_equal(name, "upper");
	if (!is_lower && !is_upper)
		return refuse(reader, "there is no filter", name, strlen(name));
	for (char *at = *value; *at; at++)
		*at = (char)(is_lower ? tolower((unsigned char)*at) : toupper((unsigned char)*at));
	return 0;
}

/* A text, a name or a call, without filters: those are the whole expression's. */
static int read_value(struct reader *reader, char **ret)
{
	cleanup(text_done) struct text text = {};
	char word[WORD_MAX];
	int r;
	if (++reader->depth > DEPTH_MAX)
		return refuse(reader, "it is too deep", NULL, 0);
	skip_space(reader);
	if (reader->at < reader->end && (*reader->at == '"' || *reader->at == '\'')) {
		r = read_quoted(reader, &text);
	} else {
		r = read_word(reader, word);
		if (r == 0 && text_equal(word, "config_get") && take(reader, "("))
			r = read_call(reader, &text);
		else if (r == 0 && isdigit((unsigned char)word[0]))
			text_add(&text, word);
		else if (r == 0)
			r = read_path(reader, word, &text);
	}
	reader->depth--;
	if (r == 0)
		*ret = text_take(&text);
	return r;
}

static int read_filtered(struct reader *reader, char **ret)
{
	cleanup(free) char *value = NULL;
	int r = read_value(reader, &value);
	while (r == 0 && take(reader, "|"))
		r = filter(reader, &value);
	if (r == 0)
		*ret = TAKE_PTR(value);
	return r;
}

static bool is_true(const char *value)
{
	return *value && !text_equal(value, "false") && !text_equal(value, "0");
}

static int read_condition(struct reader *reader, bool *ret);

static int read_comparison(struct reader *reader, bool *ret)
{
	cleanup(free) char *left = NULL, *right = NULL;
	if (++reader->depth > DEPTH_MAX)
		return refuse(reader, "it is too deep", NULL, 0);
	int r;
	if (take(reader, "not") || (take(reader, "!") && !take(reader, "="))) {
		r = read_comparison(reader, ret);
		*ret = !*ret;
	} else if (take(reader, "(")) {
		r = read_condition(reader, ret);
		if (r == 0 && !take(reader, ")"))
			r = refuse(reader, "( is not closed", NULL, 0);
	} else {
		r = read_filtered(reader, &left);
		bool is_equal = r == 0 && take(reader, "==");
		bool is_other = r == 0 && !is_equal && take(reader, "!=");
		if (is_equal || is_other)
			r = read_filtered(reader, &right);
		if (r == 0)
			*ret = right ? text_equal(left, right) == is_equal : is_true(left);
	}
	reader->depth--;
	return r;
}

static int read_condition(struct reader *reader, bool *ret)
{
	bool any = false, all = true, one = false;
	for (;;) {
		int r = read_comparison(reader, &one);
		if (r < 0)
			return r;
		all &= one;
		if (take(reader, "and") || take(reader, "&&"))
			continue;
		any |= all;
		all = true;
		if (!take(reader, "or") && !take(reader, "||"))
			break;
	}
	*ret = any;
	return 0;
}

/* -- the text ------------------------------------------------------------------------------------- */

static int add_output(struct reader *reader, const char *bytes, size_t length)
{
	while (reader->is_trimming && length && isspace((unsigned char)*bytes))
		bytes++, length--;
	if (length)
		reader->is_trimming = false;
	if (reader->is_quiet)
		return 0;
	if (reader->output->length + length > TEMPLATE_BYTES_MAX)
		return refuse(reader, "it becomes too long", NULL, 0);
	text_add_n(reader->output, bytes, length);
	return 0;
}

/* The next tag: its kind ('{', '%', '#'), or 0 at the end; what stands before it is written. */
static int next_tag(struct reader *reader, char *ret_kind)
{
	const char *at = reader->at;
	while ((at = strchr(at, '{')) && at[1] != '{' && at[1] != '%' && at[1] != '#')
		at++;
	size_t length = at ? (size_t)(at - reader->at) : strlen(reader->at);
	/* "{%-" eats the space before it. */
	size_t kept = length;
	while (at && at[2] == '-' && kept && isspace((unsigned char)reader->at[kept - 1]))
		kept--;
	int r = add_output(reader, reader->at, kept);
	if (at && at[2] == '-' && kept == 0)
		while (reader->output->length && !reader->is_quiet &&
			isspace((unsigned char)reader->output->data[reader->output->length - 1]))
			reader->output->data[--reader->output->length] = '\0';
	reader->at += length;
	*ret_kind = '\0';
	if (r < 0 || !at)
		return r;
	const char *const close = at[1] == '{' ? "}}" : at[1] == '%' ? "%}" : "#}";
	bool is_trimmed = at[2] == '-';
	reader->end = at + 2;
	/* A closing mark within quotes closes nothing. */
	for (char quote = '\0'; *reader->end; reader->end++) {
		if (quote && *reader->end == '\\' && reader->end[1])
			reader->end++;
		else if (quote)
			quote = *reader->end == quote ? '\0' : quote;
		else if (strncmp(reader->end, close, 2) == 0)
			break;
		else if (at[1] != '#' && (*reader->end == '"' || *reader->end == '\''))
			quote = *reader->end;
	}
	if (!*reader->end)
		return refuse(reader, "a tag is not closed", NULL, 0);
	*ret_kind = at[1];
	reader->at = at + 2 + is_trimmed;
	if (reader->at > reader->end)
		reader->at = reader->end;
	return 0;
}

/* To behind the tag, whose expression must be over. */
static int end_tag(struct reader *reader)
{
	reader->is_trimming = false;
	if (take(reader, "-") && reader->at == reader->end)
		reader->is_trimming = true;
	skip_space(reader);
	if (reader->at < reader->end)
		return refuse(reader, "this was not expected:", reader->at,
			(size_t)(reader->end - reader->at));
	reader->at = reader->end + 2;
	reader->end = NULL;
	return 0;
}

static int read_part(struct reader *reader, char stop[WORD_MAX]);

/* From behind the condition to behind `endif`. */
static int read_if(struct reader *reader)
{
	bool was_quiet = reader->is_quiet, is_done = false;
	char word[WORD_MAX] = "if";
	while (!text_equal(word, "endif")) {
		bool is_on = true;
		int r = 0;
		if (!text_equal(word, "else"))
			r = read_condition(reader, &is_on);
		if (r == 0)
			r = end_tag(reader);
		if (r < 0)
			return r;
		reader->is_quiet = was_quiet || is_done || !is_on;
		is_done |= is_on;
		bool was_else = text_equal(word, "else");
		r = read_part(reader, word);
		if (r < 0)
			return r;
		if (!text_equal(word, "endif") &&
			(was_else || (!text_equal(word, "else") && !text_equal(word, "elif"))))
			return refuse(reader, "an if ends with endif, not with", word,
				*word ? strlen(word) : 0);
	}
	reader->is_quiet = was_quiet;
	return end_tag(reader);
}

static int read_autoescape(struct reader *reader)
{
	char word[WORD_MAX];
	/* Nothing is ever escaped: what is written is no page of the Web. */
	if (!take(reader, "off"))
		return refuse(reader, "only autoescape off is known", NULL, 0);
	int r = end_tag(reader);
	if (r == 0)
		r = read_part(reader, word);
	if (r == 0 && !text_equal(word, "endautoescape"))
		r = refuse(reader, "autoescape does not end with", word, strlen(word));
	return r < 0 ? r : end_tag(reader);
}

/* Until the end ("" in `stop`) or a tag that ends a part, whose word has been read. */
static int read_part(struct reader *reader, char stop[WORD_MAX])
{
	static const char *const stops[] = { "else", "elif", "endif", "endautoescape" };
	if (++reader->depth > DEPTH_MAX)
		return refuse(reader, "it is too deep", NULL, 0);
	for (;;) {
		char kind;
		int r = next_tag(reader, &kind);
		if (r < 0)
			return r;
		if (!kind) {
			stop[0] = '\0';
			break;
		}
		if (kind == '#') {
			reader->at = reader->end + 2;
			continue;
		}
		if (kind == '{') {
			cleanup(free) char *value = NULL;
			r = read_filtered(reader, &value);
			bool was_trimming = reader->is_trimming;
			reader->is_trimming = false;
			(void)was_trimming;
			if (r == 0)
				r = add_output(reader, value, strlen(value));
			if (r == 0)
				r = end_tag(reader);
			if (r < 0)
				return r;
			continue;
		}
		r = read_word(reader, stop);
		if (r < 0)
			return r;
		bool is_stop = false;
		for (size_t i = 0; i < ARRAY_SIZE(stops); i++)
			is_stop |= text_equal(stops[i], stop);
		if (is_stop)
			break;
		if (text_equal(stop, "if"))
			r = read_if(reader);
		else if (text_equal(stop, "autoescape"))
			r = read_autoescape(reader);
		else
			r = refuse(reader, "there is no tag", stop, strlen(stop));
		if (r < 0)
			return r;
	}
	reader->depth--;
	return 0;
}

int template_render(const char *text, const json_t *context, char **ret, struct error *e)
{
	cleanup(text_done) struct text output = {};
	char stop[WORD_MAX];
	if (strlen(text) > TEMPLATE_BYTES_MAX)
		return error_set(
			e, -E2BIG, "a template has at most %d bytes", (int)TEMPLATE_BYTES_MAX);
	struct reader reader = {
		.at = text, .start = text, .context = context, .output = &output, .e = e
	};
	int r = read_part(&reader, stop);
	if (r == 0 && *stop)
		r = refuse(&reader, "there is nothing to end with", stop, strlen(stop));
	if (r == 0)
		*ret = text_take(&output);
	return r;
}

int template_check(const char *text, struct error *e)
{
	cleanup(free) char *ignored = NULL;
	cleanup(json_decref) json_t *nothing = json_object();
	return template_render(text, nothing, &ignored, e);
}
