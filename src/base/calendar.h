/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calendar.h - seconds since 1970 to date and time in UTC and back.
 *
 * libc's gmtime_r(), timegm() and strftime() read /etc/localtime the first time, also for UTC: a process
 * that may open nothing any more is ended by that, and each start pays for it.
 */
#pragma once

#include <time.h>

#include "base/base.h"

/* Years 1 to 9999; earlier and later ones are cut to these. */
void calendar_split(int64_t seconds, struct tm *ret);

#define CALENDAR_TEXT_SIZE 20 /* of "2026-01-31T12:34:56" */
void calendar_text(int64_t seconds, char ret[CALENDAR_TEXT_SIZE]);

/* Fields beyond their range count on, as with timegm(). */
int64_t calendar_join(const struct tm *time);
