/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cells.c - columns from JSON.
 */
#include "cli/cells.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/file.h"
#include "cli/format.h"
#include "cli/table.h"
#include "cli/yaml.h"

json_t *object_at(const json_t *object, const char *path)
{
	char name[128];
	while (object && *path) {
		size_t length = strcspn(path, "/");
		if (length >= sizeof(name))
			return NULL;
		memcpy(name, path, length);
		name[length] = '\0';
		object = json_object_get(object, name);
		path += length + (path[length] == '/');
	}
	return (json_t *)(uintptr_t)object;
}

const char *object_text(const json_t *object, const char *path)
{
	return json_string_value(object_at(object, path));
}

json_int_t object_number(const json_t *object, const char *path)
{
	return json_integer_value(object_at(object, path));
}

static void add_plain(struct text *text, const json_t *value)
{
	if (json_is_string(value)) {
		text_add(text, json_string_value(value));
	} else if (value && !json_is_null(value)) {
		char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
		text_add(text, dump ? dump : "");
		free(dump);
	}
}

static void add_last_part(struct text *text, const char *url)
{
	const char *slash = strrchr(url, '/');
	slash = slash ? slash + 1 : url;
	text_add_n(text, slash, strcspn(slash, "?"));
}

static void add_form(struct text *text, const json_t *value, enum cell_form form)
{
	char buffer[TEXT_SIZE_MAX];
	size_t i;
	json_t *each;
	switch (form) {
	case CELL_TEXT:
		add_plain(text, value);
		break;
	case CELL_BYTES:
		if (json_integer_value(value) > 0)
			text_add(text,
				text_format_bytes((uint64_t)json_integer_value(value), buffer));
		break;
	case CELL_TIME:
		format_time(text, json_string_value(value));
		break;
	case CELL_COUNT:
		text_printf(text, "%zu", json_is_array(value) ? json_array_size(value) : 0);
		break;
	case CELL_LIST:
		json_array_foreach(value, i, each)
		{
			if (i)
				text_add_char(text, ' ');
			add_plain(text, each);
		}
		break;
	case CELL_YES:
		text_add(text, json_is_true(value) ? "yes" : "no");
		break;
	case CELL_LAST_PART:
		if (json_is_string(value))
			add_last_part(text, json_string_value(value));
		break;
	}
}

static char *cell_of(const struct column *column, const json_t *object)
{
	if (column->make)
		return column->make(object);
	struct text text = {};
	add_form(&text, object_at(object, column->path), column->form);
	return text_take(&text);
}

/* The column of that name, or the only one that begins so. */
static const struct column *find_column(
	const struct column *columns, const char *name, size_t length)
{
	const struct column *found = NULL;
	size_t count = 0;
	for (; columns->name; columns++) {
		if (!length || strncmp(columns->name, name, length) != 0)
			continue;
		if (!columns->name[length])
			return columns;
		found = columns;
		count++;
	}
	return count == 1 ? found : NULL;
}

static int unknown_column(
	const struct column *columns, const char *name, size_t length, struct error *e)
{
	cleanup(text_done) struct text known = {};
	for (; columns->name; columns++)
		text_printf(&known, "%s%s", known.length ? ", " : "", columns->name);
	return error_set(e, -EINVAL, "--columns: there is no column '%.*s'; there are: %s",
		(int)length, name, text_str(&known));
}

/* The columns to show, up to a NULL; the caller owns the array. */
static int choose_columns(const struct column *columns, const char *names,
	const struct column ***ret, struct error *e)
{
	size_t count = names ? strlen(names) + 1 : 0;
	for (const struct column *each = columns; each->name; each++)
		count++;
	cleanup(free) const struct column **chosen = alloc_array(count + 1, const struct column *);
	size_t used = 0;
	for (; !names && columns->name; columns++)
		if (!columns->is_extra)
			chosen[used++] = columns;
	for (const char *name = names; name && *name;) {
		size_t length = strcspn(name, ",");
		chosen[used] = find_column(columns, name, length);
		if (!chosen[used++])
			return unknown_column(columns, name, length, e);
		name += length + (name[length] == ',');
	}
	*ret = TAKE_PTR(chosen);
	return 0;
}

struct row {
	char *key;
	json_t *object;
};

static int by_first(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	return strverscmp(x->key, y->key);
}

/* The array again, in the order of the first column. */
static json_t *sorted(const struct column *column, json_t *array)
{
	size_t count = json_array_size(array);
	cleanup(free) struct row *rows = alloc_array(count + 1, struct row);
	for (size_t i = 0; i < count; i++) {
		rows[i].object = json_array_get(array, i);
		rows[i].key = cell_of(column, rows[i].object);
	}
	qsort(rows, count, sizeof(*rows), by_first);
	json_t *result = json_array();
	for (size_t i = 0; i < count; i++) {
		json_array_append(result, rows[i].object);
		free(rows[i].key);
	}
	return result;
}

