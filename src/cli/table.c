/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.c - columns as wide as their widest cell, narrower where the terminal is.
 */
#include "cli/table.h"

#include <string.h>

#include "cli/format.h"

#define GAP          2 /* columns between two cells */
#define NARROW_LIMIT 8 /* no column is cut below */

void table_init(struct table *table, size_t columns)
{
	*table = (struct table){
		.columns = columns,
		.titles = alloc_array(columns + 1, const char *),
		.is_number = alloc_array(columns + 1, bool),
	};
}

void table_done(struct table *table)
{
	for (size_t i = 0; i < table->rows * table->columns; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table->titles);
	free(table->is_number);
	*table = (struct table){};
}

void table_title(struct table *table, size_t column, const char *title, bool is_number)
{
	assert(column < table->columns);
	table->titles[column] = title;
	table->is_number[column] = is_number;
}

void table_add_row(struct table *table)
{
	size_t old = table->rows * table->columns;
	table->rows++;
	/* Doubled at each power of two: thousands of rows are common. */
	if ((table->rows & (table->rows - 1)) == 0)
		table->cells = alloc_resize(
			table->cells, 2 * table->rows * table->columns + 1, sizeof(*table->cells));
	for (size_t i = 0; i < table->columns; i++)
		table->cells[old + i] = NULL;
}

void table_set(struct table *table, size_t column, char *cell)
{
	assert(table->rows && column < table->columns);
	char **place = &table->cells[(table->rows - 1) * table->columns + column];
	free(*place);
	*place = cell;
}

static const char *cell_at(const struct table *table, size_t row, size_t column)
{
	const char *cell = table->cells[row * table->columns + column];
	return cell ? cell : "";
}

/* Takes columns off the widest until all fit or nothing more can be taken. */
static void narrow(size_t *widths, size_t columns, size_t width)
{
	size_t total = columns ? (columns - 1) * GAP : 0;
	for (size_t i = 0; i < columns; i++)
		total += widths[i];
	while (total > width) {
		size_t widest = 0;
		for (size_t i = 1; i < columns; i++)
			if (widths[i] > widths[widest])
				widest = i;
		if (!columns || widths[widest] <= NARROW_LIMIT)
			return;
		widths[widest]--;
		total--;
	}
}

/* Nobody sees spaces at the end of a line, but programs that compare lines do. */
static void end_line(struct text *text)
{
	while (text->length && text->data[text->length - 1] == ' ')
		text->data[--text->length] = '\0';
	text_add_char(text, '\n');
}

static void add_padded(
	struct text *text, const char *cell, size_t width, bool is_number, bool is_last)
{
	size_t shown = format_width(cell);
	size_t padding = shown < width ? width - shown : 0;
	for (size_t i = 0; is_number && i < padding; i++)
		text_add_char(text, ' ');
	format_clean(text, cell, width);
	for (size_t i = 0; !is_number && !is_last && i < padding; i++)
		text_add_char(text, ' ');
	if (!is_last)
		text_add(text, "  ");
}

void table_print(const struct table *table, struct text *text, size_t width, bool bold)
{
	cleanup(free) size_t *widths = alloc_array(table->columns + 1, size_t);
	for (size_t column = 0; column < table->columns; column++) {
		widths[column] = format_width(table->titles[column]);
		for (size_t row = 0; row < table->rows; row++) {
			size_t cell = format_width(cell_at(table, row, column));
			widths[column] = cell > widths[column] ? cell : widths[column];
		}
	}
	if (width)
		narrow(widths, table->columns, width);

	if (bold)
		text_add(text, "\033[1m");
	for (size_t column = 0; column < table->columns; column++)
		add_padded(text, table->titles[column], widths[column], table->is_number[column],
			column + 1 == table->columns);
	text_add(text, bold ? "\033[0m\n" : "\n");
	for (size_t row = 0; row < table->rows; row++) {
		for (size_t column = 0; column < table->columns; column++)
			add_padded(text, cell_at(table, row, column), widths[column],
				table->is_number[column], column + 1 == table->columns);
		end_line(text);
	}
}

static void add_csv(struct text *text, const char *cell)
{
	if (!cell[strcspn(cell, ",\"\r\n")]) {
		text_add(text, cell);
		return;
	}
	text_add_char(text, '"');
	for (; *cell; cell++) {
		if (*cell == '"')
			text_add_char(text, '"');
		text_add_char(text, *cell);
	}
	text_add_char(text, '"');
}

void table_print_csv(const struct table *table, struct text *text)
{
	for (size_t row = 0; row < table->rows; row++)
		for (size_t column = 0; column < table->columns; column++) {
			add_csv(text, cell_at(table, row, column));
			text_add_char(text, column + 1 == table->columns ? '\n' : ',');
		}
}
