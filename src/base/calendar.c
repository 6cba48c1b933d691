/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calendar.c - the Gregorian calendar; years are counted from March, so that the leap day is the last.
 */
#include "base/calendar.h"

#include <string.h>

#define DAY_SECONDS   86400
#define DAYS_OF_400   146097
#define DAYS_OF_100   36524
#define DAYS_OF_4     1461
#define DAYS_TO_1970  719468 /* from 1 March of the year 0 */
#define FIRST_SECONDS INT64_C(-62135596800)
#define LAST_SECONDS  INT64_C(253402300799)

/* From 1 March of the year 0 to the first of a month that is counted from March. */
static int64_t days_before(int64_t year, int64_t month)
{
	return year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5;
}

void calendar_split(int64_t seconds, struct tm *ret)
{
	seconds = seconds < FIRST_SECONDS ? FIRST_SECONDS : seconds;
	seconds = seconds > LAST_SECONDS ? LAST_SECONDS : seconds;
	int64_t since = seconds - FIRST_SECONDS;
	int64_t days = since / DAY_SECONDS + DAYS_TO_1970 + FIRST_SECONDS / DAY_SECONDS;
	int64_t second = since % DAY_SECONDS;
	int64_t day = days % DAYS_OF_400;
	int64_t year =
		(day - day / (DAYS_OF_4 - 1) + day / DAYS_OF_100 - day / (DAYS_OF_400 - 1)) / 365;
	day -= year * 365 + year / 4 - year / 100;
	int64_t month = (5 * day + 2) / 153;
	year += days / DAYS_OF_400 * 400;
	*ret = (struct tm){
		.tm_sec = (int)(second % 60),
		.tm_min = (int)(second / 60 % 60),
		.tm_hour = (int)(second / 3600),
		.tm_mday = (int)(day - (153 * month + 2) / 5 + 1),
		.tm_mon = (int)((month + 2) % 12),
		.tm_year = (int)(year + (month >= 10) - 1900),
		.tm_wday = (int)((days + 3) % 7),
	};
	int64_t january = days_before(ret->tm_year + 1899, 10);
	ret->tm_yday = (int)(days - january);
}

int64_t calendar_join(const struct tm *time)
{
	int64_t months = time->tm_year * INT64_C(12) + time->tm_mon + 1900 * 12 - 2;
	int64_t days = days_before(months / 12, months % 12) + time->tm_mday - 1 - DAYS_TO_1970;
	return ((days * 24 + time->tm_hour) * 60 + time->tm_min) * 60 + time->tm_sec;
}

static void put(char *at, int digits, int value)
{
	for (int i = digits - 1; i >= 0; i--, value /= 10)
		at[i] = (char)('0' + value % 10);
}

void calendar_text(int64_t seconds, char ret[CALENDAR_TEXT_SIZE])
{
	struct tm time;
	calendar_split(seconds, &time);
	memcpy(ret, "YYYY-MM-DDTHH:MM:SS", CALENDAR_TEXT_SIZE);
	put(ret, 4, time.tm_year + 1900);
	put(ret + 5, 2, time.tm_mon + 1);
	put(ret + 8, 2, time.tm_mday);
	put(ret + 11, 2, time.tm_hour);
	put(ret + 14, 2, time.tm_min);
	put(ret + 17, 2, time.tm_sec);
}
