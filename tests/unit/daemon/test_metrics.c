/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/metrics.h"

#include "test.h"

static void add_some(struct service *service, const char *project, struct text *text)
{
	(void)service;
	const char *const labels[] = { "name", "a\"b\\c\nd", "project", project ? project : "all",
		NULL };
	metrics_family(text, "berth_x_bytes", "gauge", "An x.");
	metrics_value(text, "berth_x_bytes", 12345678901234.0, labels);
	metrics_value(text, "berth_x_bytes", 0.25, NULL);
}

static void text_is_as_the_format_says(void)
{
	struct service service = { .metrics = metrics_new() };
	cleanup(text_done) struct text text = {};
	metrics_add(&service, add_some);
	metrics_collect(&service, NULL, &text);
	expect_text(text_str(&text),
		"# HELP berth_x_bytes An x.\n"
		"# TYPE berth_x_bytes gauge\n"
		"berth_x_bytes{name=\"a\\\"b\\\\c\\nd\",project=\"all\"} "
		"12345678901234\n"
		"berth_x_bytes 0.25\n"
		"# EOF\n");
	metrics_free(service.metrics);
}

static const struct test tests[] = {
	{ "the text is as the format says, with labels escaped", text_is_as_the_format_says },
};
TEST_MAIN(tests)
