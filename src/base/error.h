/* SPDX-License-Identifier: Apache-2.0 */
/*
 * error.h - why a call failed, in a sentence, on the caller's stack.
 *
 * A function that can fail returns a negative errno. One whose failure a person must understand also
 * takes `struct error *e` last: filled once where it failed, prefixed on the way up; NULL if nobody
 * listens. Declare it as `struct error e = {};`.
 */
#pragma once

#include "base/base.h"

#define ERROR_TEXT_SIZE 512

struct error {
	char text[ERROR_TEXT_SIZE]; /* "" until it is set; cut if longer */
};

/* Sets the text and returns `code`, a negative errno: `return error_set(e, -EINVAL, "...")`. */
int error_set(struct error *e, int code, const char *format, ...) printf_like(3, 4);

/* Sets the text, ": " and what errno means; returns -errno. */
int error_errno(struct error *e, const char *format, ...) printf_like(2, 3);

/* As error_errno() for a negative errno in hand. */
int error_code(struct error *e, int code, const char *format, ...) printf_like(3, 4);

/* Puts the formatted text and ": " before what stands in *e; returns `code`. */
int error_prefix(struct error *e, int code, const char *format, ...) printf_like(3, 4);
