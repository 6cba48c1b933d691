/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata.c - YAML events into JSON values.
 */
#include "job/metadata.h"

#include <errno.h>
#include <string.h>
#include <yaml.h>

#include "base/text.h"

#define DEPTH_MAX  20
#define VALUES_MAX 200000

struct reader {
	yaml_parser_t parser;
	unsigned depth;
	unsigned values;
	struct error *e;
};

static int next_event(struct reader *reader, yaml_event_t *event)
{
	if (yaml_parser_parse(&reader->parser, event))
		return 0;
	return error_set(reader->e, -EINVAL, "line %zu: %s", reader->parser.problem_mark.line + 1,
		reader->parser.problem ? reader->parser.problem : "this is no YAML");
}

static int read_value(struct reader *reader, yaml_event_t *event, json_t **ret);

static int scalar_text(struct reader *reader, const yaml_event_t *event, json_t **ret)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t length = event->data.scalar.length;
	bool is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (is_plain && (length == 0 || text_equal(text, "~") || text_equal(text, "null"))) {
		*ret = json_null();
		return 0;
	}
	*ret = memchr(text, '\0', length) ? NULL : json_stringn(text, length);
	if (!*ret)
		return error_set(reader->e, -EINVAL, "line %zu: no text in UTF-8",
			event->start_mark.line + 1);
	return 0;
}

static int read_sequence(struct reader *reader, json_t **ret)
{
	json_t *array = json_array();
	for (;;) {
		yaml_event_t event;
		int r = next_event(reader, &event);
		bool is_end = r == 0 && event.type == YAML_SEQUENCE_END_EVENT;
		json_t *value = NULL;
		if (r == 0 && !is_end)
			r = read_value(reader, &event, &value);
		if (r == 0)
			yaml_event_delete(&event);
		if (is_end) {
			*ret = array;
			return 0;
		}
		if (r < 0) {
			json_decref(array);
			return r;
		}
		json_array_append_new(array, value);
	}
}

static int read_member(struct reader *reader, yaml_event_t *key, json_t *object)
{
	if (key->type != YAML_SCALAR_EVENT)
		return error_set(reader->e, -EINVAL, "line %zu: a key must be a text",
			key->start_mark.line + 1);
	yaml_event_t event;
	int r = next_event(reader, &event);
	if (r < 0)
		return r;
	json_t *value = NULL;
	r = read_value(reader, &event, &value);
	if (r < 0)
		return r;
	yaml_event_delete(&event);
	if (json_object_set_new(object, (const char *)key->data.scalar.value, value) < 0)
		return error_set(reader->e, -EINVAL, "line %zu: a key is no UTF-8",
			key->start_mark.line + 1);
	return 0;
}

static int read_mapping(struct reader *reader, json_t **ret)
{
	json_t *object = json_object();
	for (;;) {
		yaml_event_t event;
		int r = next_event(reader, &event);
		bool is_end = r == 0 && event.type == YAML_MAPPING_END_EVENT;
		if (r == 0 && !is_end) {
			r = read_member(reader, &event, object);
			yaml_event_delete(&event);
		}
		if (r < 0) {
			json_decref(object);
			return r;
		}
		if (is_end) {
			yaml_event_delete(&event);
			*ret = object;
			return 0;
		}
	}
}

/* On failure the event is deleted too. */
static int read_value(struct reader *reader, yaml_event_t *event, json_t **ret)
{
	int r;
	if (++reader->values > VALUES_MAX || reader->depth >= DEPTH_MAX) {
		r = error_set(reader->e, -EINVAL, "too many values or too deep");
	} else {
		reader->depth++;
		if (event->type == YAML_SCALAR_EVENT)
			r = scalar_text(reader, event, ret);
		else if (event->type == YAML_SEQUENCE_START_EVENT)
			r = read_sequence(reader, ret);
		else if (event->type == YAML_MAPPING_START_EVENT)
			r = read_mapping(reader, ret);
		else
			r = error_set(reader->e, -EINVAL,
				"line %zu: a value was expected; references are refused",
				event->start_mark.line + 1);
		reader->depth--;
	}
	if (r < 0)
		yaml_event_delete(event);
	return r;
}

static int read_document(struct reader *reader, json_t **ret)
{
	for (;;) {
		yaml_event_t event;
		int r = next_event(reader, &event);
		if (r < 0)
			return r;
		if (event.type == YAML_MAPPING_START_EVENT) {
			r = read_value(reader, &event, ret);
			if (r == 0)
				yaml_event_delete(&event);
			return r;
		}
		bool is_before = event.type == YAML_STREAM_START_EVENT ||
			event.type == YAML_DOCUMENT_START_EVENT;
		yaml_event_delete(&event);
		if (!is_before)
			return error_set(
				reader->e, -EINVAL, "it must be a mapping of keys to values");
	}
}

int metadata_read(const char *yaml, size_t length, json_t **ret, struct error *e)
{
	struct reader reader = { .e = e };
	if (!yaml_parser_initialize(&reader.parser))
		return error_set(e, -ENOMEM, "no memory to read YAML");
	yaml_parser_set_input_string(&reader.parser, (const unsigned char *)yaml, length);
	int r = read_document(&reader, ret);
	yaml_parser_delete(&reader.parser);
	return r;
}

/* JSON is YAML: texts are written as JSON writes them, so that nothing needs a second set of rules. */
static void write_value(struct text *text, const json_t *value, unsigned depth)
{
	if (!json_is_object(value) || json_object_size(value) == 0 || depth > DEPTH_MAX) {
		cleanup(free) char *flat =
			json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
		text_printf(text, " %s\n", flat ? flat : "null");
		return;
	}
	if (depth > 0)
		text_add(text, "\n");
	const char *key;
	json_t *member;
	json_object_foreach((json_t *)(uintptr_t)value, key, member)
	{
		json_t *key_text = json_string(key);
		cleanup(free) char *quoted = json_dumps(key_text, JSON_ENCODE_ANY);
		json_decref(key_text);
		text_printf(text, "%*s%s:", (int)(2 * depth), "", quoted ? quoted : "\"\"");
		write_value(text, member, depth + 1);
	}
}

char *metadata_write(const json_t *object)
{
	struct text text = {};
	write_value(&text, object, 0);
	return text_take(&text);
}
