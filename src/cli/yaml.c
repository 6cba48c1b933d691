/* SPDX-License-Identifier: Apache-2.0 */
/*
 * yaml.c - maps and lists by indentation, strings in quotes where YAML would read something else.
 */
#include "cli/yaml.h"

#include <ctype.h>
#include <string.h>

/* That YAML reads these letters as the string they are. */
static bool is_plain(const char *string)
{
	static const char *const words[] = { "true", "false", "null", "yes", "no", "on", "off",
		"~" };
	if (!isalpha((unsigned char)string[0]) && string[0] != '/' && string[0] != '_')
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(string, words[i]) == 0)
			return false;
	for (const char *c = string; *c; c++) {
		bool is_end = c[1] == '\0' || c[1] == ' ';
		if ((unsigned char)*c < 0x20 || *c == 0x7f || (*c == ':' && is_end) || *c == '#' ||
			*c == '"' || (*c == ' ' && !c[1]))
			return false;
	}
	return true;
}

static void add_string(struct text *text, const char *string)
{
	if (is_plain(string)) {
		text_add(text, string);
		return;
	}
	/* A JSON string is a YAML string. */
	json_t *json = json_string(string);
	char *quoted = json ? json_dumps(json, JSON_ENCODE_ANY) : NULL;
	text_add(text, quoted ? quoted : "\"\"");
	free(quoted);
	json_decref(json);
}

static void add_indent(struct text *text, unsigned depth)
{
	for (unsigned i = 0; i < depth; i++)
		text_add(text, "  ");
}

static void add_value(struct text *text, const json_t *value, unsigned depth, bool is_in_list);

static void add_object(struct text *text, const json_t *object, unsigned depth, bool is_in_list)
{
	char *dump = json_dumps(object, JSON_SORT_KEYS);
	json_t *sorted = dump ? json_loads(dump, 0, NULL) : NULL;
	free(dump);
	bool is_first = true;
	const char *key;
	json_t *member;
	json_object_foreach(sorted, key, member)
	{
		if (!is_first || !is_in_list)
			add_indent(text, depth);
		is_first = false;
		add_string(text, key);
		text_add_char(text, ':');
		add_value(text, member, depth + 1, false);
	}
	json_decref(sorted);
}

static void add_array(struct text *text, const json_t *array, unsigned depth)
{
	size_t i;
	json_t *member;
	json_array_foreach(array, i, member)
	{
		add_indent(text, depth);
		text_add_char(text, '-');
		add_value(text, member, depth + 1, true);
	}
}

/* Behind "key:" or "-"; ends the line. */
static void add_value(struct text *text, const json_t *value, unsigned depth, bool is_in_list)
{
	if (json_is_object(value) && json_object_size(value)) {
		text_add_char(text, is_in_list ? ' ' : '\n');
		add_object(text, value, depth, is_in_list);
		return;
	}
	if (json_is_array(value) && json_array_size(value)) {
		text_add_char(text, '\n');
		add_array(text, value, is_in_list ? depth : depth - 1);
		return;
	}
	text_add_char(text, ' ');
	if (json_is_string(value)) {
		add_string(text, json_string_value(value));
	} else {
		char *dump = json_dumps(value, JSON_ENCODE_ANY);
		text_add(text, dump ? dump : "null");
		free(dump);
	}
	text_add_char(text, '\n');
}

void yaml_print(struct text *text, const json_t *value)
{
	if (json_is_object(value) && json_object_size(value)) {
		add_object(text, value, 0, false);
	} else if (json_is_array(value) && json_array_size(value)) {
		add_array(text, value, 0);
	} else {
		cleanup(text_done) struct text line = {};
		add_value(&line, value, 0, false);
		text_add(text, text_str(&line) + 1);
	}
}
