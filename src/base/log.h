/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - one line an event, on standard error: `runner exited instance=web1 status=137`.
 *
 * Only programs log, once, where they decide what to do; libraries return errors.
 */
#pragma once

#include "base/base.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Lines above `level` are dropped. LOG_LEVEL_INFO until it is set. */
void log_set_level(enum log_level level);

/* Called with each line that is logged, without its level and newline; NULL stops it. */
void log_set_tap(void (*tap)(void *data, enum log_level level, const char *line), void *data);

void log_line(enum log_level level, const char *format, ...) printf_like(2, 3);
#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
