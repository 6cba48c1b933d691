/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h - strings that grow, numbers and sizes read strictly and written for people.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/* A string that grows. Start with `cleanup(text_done) struct text text = {};`. */
struct text {
	char *data; /* NUL-terminated once anything was added, NULL before */
	size_t length;
	size_t size;
};

void text_done(struct text *text);
static inline void text_done_cleanup(struct text *local)
{
	text_done(local);
}

void text_add(struct text *text, const char *more);
void text_add_n(struct text *text, const void *more, size_t length);
void text_add_char(struct text *text, char c);
void text_printf(struct text *text, const char *format, ...) printf_like(2, 3);

/* The string, "" if nothing was added; the caller owns it and `text` is empty again. */
char *text_take(struct text *text) must_use;

/* The string, borrowed; "" if nothing was added. */
const char *text_str(const struct text *text);

/* NULL equals NULL only. */
bool text_equal(const char *a, const char *b);
bool text_starts(const char *text, const char *start);
bool text_ends(const char *text, const char *end);

/*
 * Strict decimal: the whole string, no sign for u64, no space. -EINVAL if it is not a number,
 * -ERANGE if it is too large.
 */
int text_to_u64(const char *text, uint64_t *ret) must_use;
int text_to_i64(const char *text, int64_t *ret) must_use;

/*
 * A size in bytes: a number and one of B kB MB GB TB PB EB (powers of 1000), KiB MiB GiB TiB PiB EiB
 * (powers of 1024), or none. -EINVAL, or -ERANGE over 2^63 - 1.
 */
int text_to_bytes(const char *text, uint64_t *ret) must_use;

/*
 * A network rate in bits a second: a number and one of bit kbit Mbit Gbit Tbit (1000) or Kibit Mibit
 * Gibit (1024), or none. Errors as text_to_bytes().
 */
int text_to_bits(const char *text, uint64_t *ret) must_use;

/* A duration in ns: a number and one of ns us ms s m h d, or none for seconds. */
int text_to_ns(const char *text, uint64_t *ret) must_use;

/* "1.50GiB", "512B": at most TEXT_SIZE_MAX bytes with the NUL; returns `buffer`. */
#define TEXT_SIZE_MAX 24
char *text_format_bytes(uint64_t bytes, char buffer[TEXT_SIZE_MAX]);

/* Lower-case hex of `count` bytes into `hex`, which holds 2 * count + 1. */
void text_hex(const void *bytes, size_t count, char *hex);

/* The reverse; -EINVAL if `hex` is not exactly 2 * count hex digits. */
int text_from_hex(const char *hex, void *bytes, size_t count) must_use;

/* 2 * bytes hex digits from the kernel's random source; the caller owns it. */
char *text_random_hex(size_t bytes) must_use;

/* A random UUID (RFC 9562, version 4) in 36 characters and a NUL. */
#define TEXT_UUID_SIZE 37
void text_random_uuid(char uuid[TEXT_UUID_SIZE]);

/* A DNS label (RFC 1123): 1 to 63 of a-z A-Z 0-9 and '-', a letter first, no '-' last. */
bool text_is_label(const char *text);

/* RFC 3339 in UTC with nine digits of a second, from ns since the epoch. */
#define TEXT_TIME_SIZE 32
char *text_format_time(uint64_t ns, char buffer[TEXT_TIME_SIZE]);
