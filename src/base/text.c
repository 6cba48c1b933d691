/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.c - strings that grow, numbers and sizes.
 */
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/calendar.h"

void text_done(struct text *text)
{
	free(text->data);
	*text = (struct text){};
}

static void reserve(struct text *text, size_t more)
{
	size_t need = text->length + more + 1;
	if (need <= text->size)
		return;
	size_t size = text->size ? text->size : 64;
	while (size < need)
		size *= 2;
	text->data = alloc_resize(text->data, size, 1);
	text->size = size;
}

void text_add_n(struct text *text, const void *more, size_t length)
{
	reserve(text, length);
	if (length)
		memcpy(text->data + text->length, more, length);
	text->length += length;
	text->data[text->length] = '\0';
}

void text_add(struct text *text, const char *more)
{
	text_add_n(text, more, strlen(more));
}

void text_add_char(struct text *text, char c)
{
	text_add_n(text, &c, 1);
}

void text_printf(struct text *text, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	va_list again;
	va_copy(again, args);
	int length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	assert(length >= 0);
	reserve(text, (size_t)length);
	vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
	va_end(again);
	text->length += (size_t)length;
}

char *text_take(struct text *text)
{
	char *data = text->data ? text->data : alloc_text("");
	*text = (struct text){};
	return data;
}

const char *text_str(const struct text *text)
{
	return text->data ? text->data : "";
}

bool text_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool text_starts(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

bool text_ends(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);
	return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* Reads digits at *at and moves it behind them. */
static int read_digits(const char **at, uint64_t *ret)
{
	uint64_t value = 0;
	const char *p = *at;
	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return -ERANGE;
	*at = p;
	*ret = value;
	return 0;
}

int text_to_u64(const char *text, uint64_t *ret)
{
	uint64_t value;
	int r = read_digits(&text, &value);
	if (r < 0)
		return r;
	if (*text)
		return -EINVAL;
	*ret = value;
	return 0;
}

int text_to_i64(const char *text, int64_t *ret)
{
	bool negative = *text == '-';
	uint64_t value;
	int r = text_to_u64(text + negative, &value);
	if (r < 0)
		return r;
	if (value > (uint64_t)INT64_MAX + negative)
		return -ERANGE;
	*ret = negative ? (int64_t)(0 - value) : (int64_t)value;
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static int read_unit(const char *text, const struct unit *units, size_t count, uint64_t *ret)
{
	uint64_t value;
	int r = read_digits(&text, &value);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(text, units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(value, units[i].factor, &value) || value > INT64_MAX)
			return -ERANGE;
		*ret = value;
		return 0;
	}
	return -EINVAL;
}

#define K UINT64_C(1000)

int text_to_bytes(const char *text, uint64_t *ret)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "B", 1 },
		{ "kB", K },
		{ "KB", K },
		{ "MB", K * K },
		{ "GB", K * K * K },
		{ "TB", K * K * K * K },
		{ "PB", K * K * K * K * K },
		{ "EB", K * K * K * K * K * K },
		{ "KiB", KIB },
		{ "MiB", MIB },
		{ "GiB", GIB },
		{ "TiB", GIB << 10 },
		{ "PiB", GIB << 20 },
		{ "EiB", GIB << 30 },
	};
	return read_unit(text, units, ARRAY_SIZE(units), ret);
}

int text_to_bits(const char *text, uint64_t *ret)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "bit", 1 },
		{ "kbit", K },
		{ "Mbit", K * K },
		{ "Gbit", K * K * K },
		{ "Tbit", K * K * K * K },
		{ "Kibit", KIB },
		{ "Mibit", MIB },
		{ "Gibit", GIB },
	};
	return read_unit(text, units, ARRAY_SIZE(units), ret);
}

int text_to_ns(const char *text, uint64_t *ret)
{
	static const struct unit units[] = {
		{ "", NS_PER_SEC },
		{ "ns", 1 },
		{ "us", K },
		{ "ms", NS_PER_MS },
		{ "s", NS_PER_SEC },
		{ "m", 60 * NS_PER_SEC },
		{ "h", 3600 * NS_PER_SEC },
		{ "d", 86400 * NS_PER_SEC },
	};
	return read_unit(text, units, ARRAY_SIZE(units), ret);
}

char *text_format_bytes(uint64_t bytes, char buffer[TEXT_SIZE_MAX])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	size_t unit = 0;
	uint64_t scale = 1;
	while (unit + 1 < ARRAY_SIZE(units) && bytes / scale >= 1024) {
		scale *= 1024;
		unit++;
	}
	if (unit == 0)
		snprintf(buffer, TEXT_SIZE_MAX, "%" PRIu64 "B", bytes);
	else
		snprintf(buffer, TEXT_SIZE_MAX, "%.2f%s", (double)bytes / (double)scale,
			units[unit]);
	return buffer;
}

void text_hex(const void *bytes, size_t count, char *hex)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *from = bytes;
	for (size_t i = 0; i < count; i++) {
		hex[2 * i] = digits[from[i] >> 4];
		hex[2 * i + 1] = digits[from[i] & 15];
	}
	hex[2 * count] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int text_from_hex(const char *hex, void *bytes, size_t count)
{
	uint8_t *to = bytes;
	if (strlen(hex) != 2 * count)
		return -EINVAL;
	for (size_t i = 0; i < count; i++) {
		int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
		if (high < 0 || low < 0)
			return -EINVAL;
		to[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

static void random_bytes(void *bytes, size_t count)
{
	for (uint8_t *at = bytes; count > 0;) {
		ssize_t got = getrandom(at, count, 0);
		assert(got > 0 || errno == EINTR);
		if (got > 0) {
			at += got;
			count -= (size_t)got;
		}
	}
}

char *text_random_hex(size_t bytes)
{
	uint8_t raw[64];
	assert(bytes <= sizeof(raw));
	random_bytes(raw, bytes);
	char *hex = alloc_array(2 * bytes + 1, char);
	text_hex(raw, bytes, hex);
	return hex;
}

void text_random_uuid(char uuid[TEXT_UUID_SIZE])
{
	uint8_t raw[16];
	random_bytes(raw, sizeof(raw));
	raw[6] = (uint8_t)((raw[6] & 0x0f) | 0x40);
	raw[8] = (uint8_t)((raw[8] & 0x3f) | 0x80);
	char hex[33];
	text_hex(raw, sizeof(raw), hex);
	snprintf(uuid, TEXT_UUID_SIZE, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
		hex + 16, hex + 20);
}

bool text_is_label(const char *text)
{
	size_t length = strlen(text);
	if (length < 1 || length > 63 || !isalpha((unsigned char)text[0]) ||
		text[length - 1] == '-')
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)text[i]) && text[i] != '-')
			return false;
	return true;
}

char *text_format_time(uint64_t ns, char buffer[TEXT_TIME_SIZE])
{
	size_t length = CALENDAR_TEXT_SIZE - 1;
	calendar_text((int64_t)(ns / NS_PER_SEC), buffer);
	snprintf(buffer + length, TEXT_TIME_SIZE - length, ".%09" PRIu64 "Z", ns % NS_PER_SEC);
	return buffer;
}
