/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writer.c - text from pieces into a buffer; what does not fit is left out.
 */
#include "unikernel/writer.h"

#include <stdarg.h>

void writer_bytes(struct writer *w, const char *text, size_t length)
{
	for (size_t i = 0; i < length && w->length < w->size; i++)
		w->to[w->length++] = text[i];
}

static void put_number(struct writer *w, uint64_t number, uint32_t base)
{
	char digits[20];
	size_t start = sizeof(digits);
	do {
		digits[--start] = "0123456789abcdef"[number % base];
		number /= base;
	} while (number);
	writer_bytes(w, digits + start, sizeof(digits) - start);
}

void writer_put(struct writer *w, const char *form, ...)
{
	va_list list;
	va_start(list, form);
	for (; *form; form++) {
		if (*form == '$') {
			put_number(w, va_arg(list, uint64_t), 10);
		} else if (*form == '#') {
			put_number(w, va_arg(list, uint64_t), 16);
		} else if (*form == '@') {
			const char *text = va_arg(list, const char *);
			writer_bytes(w, text, strlen(text));
		} else {
			writer_bytes(w, form, 1);
		}
	}
	va_end(list);
}
