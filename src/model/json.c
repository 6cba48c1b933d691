/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.c - checked reading of JSON.
 */
#include "model/json.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

static const char *type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a text";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	case JSON_NULL:
		break;
	}
	return "null";
}

static int wrong_type(const char *path, const char *field, const json_t *value, const char *wanted,
	struct error *e)
{
	return error_set(e, -EINVAL, "%s%s%s: %s is wanted, not %s", path, *path ? "." : "", field,
		wanted, type_name(value));
}

/* The field, NULL if it is absent or null. */
static json_t *find(const json_t *object, const char *field)
{
	json_t *value = json_object_get(object, field);
	return json_is_null(value) ? NULL : value;
}

int json_parse(const char *text, size_t length, json_t **ret, struct error *e)
{
	json_error_t wrong;
	json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &wrong);
	if (!json)
		return error_set(e, -EINVAL, "not JSON: line %d, column %d: %s", wrong.line,
			wrong.column, wrong.text);
	*ret = json;
	return 0;
}

int json_read_known(
	const json_t *object, const char *path, const char *const *known, struct error *e)
{
	for (void *at = json_object_iter(json_mutable(object)); at;
		at = json_object_iter_next(json_mutable(object), at)) {
		const char *field = json_object_iter_key(at);
		size_t i = 0;
		while (known[i] && !text_equal(known[i], field))
			i++;
		if (!known[i])
			return error_set(e, -EINVAL, "%s%s%.128s: there is no such field", path,
				*path ? "." : "", field);
	}
	return 0;
}

int json_read_text(const json_t *object, const char *path, const char *field, const char **ret,
	struct error *e)
{
	const json_t *value = find(object, field);
	if (!value)
		return 0;
	if (!json_is_string(value))
		return wrong_type(path, field, value, "a text", e);
	/* Jansson takes \u0000 only if it is asked to, so the length is strlen(). */
	*ret = json_string_value(value);
	return 0;
}

int json_require_text(const json_t *object, const char *path, const char *field, const char **ret,
	struct error *e)
{
	const char *text = NULL;
	int r = json_read_text(object, path, field, &text, e);
	if (r < 0)
		return r;
	if (!text || !*text)
		return error_set(e, -EINVAL, "%s%s%s: is missing", path, *path ? "." : "", field);
	*ret = text;
	return 0;
}

int json_read_bool(
	const json_t *object, const char *path, const char *field, bool *ret, struct error *e)
{
	const json_t *value = find(object, field);
	if (!value)
		return 0;
	if (!json_is_boolean(value))
		return wrong_type(path, field, value, "true or false", e);
	*ret = json_is_true(value);
	return 0;
}

int json_read_i64(
	const json_t *object, const char *path, const char *field, int64_t *ret, struct error *e)
{
	const json_t *value = find(object, field);
	if (!value)
		return 0;
	if (!json_is_integer(value))
		return json_is_real(value)
			? error_set(e, -EINVAL, "%s%s%s: a whole number is wanted", path,
				  *path ? "." : "", field)
			: wrong_type(path, field, value, "a number", e);
	*ret = json_integer_value(value);
	return 0;
}

int json_read_u64(
	const json_t *object, const char *path, const char *field, uint64_t *ret, struct error *e)
{
	int64_t number = -1;
	if (!find(object, field))
		return 0;
	int r = json_read_i64(object, path, field, &number, e);
	if (r < 0)
		return r;
	if (number < 0)
		return error_set(e, -EINVAL, "%s%s%s: a number from 0 up is wanted", path,
			*path ? "." : "", field);
	*ret = (uint64_t)number;
	return 0;
}

int json_read_object(
	const json_t *object, const char *path, const char *field, json_t **ret, struct error *e)
{
	json_t *value = find(object, field);
	if (!value)
		return 0;
	if (!json_is_object(value))
		return wrong_type(path, field, value, "an object", e);
	*ret = value;
	return 0;
}

int json_read_array(
	const json_t *object, const char *path, const char *field, json_t **ret, struct error *e)
{
	json_t *value = find(object, field);
	if (!value)
		return 0;
	if (!json_is_array(value))
		return wrong_type(path, field, value, "a list", e);
	*ret = value;
	return 0;
}

int json_read_text_map(
	const json_t *object, const char *path, const char *field, json_t **ret, struct error *e)
{
	json_t *map = NULL;
	int r = json_read_object(object, path, field, &map, e);
	if (r < 0 || !map)
		return r;
	const char *key;
	const json_t *value;
	json_object_foreach(map, key, value)
	{
		if (!json_is_string(value))
			return error_set(e, -EINVAL, "%s%s%s.%.128s: a text is wanted, not %s",
				path, *path ? "." : "", field, key, type_name(value));
	}
	*ret = map;
	return 0;
}

int json_read_text_array(
	const json_t *object, const char *path, const char *field, json_t **ret, struct error *e)
{
	json_t *array = NULL;
	int r = json_read_array(object, path, field, &array, e);
	if (r < 0 || !array)
		return r;
	size_t i;
	const json_t *value;
	json_array_foreach(array, i, value)
	{
		if (!json_is_string(value))
			return error_set(e, -EINVAL, "%s%s%s[%zu]: a text is wanted, not %s", path,
				*path ? "." : "", field, i, type_name(value));
	}
	*ret = array;
	return 0;
}

const char *json_text(const json_t *object, const char *field)
{
	return json_string_value(json_object_get(object, field));
}

void json_set_text(json_t *object, const char *field, const char *value)
{
	json_object_set_new(object, field, json_string(value ? value : ""));
}

void json_set_u64(json_t *object, const char *field, uint64_t value)
{
	json_object_set_new(
		object, field, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}

void json_set_bool(json_t *object, const char *field, bool value)
{
	json_object_set_new(object, field, json_boolean(value));
}

static json_t *joined(const json_t *map, const json_t *change, bool drops_empty)
{
	json_t *result = json_copy(json_mutable(map));
	for (void *at = json_object_iter(json_mutable(change)); at;
		at = json_object_iter_next(json_mutable(change), at)) {
		const char *key = json_object_iter_key(at);
		json_t *value = json_object_iter_value(at);
		if (drops_empty && json_is_string(value) && json_string_length(value) == 0)
			json_object_del(result, key);
		else
			json_object_set(result, key, value);
	}
	return result;
}

json_t *json_patched(const json_t *object, const json_t *change)
{
	json_t *result = json_copy(json_mutable(object));
	for (void *at = json_object_iter(json_mutable(change)); at;
		at = json_object_iter_next(json_mutable(change), at)) {
		const char *key = json_object_iter_key(at);
		json_t *value = json_object_iter_value(at);
		const json_t *old = json_object_get(object, key);
		bool is_config = text_equal(key, "config");
		if (json_is_object(value) && json_is_object(old) &&
			(is_config || text_equal(key, "devices")))
			json_object_set_new(result, key, joined(old, value, is_config));
		else if (!json_is_null(value))
			json_object_set(result, key, value);
	}
	return result;
}
