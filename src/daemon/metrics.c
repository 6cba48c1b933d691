/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.c - the OpenMetrics text format.
 */
#include "daemon/metrics.h"

#include <math.h>

#define CALLS_MAX 16

struct metrics {
	metrics_call *calls[CALLS_MAX];
	size_t count;
};

struct metrics *metrics_new(void)
{
	return alloc(struct metrics);
}

void metrics_free(struct metrics *metrics)
{
	free(metrics);
}

void metrics_add(struct service *service, metrics_call *call)
{
	assert(service->metrics->count < CALLS_MAX);
	service->metrics->calls[service->metrics->count++] = call;
}

void metrics_collect(struct service *service, const char *project, struct text *text)
{
	for (size_t i = 0; i < service->metrics->count; i++)
		service->metrics->calls[i](service, project, text);
	text_add(text, "# EOF\n");
}

void metrics_family(struct text *text, const char *name, const char *type, const char *help)
{
	text_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_label(struct text *text, const char *value)
{
	for (; *value; value++) {
		if (*value == '\n')
			text_add(text, "\\n");
		else if (*value == '"' || *value == '\\')
			text_printf(text, "\\%c", *value);
		else
			text_add_char(text, *value);
	}
}

void metrics_value(struct text *text, const char *name, double value, const char *const *labels)
{
	text_add(text, name);
	for (size_t i = 0; labels && labels[i]; i += 2) {
		text_printf(text, "%s%s=\"", i == 0 ? "{" : ",", labels[i]);
		add_label(text, labels[i + 1]);
		text_add(text, "\"");
	}
	if (labels && labels[0])
		text_add(text, "}");
	/* Whole numbers stay exact up to 2^53. */
	if (value == floor(value) && fabs(value) < 9007199254740992.0)
		text_printf(text, " %.0f\n", value);
	else
		text_printf(text, " %.9g\n", value);
}
