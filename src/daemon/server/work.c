/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work.c - how a server goes through its life: each state's deadline, and what it wants next.
 */
#include "daemon/server/work.h"

#include <errno.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/server/boot.h"
#include "daemon/server/line.h"
#include "daemon/server/netboot.h"
#include "daemon/server/power.h"
#include "model/json.h"

static void go_on(struct server *server);

static void set_ns(json_t *object, const char *field)
{
	json_object_set_new(object, field, json_integer((json_int_t)loop_wall_clock()));
}

static uint64_t get_ns(const json_t *object, const char *field)
{
	json_int_t value = json_integer_value(json_object_get(object, field));
	return value > 0 ? (uint64_t)value : 0;
}

static void state_too_long(void *data)
{
	struct server *server = data;
	server_fail(server, -ETIMEDOUT, "it took longer than it may");
}

/* The deadline counts from when the state began, whatever happened to the daemon since. */
static void set_deadline(struct server *server)
{
	uint64_t limit = server_deadline_ns(server->state), now = loop_wall_clock();
	uint64_t since = get_ns(server->object, "since");
	timer_stop(server->work->deadline);
	if (limit == 0)
		return;
	limit = server_limit_ns(server, "deadline", limit);
	uint64_t gone = since && since < now ? now - since : 0;
	timer_set_after(server->work->deadline, gone < limit ? limit - gone : 0);
}

void server_enter(struct server *server, enum server_state state)
{
	server->state = state;
	server->work->boots = 0;
	json_object_del(server->object, "failed");
	json_object_del(server->object, "task");
	set_ns(server->object, "since");
	server_stage(server, server_state_name(state));
	set_deadline(server);
	server_event(server, "server-updated");
	log_info("server server=%s state=%s", server->name, server_state_name(state));
}

static void verified(void *data, int code, json_t *answer, const struct error *e)
{
	struct server *server = data;
	struct error error = {};
	if (server->state != SERVER_VERIFYING || server_has_failed(server))
		return;
	if (code < 0) {
		server_fail(server, code, "%s", e->text);
		return;
	}
	json_object_set(server->object, "bmc", answer);
	int r = server_go(server, SERVER_VERIFIED, server->work->done, server->work->data, &error);
	if (r < 0)
		server_fail(server, r, "%s", error.text);
}

/* Nobody's: it waits with the agent running, or off. */
static void rest(struct server *server)
{
	if (server->service->netboot->is_warm && server_agent_is_there(server))
		return;
	server_agent_is_gone(server);
	server_keep(server);
	server_switch_off(server);
}

/* What the state wants next. */
static void go_on(struct server *server)
{
	if (server_has_failed(server) || server_is_in_maintenance(server))
		return;
	switch (server->state) {
	case SERVER_ENROLLED:
		break;
	case SERVER_VERIFYING:
		server_ask(server, json_pack("{s:s}", "do", "identity"), verified);
		break;
	case SERVER_INSPECTING:
	case SERVER_DEPLOYING:
	case SERVER_RESCUE:
	case SERVER_SAVING:
	case SERVER_CLEANING:
		if (!text_equal(json_text(server_task_of(server), "state"), "done"))
			server_task_give(server, server_task(server->state));
		else if (server->state == SERVER_RESCUE)
			server_plug(server, server_owner_vlan(server), NULL);
		break;
	case SERVER_AVAILABLE:
		server_finished(server, 0, NULL);
		rest(server);
		break;
	case SERVER_ACTIVE:
		server_finished(server, 0, NULL);
		break;
	case SERVER_STATES:
		break;
	}
}

/* An agent that ran beside a tenant's system, or was replaced by it, is not ours any more. */
static bool was_ours(enum server_state before)
{
	return before != SERVER_ACTIVE && before != SERVER_RESCUE && before != SERVER_SAVING;
}

