/* SPDX-License-Identifier: Apache-2.0 */
/*
 * note.c - a server's timeline, its failures, its end.
 */
#include "daemon/server/note.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/warnings.h"
#include "model/json.h"

#define STAGES_MAX 64

uint64_t server_limit_ns(const struct server *server, const char *key, uint64_t usual)
{
	const char *text = json_text(json_object_get(server->object, "config"), key);
	uint64_t value;
	return text && text_to_ns(text, &value) == 0 && value ? value : usual;
}

void server_finished(struct server *server, int code, const struct error *e)
{
	static const struct error none;
	struct server_work *work = server->work;
	server_done *done = TAKE_PTR(work->done);
	if (done)
		done(work->data, code, e ?: &none);
}

void server_switched(struct server *server, int code, const struct error *e)
{
	static const struct error none;
	struct server_work *work = server->work;
	server_done *done = TAKE_PTR(work->switched);
	timer_stop(work->look);
	work->is_stopping = false;
	if (done)
		done(work->switch_data, code, e ?: &none);
}

void server_fail(struct server *server, int code, const char *format, ...)
{
	struct error e = {};
	va_list list;
	va_start(list, format);
	vsnprintf(e.text, sizeof(e.text), format, list);
	va_end(list);
	cleanup(free) char *url = alloc_printf("/1.0/berth/servers/%s", server->name);
	json_set_text(server->object, "failed", e.text);
	timer_stop(server->work->deadline);
	timer_stop(server->work->late);
	server_keep(server);
	log_error("server failed server=%s state=%s: %s", server->name,
		server_state_name(server->state), e.text);
	service_warning(server->service, "Server failed", "high", NULL, url, "%s while %s: %s",
		server->name, server_state_name(server->state), e.text);
	server_event(server, "server-failed");
	server_finished(server, code, &e);
	server_switched(server, code, &e);
}

void server_stage_before(struct server *server, const char *stage, uint64_t ago_ns)
{
	json_t *timeline = json_object_get(server->object, "timeline");
	if (!timeline) {
		timeline = json_array();
		json_object_set_new(server->object, "timeline", timeline);
	}
	const json_t *last = json_array_get(timeline, json_array_size(timeline) - 1);
	if (json_array_size(timeline) > 0 && text_equal(json_text(last, "stage"), stage))
		return;
	json_int_t at = (json_int_t)(loop_wall_clock() - ago_ns);
	json_int_t least = json_integer_value(json_object_get(last, "at_ns"));
	json_array_append_new(timeline,
		json_pack("{s:s, s:I}", "stage", stage, "at_ns", at < least ? least : at));
	if (json_array_size(timeline) > STAGES_MAX)
		json_array_remove(timeline, 0);
}

void server_stage(struct server *server, const char *stage)
{
	server_stage_before(server, stage, 0);
}
