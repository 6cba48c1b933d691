/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format.c - numbers, times and strings for people.
 */
#include "cli/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* One character from UTF-8: its bytes, or 0 if they are none (overlong, surrogate, cut). */
static size_t decode(const char *text, uint32_t *ret)
{
	const unsigned char *bytes = (const unsigned char *)text;
	static const uint32_t least_of[] = { 0, 0, 0x80, 0x800, 0x10000 };
	if (bytes[0] < 0x80) {
		*ret = bytes[0];
		return 1;
	}
	size_t length = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
	if (bytes[0] < 0xc2 || bytes[0] > 0xf4)
		return 0;
	uint32_t c = bytes[0] & (0x7fU >> length);
	for (size_t i = 1; i < length; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (bytes[i] & 0x3f);
	}
	if (c < least_of[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*ret = c;
	return length;
}

/* The ranges of Unicode that terminals draw over two columns, or none. */
static const struct {
	uint32_t first, last;
	unsigned width;
} widths[] = {
	{ 0x0300, 0x036f, 0 },
	{ 0x1100, 0x115f, 2 },
	{ 0x1ab0, 0x1aff, 0 },
	{ 0x1dc0, 0x1dff, 0 },
	{ 0x200b, 0x200f, 0 },
	{ 0x20d0, 0x20ff, 0 },
	{ 0x2e80, 0x303e, 2 },
	{ 0x3041, 0xa4cf, 2 },
	{ 0xac00, 0xd7a3, 2 },
	{ 0xf900, 0xfaff, 2 },
	{ 0xfe00, 0xfe0f, 0 },
	{ 0xfe20, 0xfe2f, 0 },
	{ 0xfe30, 0xfe6f, 2 },
	{ 0xff00, 0xff60, 2 },
	{ 0xffe0, 0xffe6, 2 },
	{ 0x1f300, 0x1f64f, 2 },
	{ 0x1f900, 0x1f9ff, 2 },
	{ 0x20000, 0x3fffd, 2 },
};

static unsigned width_of(uint32_t c)
{
	for (size_t i = 0; i < ARRAY_SIZE(widths); i++)
		if (c >= widths[i].first && c <= widths[i].last)
			return widths[i].width;
	return 1;
}

/* Directions and controls, which could show another text than is there. */
static bool is_steering(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) ||
		(c >= 0x2066 && c <= 0x2069);
}

size_t format_width(const char *text)
{
	size_t width = 0;
	while (*text) {
		uint32_t c = 0;
		size_t length = decode(text, &c);
		width += length && !is_steering(c) ? width_of(c) : 1;
		text += length ? length : 1;
	}
	return width;
}

void format_clean(struct text *text, const char *string, size_t width)
{
	bool is_cut = width && format_width(string) > width;
	size_t room = is_cut ? width - 1 : SIZE_MAX;
	while (*string) {
		uint32_t c = 0;
		size_t length = decode(string, &c);
		bool is_bad = !length || is_steering(c);
		unsigned columns = is_bad ? 1 : width_of(c);
		if (columns > room)
			break;
		room -= columns;
		text_add_n(text, is_bad ? "?" : string, is_bad ? 1 : length);
		string += length ? length : 1;
	}
	if (is_cut)
		text_add(text, "…");
}

void format_duration(struct text *text, uint64_t ns)
{
	uint64_t s = ns / NS_PER_SEC, m = s / 60, h = m / 60, d = h / 24;
	if (d)
		text_printf(text, "%" PRIu64 "d%" PRIu64 "h", d, h % 24);
	else if (h)
		text_printf(text, "%" PRIu64 "h%02" PRIu64 "m", h, m % 60);
	else if (m)
		text_printf(text, "%" PRIu64 "m%02" PRIu64 "s", m, s % 60);
	else if (s)
		text_printf(text, "%" PRIu64 "s", s);
	else
		text_printf(text, "%" PRIu64 "ms", ns / NS_PER_MS);
}

void format_rate(struct text *text, double bytes_a_second)
{
	double rate = bytes_a_second;
	static const char *const units[] = { "B/s", "kB/s", "MB/s", "GB/s", "TB/s" };
	size_t unit = 0;
	while (rate >= 999.5 && unit + 1 < ARRAY_SIZE(units)) {
		rate /= 1000;
		unit++;
	}
	text_printf(text, "%.*f%s", unit && rate < 99.95 ? 1 : 0, rate, units[unit]);
}

void format_time(struct text *text, const char *rfc3339)
{
	if (!rfc3339 || text_starts(rfc3339, "0001-") ||
		text_starts(rfc3339, "1970-01-01T00:00:00"))
		text_add(text, "-");
	else if (strlen(rfc3339) >= 16 && rfc3339[10] == 'T')
		text_printf(text, "%.10s %.5s", rfc3339, rfc3339 + 11);
	else
		text_add(text, rfc3339);
}