size_t output_width(const struct context *context)
{
	struct winsize size = {};
	if (!context->is_terminal || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
		return 0;
	return size.ws_col;
}

bool output_is_bold(const struct context *context)
{
	const char *off = getenv("NO_COLOR");
	const char *terminal = getenv("TERM");
	return context->is_terminal && !(off && *off) && terminal && !text_equal(terminal, "dumb");
}

int output_write(const struct text *text, struct error *e)
{
	if (fflush(stdout) != 0)
		return error_errno(e, "write standard output");
	int r = file_write_all(STDOUT_FILENO, text_str(text), text->length);
	return r < 0 ? error_code(e, r, "write standard output") : 0;
}

static void add_json(struct text *text, const json_t *value)
{
	char *dump = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_SORT_KEYS);
	text_add(text, dump ? dump : "null");
	text_add_char(text, '\n');
	free(dump);
}

enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV };

static int format_of(const struct context *context, enum format *ret, struct error *e)
{
	static const char *const names[] = { "table", "json", "csv" };
	const char *format = options_text(&context->options, "format");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!format || text_equal(format, names[i])) {
			*ret = format ? (enum format)i : FORMAT_TABLE;
			return 0;
		}
	return error_set(e, -EINVAL, "--format: '%s' is none of table, json, csv", format);
}

static bool has_columns_option(const struct context *context)
{
	for (const struct option *o = context->options.verb->options; o && o->name; o++)
		if (text_equal(o->name, "columns"))
			return true;
	return false;
}

int cells_print(
	struct context *context, const struct column *columns, json_t *array, struct error *e)
{
	enum format format = FORMAT_TABLE;
	int r = format_of(context, &format, e);
	if (r < 0)
		return r;
	const char *names =
		has_columns_option(context) ? options_text(&context->options, "columns") : NULL;
	cleanup(free) const struct column **chosen = NULL;
	r = choose_columns(columns, names, &chosen, e);
	if (r < 0)
		return r;

	cleanup(text_done) struct text text = {};
	cleanup(json_decref) json_t *rows = sorted(columns, array);
	if (format == FORMAT_JSON) {
		add_json(&text, rows);
		return output_write(&text, e);
	}
	size_t count = 0;
	while (chosen[count])
		count++;
	cleanup(table_done) struct table table;
	table_init(&table, count);
	for (size_t i = 0; i < count; i++)
		table_title(&table, i, chosen[i]->title,
			chosen[i]->form == CELL_BYTES || chosen[i]->form == CELL_COUNT);
	size_t index;
	json_t *object;
	json_array_foreach(rows, index, object)
	{
		table_add_row(&table);
		for (size_t i = 0; i < count; i++)
			table_set(&table, i, cell_of(chosen[i], object));
	}
	if (format == FORMAT_CSV)
		table_print_csv(&table, &text);
	else
		table_print(&table, &text, output_width(context), output_is_bold(context));
	return output_write(&text, e);
}

int cells_list(
	struct context *context, const struct column *columns, const char *path, struct error *e)
{
	cleanup(json_decref) json_t *array = NULL;
	int r = context_get(context, path, &array, NULL, e);
	return r < 0 ? r : cells_print(context, columns, array, e);
}

static void add_leaves(struct table *table, const char *path, const json_t *value)
{
	if (json_is_object(value)) {
		const char *key;
		json_t *member;
		json_object_foreach((json_t *)(uintptr_t)value, key, member)
		{
			cleanup(free) char *below =
				*path ? alloc_printf("%s/%s", path, key) : alloc_text(key);
			add_leaves(table, below, member);
		}
		return;
	}
	struct text text = {};
	add_plain(&text, value);
	table_add_row(table);
	table_set(table, 0, alloc_text(path));
	table_set(table, 1, text_take(&text));
}

int object_print(struct context *context, const json_t *object, struct error *e)
{
	enum format format = FORMAT_TABLE;
	int r = format_of(context, &format, e);
	if (r < 0)
		return r;
	cleanup(text_done) struct text text = {};
	cleanup(table_done) struct table table;
	table_init(&table, 2);
	switch (format) {
	case FORMAT_JSON:
		add_json(&text, object);
		break;
	case FORMAT_CSV:
		add_leaves(&table, "", object);
		table_print_csv(&table, &text);
		break;
	case FORMAT_TABLE:
		yaml_print(&text, object);
		break;
	}
	return output_write(&text, e);
}
