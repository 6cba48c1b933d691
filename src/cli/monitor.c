/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monitor.c - events as they come, a line each, until it is interrupted.
 */
#include <errno.h>
#include <stdio.h>

#include "base/loop.h"
#include "cli/cells.h"
#include "cli/context.h"
#include "cli/format.h"
#include "cli/verbs.h"
#include "http/websocket_client.h"

const struct option monitor_options[] = {
	{ "type", '\0', "TYPE", "lifecycle, operation or logging; may be given again" },
	{ "all-projects", '\0', NULL, "of every project" },
	{ "format", 'f', "FORMAT", "table (a short line) or json (the event as it is)" },
	{},
};

struct monitor {
	struct loop *loop;
	bool is_json;
	int failure;
};

static void add_event(struct text *text, const json_t *event)
{
	const char *type = object_text(event, "type"), *time = object_text(event, "timestamp");
	text_printf(text, "%.19s  %-10s ", time ? time : "", type ? type : "?");
	if (text_equal(type, "lifecycle")) {
		text_printf(text, "%-24s ", object_text(event, "metadata/action"));
		format_clean(text, object_text(event, "metadata/source"), 0);
	} else if (text_equal(type, "operation")) {
		const char *err = object_text(event, "metadata/err");
		text_printf(text, "%-10s ", object_text(event, "metadata/status"));
		format_clean(text, object_text(event, "metadata/description"), 0);
		if (err && *err) {
			text_add(text, ": ");
			format_clean(text, err, 0);
		}
	} else {
		const char *message = object_text(event, "metadata/message");
		format_clean(text, message ? message : "", 0);
	}
	text_add_char(text, '\n');
}

static void on_message(void *data, bool is_text, const void *bytes, size_t length)
{
	(void)is_text;
	struct monitor *monitor = data;
	cleanup(text_done) struct text text = {};
	if (monitor->is_json) {
		text_add_n(&text, bytes, length);
		text_add_char(&text, '\n');
	} else {
		cleanup(json_decref) json_t *event = json_loadb(bytes, length, 0, NULL);
		if (!json_is_object(event))
			return;
		add_event(&text, event);
	}
	int r = output_write(&text, NULL);
	if (r < 0) {
		monitor->failure = r;
		loop_stop(monitor->loop, 0);
	}
}

static void on_drained(void *data)
{
	(void)data;
}

static void on_closed(void *data, int code)
{
	(void)code;
	struct monitor *monitor = data;
	loop_stop(monitor->loop, 1);
}

int monitor_run(struct context *context, struct error *e)
{
	static const struct websocket_client_calls calls = { on_message, on_drained, on_closed };
	const struct options *options = &context->options;
	const char *format = options_text(options, "format");
	if (format && !text_equal(format, "json") && !text_equal(format, "table"))
		return error_set(e, -EINVAL, "--format: '%s' is none of table, json", format);
	cleanup(text_done) struct text types = {};
	size_t position = 0;
	for (const char *type; (type = options_next(options, "type", &position));)
		text_printf(&types, "%s%s", types.length ? "," : "", type);
	char *path = path_query(alloc_text("/1.0/events"), "type",
		types.length ? types.data : "lifecycle,operation");
	if (options_flag(options, "all-projects"))
		path = path_query(path, "all-projects", "true");
	else if (options_text(options, "project"))
		path = path_query(path, "project", options_text(options, "project"));
	cleanup(free) char *owned = path;

	int r = context_open(context, e);
	if (r < 0)
		return r;
	cleanup(loop_free) struct loop *loop = NULL;
	cleanup(websocket_client_free) struct websocket_client *websocket = NULL;
	struct monitor monitor = { .is_json = text_equal(format, "json") };
	r = websocket_client_open(remote_client(context->remote), path, &websocket, e);
	if (r == 0)
		r = loop_new(&loop, e);
	monitor.loop = loop;
	if (r == 0)
		r = websocket_client_start(websocket, loop, &calls, &monitor, e);
	if (r == 0)
		r = loop_run(loop);
	if (monitor.failure)
		return error_code(e, monitor.failure, "write standard output");
	return r == 1 ? error_set(e, -EIO, "the daemon closed the connection") : r;
}
