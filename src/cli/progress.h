/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress.h - one line on a terminal that says how far something is, redrawn in place.
 */
#pragma once

#include "base/base.h"
#include "base/text.h"

struct progress {
	bool is_on;    /* standard error is a terminal and nobody said --quiet */
	bool is_drawn; /* a line stands there now */
	uint64_t drawn_ns;
};

/*
 * Adds "what: note" and, for a `percent` of 0 to 100, a bar behind it; cut to `width` columns. A
 * percentage over 100 means unknown.
 */
void progress_line(
	struct text *text, const char *what, const char *note, unsigned percent, size_t width);

/* Draws the line in place of the last one, at most ten times a second. */
void progress_show(struct progress *progress, const char *what, const char *note, unsigned percent);

/* Takes the line away. */
void progress_clear(struct progress *progress);
