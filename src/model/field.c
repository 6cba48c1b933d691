/* SPDX-License-Identifier: Apache-2.0 */
/*
 * field.c - reads a map of strings (a config, a device) into a struct by a table of its fields.
 */
#include "model/field.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "model/json.h"
#include "model/resources.h"

#define KEY_MAX   256   /* bytes */
#define VALUE_MAX 65536 /* bytes; cloud-init's user data is the longest */

static bool field_names(const struct field *field, const char *key)
{
	size_t length = strlen(field->name);
	if (field->name[length - 1] != '*')
		return text_equal(field->name, key);
	return strncmp(key, field->name, length - 1) == 0 && key[length - 1] != '\0';
}

static int number_read(const char *text, uint64_t max, uint64_t *ret, struct error *e)
{
	uint64_t number = 0;
	if (text_to_u64(text, &number) < 0)
		return error_set(e, -EINVAL, "\"%s\" is no number", text);
	if (number > max)
		return error_set(e, -EINVAL, "%s is more than %llu", text, (unsigned long long)max);
	*ret = number;
	return 0;
}

static int octal_read(const char *text, uint64_t max, uint32_t *ret, struct error *e)
{
	uint64_t number = 0;
	for (const char *c = text; *c; c++) {
		if (*c < '0' || *c > '7' || number > max)
			return error_set(e, -EINVAL, "\"%s\" is no mode like 0660", text);
		number = number * 8 + (uint64_t)(*c - '0');
	}
	if (number > max)
		return error_set(e, -EINVAL, "\"%s\" is no mode like 0660", text);
	*ret = (uint32_t)number;
	return 0;
}

static int small_read(const char *text, uint64_t max, uint32_t *ret, struct error *e)
{
	uint64_t number = 0;
	int r = number_read(text, max, &number, e);
	if (r == 0)
		*ret = (uint32_t)number;
	return r;
}

static int seconds_read(const char *text, uint64_t max, uint64_t *ret, struct error *e)
{
	uint64_t seconds = 0;
	int r = number_read(text, max, &seconds, e);
	if (r == 0)
		*ret = seconds * NS_PER_SEC;
	return r;
}

static int field_read(
	const struct field *field, const char *key, const char *text, void *object, struct error *e)
{
	void *at = (char *)object + field->offset;
	switch (field->type) {
	case FIELD_TEXT:
		*(const char **)at = text;
		return 0;
	case FIELD_BOOL:
		return resources_read_bool(text, at, e);
	case FIELD_NUMBER:
		return number_read(text, field->max, at, e);
	case FIELD_SMALL:
		return small_read(text, field->max, at, e);
	case FIELD_BYTES:
		if (text_to_bytes(text, at) < 0)
			return error_set(e, -EINVAL, "\"%s\" is no size like 10GiB", text);
		return 0;
	case FIELD_BITS:
		if (text_to_bits(text, at) < 0)
			return error_set(e, -EINVAL, "\"%s\" is no rate like 100Mbit", text);
		return 0;
	case FIELD_SECONDS:
		return seconds_read(text, field->max, at, e);
	case FIELD_OCTAL:
		return octal_read(text, field->max, at, e);
	case FIELD_READ:
		return field->read(object, key, text, e);
	case FIELD_KEPT:
		return 0;
	case FIELD_REFUSED:
		return error_set(e, -EINVAL, "%s", field->why);
	}
	return error_set(e, -EINVAL, "unknown type of field");
}

static const struct field *field_find(const struct field *fields, size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++) {
		if (field_names(&fields[i], key))
			return &fields[i];
	}
	return NULL;
}

int fields_read(const struct field *fields, size_t count, const json_t *map, const char *path,
	void *object, struct error *e)
{
	if (!map || json_is_null(map))
		return 0;
	if (!json_is_object(map))
		return error_set(e, -EINVAL, "%s: must be an object of strings", path);
	for (void *at = json_object_iter(json_mutable(map)); at;
		at = json_object_iter_next(json_mutable(map), at)) {
		const char *key = json_object_iter_key(at);
		const json_t *value = json_object_iter_value(at);
		if (strlen(key) > KEY_MAX)
			return error_set(
				e, -EINVAL, "%s: a key is longer than %d bytes", path, KEY_MAX);
		if (json_is_null(value))
			continue;
		if (!json_is_string(value))
			return error_set(e, -EINVAL, "%s.%s: must be a string", path, key);
		const char *text = json_string_value(value);
		if (strlen(text) != json_string_length(value) ||
			json_string_length(value) > VALUE_MAX)
			return error_set(e, -EINVAL, "%s.%s: must be a text of at most %d bytes",
				path, key, VALUE_MAX);
		const struct field *field = field_find(fields, count, key);
		if (!field)
			return error_set(e, -EINVAL, "%s.%s: unknown key", path, key);
		if (text[0] == '\0')
			continue;
		int r = field_read(field, key, text, object, e);
		if (r < 0)
			return error_prefix(e, r, "%s.%s", path, key);
	}
	return 0;
}
