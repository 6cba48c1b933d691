/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_calendar.c - the same dates as libc's.
 */
#include "base/calendar.h"

#include <string.h>

#include "test.h"

#define FIRST INT64_C(-62135596800)
#define LAST  INT64_C(253402300799)

static bool is_same(int64_t seconds)
{
	struct tm ours, theirs;
	time_t when = (time_t)seconds;
	calendar_split(seconds, &ours);
	gmtime_r(&when, &theirs);
	return ours.tm_sec == theirs.tm_sec && ours.tm_min == theirs.tm_min &&
		ours.tm_hour == theirs.tm_hour && ours.tm_mday == theirs.tm_mday &&
		ours.tm_mon == theirs.tm_mon && ours.tm_year == theirs.tm_year &&
		ours.tm_wday == theirs.tm_wday && ours.tm_yday == theirs.tm_yday &&
		calendar_join(&ours) == seconds;
}

static void splits_and_joins(void)
{
	/* Not a whole number of days, so that all times of day come up. */
	for (int64_t seconds = FIRST; seconds <= LAST; seconds += 1000003)
		expect(is_same(seconds));
	for (int64_t day = -40000; day < 60000; day++)
		expect(is_same(day * 86400) && is_same(day * 86400 - 1));
}

static void cuts_what_no_calendar_has(void)
{
	struct tm time;
	calendar_split(INT64_MIN, &time);
	expect(calendar_join(&time) == FIRST);
	calendar_split(INT64_MAX, &time);
	expect(calendar_join(&time) == LAST);
}

static void fields_count_on(void)
{
	const struct tm time = { .tm_year = 124, .tm_mon = 13, .tm_mday = 31, .tm_hour = 25 };
	struct tm copy = time;
	expect(calendar_join(&time) == (int64_t)timegm(&copy));
}

static const struct test tests[] = {
	{ "seconds and dates agree with libc over 9999 years", splits_and_joins },
	{ "what is beyond is cut", cuts_what_no_calendar_has },
	{ "fields beyond their range count on", fields_count_on },
};
TEST_MAIN(tests)
