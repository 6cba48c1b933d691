/* SPDX-License-Identifier: Apache-2.0 */
/*
 * error.c - fills struct error.
 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void printf_like(2, 0)
	set_text(struct error *e, const char *format, va_list args, const char *tail)
{
	char text[ERROR_TEXT_SIZE];
	vsnprintf(text, sizeof(text), format, args);
	if (!*tail) {
		memcpy(e->text, text, sizeof(text));
		return;
	}
	size_t length = strlen(text);
	memcpy(e->text, text, length + 1);
	snprintf(e->text + length, sizeof(e->text) - length, ": %s", tail);
}

static const char *meaning(int code)
{
#ifdef __GLIBC__
	const char *text = strerrordesc_np(code);
	return text ? text : "unknown error";
#else
	return strerror(code); /* musl's is a constant */
#endif
}

int error_set(struct error *e, int code, const char *format, ...)
{
	assert(code < 0);
	if (e) {
		va_list args;
		va_start(args, format);
		set_text(e, format, args, "");
		va_end(args);
	}
	return code;
}

int error_errno(struct error *e, const char *format, ...)
{
	int code = errno ? -errno : -EIO;
	if (e) {
		va_list args;
		va_start(args, format);
		set_text(e, format, args, meaning(-code));
		va_end(args);
	}
	return code;
}

int error_code(struct error *e, int code, const char *format, ...)
{
	assert(code < 0);
	if (e) {
		va_list args;
		va_start(args, format);
		set_text(e, format, args, meaning(-code));
		va_end(args);
	}
	return code;
}

int error_prefix(struct error *e, int code, const char *format, ...)
{
	if (e) {
		char tail[ERROR_TEXT_SIZE];
		memcpy(tail, e->text, sizeof(tail));
		va_list args;
		va_start(args, format);
		set_text(e, format, args, tail);
		va_end(args);
	}
	return code;
}
