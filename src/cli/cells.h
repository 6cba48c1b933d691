/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cells.h - objects of the API as rows of a table, CSV or JSON.
 */
#pragma once

#include <jansson.h>

#include "cli/context.h"

/* How a value is written. */
enum cell_form {
	CELL_TEXT,
	CELL_BYTES,
	CELL_TIME,
	CELL_COUNT,
	CELL_LIST,
	CELL_YES,
	CELL_LAST_PART
};

struct column {
	const char *name;  /* for --columns */
	const char *title; /* as shown */
	const char *path;  /* of the value: "config/limits.cpu" */
	enum cell_form form;
	bool is_extra; /* only with --columns */
	/* Instead of path and form; the caller owns the string. */
	char *(*make)(const json_t *object);
};

/* The options of a verb that prints such a list. */
#define OPTION_FORMAT \
	{ \
		"format", 'f', "FORMAT", "table (for people), json or csv" \
	}
#define OPTION_COLUMNS \
	{ \
		"columns", '\0', "NAMES", \
			"these columns, separated by commas; a unique beginning is enough" \
	}

/* The value at a path of member names separated by '/', or NULL. */
json_t *object_at(const json_t *object, const char *path);
/* The string there, or NULL. */
const char *object_text(const json_t *object, const char *path);
/* The number there, or 0. */
json_int_t object_number(const json_t *object, const char *path);

/*
 * Prints the array (sorted by the first column) in the format that --format asks for; `columns` end with
 * one without a name. -EINVAL for an unknown format or column.
 */
int cells_print(struct context *context, const struct column *columns, json_t *array,
	struct error *e) must_use;
/* The same with the array that a GET of `path` answers. */
int cells_list(struct context *context, const struct column *columns, const char *path,
	struct error *e) must_use;

/* One object: YAML for people, JSON with --format json, "key,value" lines with csv. */
int object_print(struct context *context, const json_t *object, struct error *e) must_use;

/* The width to print tables for: of the terminal, or 0. */
size_t output_width(const struct context *context);
bool output_is_bold(const struct context *context);

/* Writes all to standard output at once, so that a failure before it leaves nothing there. */
int output_write(const struct text *text, struct error *e) must_use;
