/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress.c - the line, and when to draw it.
 */
#include "cli/progress.h"

#include <stdio.h>
#include <sys/ioctl.h>

#include "base/loop.h"
#include "cli/format.h"

#define BAR_WIDTH 24

void progress_line(
	struct text *text, const char *what, const char *note, unsigned percent, size_t width)
{
	cleanup(text_done) struct text line = {};
	text_printf(&line, "%s%s%s", what, note && *note ? ": " : "", note ? note : "");
	if (percent > 100) {
		format_clean(text, line.data, width);
		return;
	}
	size_t rest = BAR_WIDTH + 8; /* " [", the bar, "] 100%" */
	size_t room = width > rest + 8 ? width - rest : 8;
	format_clean(text, line.data, room);
	text_add(text, " [");
	for (unsigned i = 0; i < BAR_WIDTH; i++)
		text_add_char(text, i < percent * BAR_WIDTH / 100 ? '#' : '.');
	text_printf(text, "] %3u%%", percent);
}

void progress_show(struct progress *progress, const char *what, const char *note, unsigned percent)
{
	uint64_t now = loop_now();
	if (!progress->is_on || (progress->is_drawn && now - progress->drawn_ns < 100 * NS_PER_MS))
		return;
	struct winsize size = {};
	size_t width =
		ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
	cleanup(text_done) struct text text = {};
	progress_line(&text, what, note, percent, width - 1);
	fprintf(stderr, "\r\033[K%s", text_str(&text));
	fflush(stderr);
	progress->is_drawn = true;
	progress->drawn_ns = now;
}

void progress_clear(struct progress *progress)
{
	if (!progress->is_drawn)
		return;
	fprintf(stderr, "\r\033[K");
	fflush(stderr);
	progress->is_drawn = false;
}
