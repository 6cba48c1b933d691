/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.h - what /1.0/metrics shows, in the OpenMetrics text format.
 *
 * A module adds a call; it adds its families to the text with metrics_family() and metrics_value().
 */
#pragma once

#include "base/text.h"
#include "daemon/service.h"

struct metrics;

typedef void metrics_call(struct service *service, const char *project, struct text *text);

struct metrics *metrics_new(void) must_use;
void metrics_free(struct metrics *metrics);
void metrics_add(struct service *service, metrics_call *call);
/* Lets all calls add theirs. `project` NULL: of all. */
void metrics_collect(struct service *service, const char *project, struct text *text);

/* "# HELP name help\n# TYPE name type\n"; a type is "gauge" or "counter" (whose values end in _total). */
void metrics_family(struct text *text, const char *name, const char *type, const char *help);
/* One value; `labels` are pairs of name and value, and NULL last. */
void metrics_value(struct text *text, const char *name, double value, const char *const *labels);