int server_go(struct server *server, enum server_event event, server_done *done, void *data,
	struct error *e)
{
	enum server_state before = server->state, next;
	int r = server_next(before, event, &next, e);
	if (r == 0 && server_is_in_maintenance(server) && event != SERVER_RELEASE)
		r = error_set(e, -EBUSY, "%s is in maintenance", server->name);
	if (r == 0 && server_task(next))
		r = netboot_check(server->service, e);
	if (r < 0)
		return r;
	struct server_work *work = server->work;
	if (work->done && work->done != done) {
		struct error error = {};
		error_set(&error, -ECANCELED, "%s went on to %s", server->name,
			server_state_name(next));
		server_finished(server, -ECANCELED, &error);
	}
	work->done = done;
	work->data = data;
	timer_stop(work->late);
	if (!was_ours(before) && !text_equal(json_text(server_task_of(server), "state"), "warm"))
		server_agent_is_gone(server);
	if (event == SERVER_RELEASE || event == SERVER_CLEANED || event == SERVER_VERIFY) {
		json_object_del(server->object, "owner");
		json_object_del(server->object, "deployment");
		server_line_forget(server);
	}
	if (event == SERVER_RESERVE || event == SERVER_REBUILD || event == SERVER_VERIFY)
		json_object_del(server->object, "timeline");
	server_enter(server, next);
	r = server_save(server, e);
	if (r < 0) {
		work->done = NULL;
		return r;
	}
	go_on(server);
	return 0;
}

int server_deploy(struct server *server, enum server_event event, const char *project,
	const char *instance, json_t *deployment, server_done *done, void *data, struct error *e)
{
	enum server_state next;
	int r = server_next(server->state, event, &next, e);
	if (r == 0 && server_has_failed(server) && event == SERVER_RESERVE)
		r = error_set(e, -EBUSY, "%s has failed", server->name);
	if (r < 0) {
		json_decref(deployment);
		return r;
	}
	/* With the state in one write: never two owners, never an owner without a deployment. */
	cleanup(json_decref) json_t *before = json_copy(server->object);
	json_object_set_new(server->object, "owner",
		json_pack("{s:s, s:s}", "project", project, "instance", instance));
	json_object_set_new(server->object, "deployment", deployment);
	server_line_forget(server);
	r = server_go(server, event, done, data, e);
	if (r < 0) {
		json_object_clear(server->object);
		json_object_update(server->object, before);
	}
	return r;
}

static void agent_is_late(void *data)
{
	struct server *server = data;
	log_warning("the agent is late server=%s", server->name);
	/* The owner's start needs no agent. */
	if (server->state == SERVER_ACTIVE)
		server_power_cold(server);
	else
		server_boot_agent(server);
}

void server_work_start(struct server *server)
{
	struct loop *loop = server->service->loop;
	struct server_work *work = alloc(struct server_work);
	struct error e = {};
	*work = (struct server_work){ .server = server, .power = -1 };
	work->deadline = loop_add_timer(loop, state_too_long, server);
	work->late = loop_add_timer(loop, agent_is_late, server);
	work->look = loop_add_timer(loop, server_power_look, server);
	server->work = work;
	int r = server_bmc_start(server, server_power_told, &e);
	if (r < 0)
		log_error("berth-metal does not start server=%s: %s", server->name, e.text);
	server_work_resume(server);
}

void server_work_resume(struct server *server)
{
	struct server_work *work = server->work;
	if (server_has_failed(server))
		return;
	set_deadline(server);
	/* Without a provisioning network it can only wait for one. */
	if ((server_task(server->state) || server->state == SERVER_VERIFYING) &&
		!server->service->netboot->is_on)
		return;
	const json_t *boot = json_object_get(server->object, "boot");
	if (server_task(server->state) && json_is_object(boot)) {
		/* An agent may be at work, or starting: it has its time to call. */
		uint64_t gone = loop_wall_clock() - get_ns(boot, "since");
		bool has_called = json_is_true(json_object_get(boot, "has_called"));
		if (has_called)
			work->agent_seen_ns = loop_now();
		uint64_t limit = has_called     ? SERVER_AGENT_LATE_NS
			: gone < SERVER_BOOT_NS ? SERVER_BOOT_NS - gone
						: SERVER_AGENT_LATE_NS;
		if (server->state != SERVER_AVAILABLE)
			timer_set_after(work->late, limit);
		return;
	}
	go_on(server);
}

bool server_is_awaited(const struct server *server)
{
	return server->work && (server->work->done || server->work->switched);
}

void server_work_abandon(struct server *server)
{
	struct error e = {};
	error_set(&e, -ECANCELED, "%s was removed", server->name);
	if (!server->work)
		return;
	server_finished(server, -ECANCELED, &e);
	server_switched(server, -ECANCELED, &e);
}

void server_work_stop(struct server *server)
{
	if (!server->work)
		return;
	server_line_free(server);
	struct server_work *work = TAKE_PTR(server->work);
	server_bmc_unask(server, server);
	server_bmc_stop(server);
	if (work->answer)
		work->answer(work->answer_data, NULL);
	source_free(work->deadline);
	source_free(work->late);
	source_free(work->look);
	free(work);
}
