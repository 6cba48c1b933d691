/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base.c - allocation that cannot fail, and allocation that may.
 */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void *or_abort(void *memory)
{
	if (!memory) {
		static const char message[] = "out of memory\n";
		(void)!write(STDERR_FILENO, message, sizeof(message) - 1);
		abort();
	}
	return memory;
}

void *alloc_zeroed(size_t count, size_t size)
{
	return or_abort(calloc(count ? count : 1, size));
}

void *alloc_resize(void *old, size_t count, size_t size)
{
	return or_abort(reallocarray(old, count ? count : 1, size));
}

char *alloc_text(const char *text)
{
	return text ? or_abort(strdup(text)) : NULL;
}

char *alloc_text_n(const char *text, size_t length)
{
	return text ? or_abort(strndup(text, length)) : NULL;
}

char *alloc_printf(const char *format, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, format);
	int length = vasprintf(&text, format, args);
	va_end(args);
	return or_abort(length < 0 ? NULL : text);
}

void *alloc_try(size_t count, size_t size, size_t limit_bytes)
{
	size_t total;
	if (__builtin_mul_overflow(count, size, &total) || total > limit_bytes)
		return NULL;
	return calloc(count ? count : 1, size);
}
