/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h - rows of strings as a table for people or as CSV for programs.
 */
#pragma once

#include "base/base.h"
#include "base/text.h"

struct table {
	size_t columns;
	const char **titles; /* borrowed */
	bool *is_number;     /* of a column: aligned right */
	char **cells;        /* rows * columns */
	size_t rows;
};

void table_init(struct table *table, size_t columns);
void table_done(struct table *table);
static inline void table_done_cleanup(struct table *local)
{
	table_done(local);
}

void table_title(struct table *table, size_t column, const char *title, bool is_number);

/* Appends a row of empty cells; table_set() fills one of its cells and owns the string from then on. */
void table_add_row(struct table *table);
void table_set(struct table *table, size_t column, char *cell);

/*
 * Adds the table with its titles, cells made harmless to a terminal. With `width` columns (0: no
 * limit) the widest columns are cut until it fits. `bold` starts and ends the line of titles in bold.
 */
void table_print(const struct table *table, struct text *text, size_t width, bool bold);

/* RFC 4180, without titles. */
void table_print_csv(const struct table *table, struct text *text);
