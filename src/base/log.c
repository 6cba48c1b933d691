/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - one write(2) a line, so that lines of several processes never mix.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/calendar.h"

static enum log_level log_level = LOG_LEVEL_INFO;
static void (*log_tap)(void *data, enum log_level level, const char *line);
static void *log_tap_data;

void log_set_level(enum log_level level)
{
	log_level = level;
}

void log_set_tap(void (*tap)(void *data, enum log_level level, const char *line), void *data)
{
	log_tap = tap;
	log_tap_data = data;
}

void log_line(enum log_level level, const char *format, ...)
{
	static const char *const names[] = {
		[LOG_LEVEL_ERROR] = "error",
		[LOG_LEVEL_WARNING] = "warning",
		[LOG_LEVEL_INFO] = "info",
		[LOG_LEVEL_DEBUG] = "debug",
	};
	if (level > log_level && !log_tap)
		return;

	char line[1024];
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	calendar_text(now.tv_sec, line);
	size_t start = CALENDAR_TEXT_SIZE - 1;
	start += (size_t)snprintf(line + start, sizeof(line) - start, ".%03ldZ %s ",
		now.tv_nsec / 1000000, names[level]);

	va_list args;
	va_start(args, format);
	int wanted = vsnprintf(line + start, sizeof(line) - start - 1, format, args);
	va_end(args);
	size_t length = start + (wanted > 0 ? (size_t)wanted : 0);
	if (length > sizeof(line) - 2)
		length = sizeof(line) - 2;
	for (size_t i = start; i < length; i++)
		if ((unsigned char)line[i] < ' ')
			line[i] = ' ';
	line[length] = '\0';
	if (log_tap)
		log_tap(log_tap_data, level, line + start);
	if (level > log_level)
		return;
	line[length] = '\n';
	(void)!write(STDERR_FILENO, line, length + 1);
}
