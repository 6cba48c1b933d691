/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format.h - what a number, a time or a hostile string looks like on a terminal.
 */
#pragma once

#include "base/base.h"
#include "base/text.h"

/* How many columns a UTF-8 string takes; what is no character counts as one. */
size_t format_width(const char *text);

/*
 * Adds the string without what would steer a terminal (control characters, broken UTF-8: each becomes
 * '?'), cut to `width` columns, the last one then "…"; 0: not cut.
 */
void format_clean(struct text *text, const char *string, size_t width);

/* "-" for none, "3s", "5m12s", "2h03m", "12d4h": the two largest units. */
void format_duration(struct text *text, uint64_t ns);

/* "12.3kB/s": powers of 1000. */
void format_rate(struct text *text, double bytes_a_second);

/* RFC 3339 to "2026-11-24 12:22"; the years 1 and 1970 mean never and give "-". As it stands else. */
void format_time(struct text *text, const char *rfc3339);
