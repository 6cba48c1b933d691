/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server_work.c - how a server goes through its life.
 *
 * Theory of operation. A state that needs the deploy agent has a task: its name and a serial number, stored with
 * the state. If the agent is there (it has asked for a task lately, and nobody else's system ran since) it gets
 * the task with its next question; else the server is started from the network with a new token, and the agent
 * that calls with that token gets it. An answer counts for the serial it names, and once.
 */
#include "daemon/server_work.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/netboot.h"
#include "daemon/server_bmc.h"
#include "daemon/server_switch.h"
#include "daemon/server_task.h"
#include "daemon/warnings.h"
#include "model/json.h"

#define AGENT_NS      (60 * NS_PER_SEC)  /* it asks more often than that */
#define AGENT_LATE_NS (20 * NS_PER_SEC)  /* until it is started again, if it should be there */
#define BOOT_NS       (600 * NS_PER_SEC) /* from power to its first call */
#define BOOTS_MAX     3
#define LOOK_NS       (500 * NS_PER_MS)
#define LOOK_LAST_NS  (4 * NS_PER_SEC)
#define IDLE_NS       (900 * NS_PER_SEC)
#define STOP_NS       (600 * NS_PER_SEC)

struct server_work {
	struct server *server;
	struct source *deadline, *late, *look;
	uint64_t agent_seen_ns; /* 0: it is not there */
	void (*answer)(void *data, const char *lines);
	void *answer_data;
	server_done *done;
	void *data;
	unsigned int boots;
	/* The owner's switch. */
	server_done *switched;
	void *switch_data;
	uint64_t look_ns, stop_ns;
	bool is_stopping;
	int power; /* as it was seen last; -1 */
};

static void (*power_listener)(struct server *server, bool is_on);
static void (*deployed_listener)(struct server *server);

static void go_on(struct server *server);

static uint64_t limit_ns(const struct server *server, const char *key, uint64_t usual)
{
	const char *text = json_text(json_object_get(server->object, "config"), key);
	uint64_t value;
	return text && text_to_ns(text, &value) == 0 && value ? value : usual;
}

static void set_ns(json_t *object, const char *field)
{
	json_object_set_new(object, field, json_integer((json_int_t)loop_wall_clock()));
}

static uint64_t get_ns(const json_t *object, const char *field)
{
	json_int_t value = json_integer_value(json_object_get(object, field));
	return value > 0 ? (uint64_t)value : 0;
}

static void finish(struct server *server, int code, const struct error *e)
{
	static const struct error none;
	struct server_work *work = server->work;
	server_done *done = TAKE_PTR(work->done);
	if (done)
		done(work->data, code, e ?: &none);
}

static void switched(struct server *server, int code, const struct error *e)
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
	finish(server, code, &e);
}

void server_stage(struct server *server, const char *stage)
{
	json_t *timeline = json_object_get(server->object, "timeline");
	if (!timeline) {
		timeline = json_array();
		json_object_set_new(server->object, "timeline", timeline);
	}
	const json_t *last = json_array_get(timeline, json_array_size(timeline) - 1);
	if (json_array_size(timeline) > 0 && text_equal(json_text(last, "stage"), stage))
		return;
	json_array_append_new(timeline,
		json_pack("{s:s, s:I}", "stage", stage, "at_ns", (json_int_t)loop_wall_clock()));
	if (json_array_size(timeline) > 64)
		json_array_remove(timeline, 0);
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
	limit = limit_ns(server, "deadline", limit);
	uint64_t gone = since && since < now ? now - since : 0;
	timer_set_after(server->work->deadline, gone < limit ? limit - gone : 0);
}

static void enter(struct server *server, enum server_state state)
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

static bool is_agent_there(const struct server *server)
{
	const struct server_work *work = server->work;
	return work->answer || (work->agent_seen_ns && loop_now() - work->agent_seen_ns < AGENT_NS);
}

static void agent_is_gone(struct server *server)
{
	server->work->agent_seen_ns = 0;
	json_object_del(server->object, "boot");
	if (server->work->answer) {
		void (*answer)(void *, const char *) = TAKE_PTR(server->work->answer);
		answer(server->work->answer_data, NULL);
	}
}

static void powered(void *data, int code, json_t *answer, const struct error *e)
{
	struct server *server = data;
	(void)answer;
	if (code < 0) {
		server_fail(server, code, "%s", e->text);
		return;
	}
	server->work->power = 1;
	server_stage(server, "power");
	timer_set_after(server->work->late, limit_ns(server, "boot.deadline", BOOT_NS));
}

static void ask(struct server *server, json_t *request, server_bmc_answer *answer)
{
	struct error e = {};
	int r = server_bmc_ask(server, request, answer, server, &e);
	if (r < 0)
		server_fail(server, r, "%s", e.text);
}

static void boot_is_set(void *data, int code, json_t *answer, const struct error *e)
{
	struct server *server = data;
	(void)answer;
	if (code < 0)
		server_fail(server, code, "%s", e->text);
	else
		ask(server, json_pack("{s:s, s:s}", "do", "power", "to", "cycle"), powered);
}

static bool is_uefi(const struct server *server)
{
	return text_equal(server_text(server, "firmware"), "uefi");
}

/* The switch is asked in a process of its own: the server may be gone when it answers. */
struct plugging {
	struct service *service;
	char *name;
	void (*then)(struct server *server);
};

static void plugged(void *data, int code, const struct error *e)
{
	struct plugging *plugging = data;
	struct server *server = server_find(plugging->service, plugging->name);
	void (*then)(struct server *) = plugging->then;
	free(plugging->name);
	free(plugging);
	if (!server || !server->work)
		return;
	if (code < 0)
		server_fail(server, code, "%s", e->text);
	else if (then)
		then(server);
}

static void switch_to(struct server *server, uint32_t vlan, void (*then)(struct server *server))
{
	struct plugging *plugging = alloc(struct plugging);
	*plugging = (struct plugging){ server->service, alloc_text(server->name), then };
	server_switch_set(server, vlan, plugged, plugging);
}

static uint32_t owner_vlan(const struct server *server)
{
	const json_t *deployment = json_object_get(server->object, "deployment");
	return (uint32_t)json_integer_value(json_object_get(deployment, "vlan"));
}

static void is_plugged(struct server *server)
{
	ask(server,
		json_pack("{s:s, s:s, s:b}", "do", "boot", "device", "network", "uefi",
			is_uefi(server)),
		boot_is_set);
}

/* Starts the agent on it, with a token that only this start has. */
static void boot_agent(struct server *server)
{
	struct error e = {};
	cleanup(free) char *token = text_random_hex(16);
	int r = server_take_host(server, &e);
	if (r == 0 && ++server->work->boots > BOOTS_MAX)
		r = error_set(&e, -EIO, "the agent did not do its work in %d starts", BOOTS_MAX);
	if (r < 0) {
		server_fail(server, r, "%s", e.text);
		return;
	}
	agent_is_gone(server);
	json_object_set_new(server->object, "boot",
		json_pack("{s:s, s:I}", "token", token, "since", (json_int_t)loop_wall_clock()));
	server_keep(server);
	/* Away from its owner's network before anything of ours runs on it. */
	switch_to(server, 0, is_plugged);
}

static void agent_is_late(void *data)
{
	struct server *server = data;
	log_warning("the agent is late server=%s", server->name);
	boot_agent(server);
}

static const json_t *task_of(const struct server *server)
{
	return json_object_get(server->object, "task");
}

static void set_task(struct server *server, const char *name)
{
	json_int_t serial = json_integer_value(json_object_get(server->object, "serial")) + 1;
	json_object_set_new(server->object, "serial", json_integer(serial));
	json_object_set_new(server->object, "task",
		json_pack("{s:s, s:I, s:s}", "name", name, "serial", serial, "state", "open"));
	server_keep(server);
}

/* Hands the task to an agent that waits for one. */
static void hand_out(struct server *server)
{
	struct server_work *work = server->work;
	if (!work->answer)
		return;
	char *lines = server_agent_task(server);
	if (lines) {
		void (*answer)(void *, const char *) = TAKE_PTR(work->answer);
		answer(work->answer_data, lines);
	}
	free(lines);
}

static void give_task(struct server *server, const char *name)
{
	if (!text_equal(json_text(task_of(server), "name"), name))
		set_task(server, name);
	if (is_agent_there(server)) {
		timer_set_after(server->work->late, AGENT_LATE_NS);
		hand_out(server);
	} else {
		boot_agent(server);
	}
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

static void is_off(void *data, int code, json_t *answer, const struct error *e)
{
	struct server *server = data;
	(void)answer;
	if (code < 0)
		log_warning("not switched off server=%s: %s", server->name, e->text);
	else
		server->work->power = 0;
}

/* Nobody's: it waits with the agent running, or off. */
static void rest(struct server *server)
{
	struct error e = {};
	if (server->service->netboot->is_warm && is_agent_there(server))
		return;
	agent_is_gone(server);
	server_keep(server);
	if (server_bmc_ask(server, json_pack("{s:s, s:s}", "do", "power", "to", "off"), is_off,
		    server, &e) < 0)
		log_debug("server=%s: %s", server->name, e.text);
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
		ask(server, json_pack("{s:s}", "do", "identity"), verified);
		break;
	case SERVER_INSPECTING:
	case SERVER_DEPLOYING:
	case SERVER_RESCUE:
	case SERVER_CLEANING:
		if (!text_equal(json_text(task_of(server), "state"), "done"))
			give_task(server, server_task(server->state));
		break;
	case SERVER_AVAILABLE:
		finish(server, 0, NULL);
		rest(server);
		break;
	case SERVER_ACTIVE:
		finish(server, 0, NULL);
		break;
	case SERVER_STATES:
		break;
	}
}

/* An agent that ran beside a tenant's system, or was replaced by it, is not ours any more. */
static bool was_ours(enum server_state before)
{
	return before != SERVER_ACTIVE && before != SERVER_RESCUE;
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
		finish(server, -ECANCELED, &error);
	}
	work->done = done;
	work->data = data;
	timer_stop(work->late);
	if (!was_ours(before) && !text_equal(json_text(task_of(server), "state"), "warm"))
		agent_is_gone(server);
	if (event == SERVER_RELEASE || event == SERVER_CLEANED || event == SERVER_VERIFY) {
		json_object_del(server->object, "owner");
		json_object_del(server->object, "deployment");
	}
	if (event == SERVER_RESERVE || event == SERVER_REBUILD || event == SERVER_VERIFY)
		json_object_del(server->object, "timeline");
	enter(server, next);
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
	r = server_go(server, event, done, data, e);
	if (r < 0) {
		json_object_clear(server->object);
		json_object_update(server->object, before);
	}
	return r;
}

/* The owner's switch. */

static void is_started(void *data, int code, json_t *answer, const struct error *e)
{
	struct server *server = data;
	(void)answer;
	if (code == 0)
		server->work->power = 1;
	switched(server, code, e);
}

static void is_with_owner(struct server *server)
{
	struct error error = {};
	int r = server_bmc_ask(server, json_pack("{s:s, s:s}", "do", "power", "to", "on"),
		is_started, server, &error);
	if (r < 0)
		switched(server, r, &error);
}

static void disk_is_first(void *data, int code, json_t *answer, const struct error *e)
{
	struct server *server = data;
	(void)answer;
	if (code < 0)
		switched(server, code, e);
	else
		switch_to(server, owner_vlan(server), is_with_owner);
}

int server_power_on(struct server *server, server_done *done, void *data, struct error *e)
{
	struct server_work *work = server->work;
	if (work->switched)
		return error_set(e, -EBUSY, "%s is being switched already", server->name);
	if (server->state != SERVER_ACTIVE)
		return error_set(
			e, -EBUSY, "%s is %s", server->name, server_state_name(server->state));
	work->switched = done;
	work->switch_data = data;
	if (text_equal(json_text(task_of(server), "state"), "warm") && is_agent_there(server)) {
		/* The agent that wrote the image starts it: no second self-test of the hardware. */
		set_task(server, "boot");
		timer_set_after(work->late, AGENT_LATE_NS);
		hand_out(server);
		return 0;
	}
	int r = server_bmc_ask(server,
		json_pack(
			"{s:s, s:s, s:b}", "do", "boot", "device", "disk", "uefi", is_uefi(server)),
		disk_is_first, server, e);
	if (r < 0)
		work->switched = NULL;
	return r;
}

static void look_again(void *data);

static void looked(void *data, int code, json_t *answer, const struct error *e)
{
	struct server *server = data;
	struct server_work *work = server->work;
	struct error error = {};
	(void)e;
	if (!work->is_stopping)
		return;
	if (code == 0 && text_equal(json_text(answer, "power"), "off")) {
		work->power = 0;
		switched(server, 0, NULL);
		return;
	}
	if (loop_now() >= work->stop_ns) {
		error_set(
			&error, -ETIMEDOUT, "The instance did not stop in time; stop it by force");
		switched(server, -ETIMEDOUT, &error);
		return;
	}
	timer_set_after(work->look, work->look_ns);
	work->look_ns = work->look_ns * 2 > LOOK_LAST_NS ? LOOK_LAST_NS : work->look_ns * 2;
}

static void look_again(void *data)
{
	struct server *server = data;
	struct error e = {};
	int r = server_bmc_ask(server, json_pack("{s:s}", "do", "state"), looked, server, &e);
	if (r < 0)
		switched(server, r, &e);
}

static void stop_was_asked(void *data, int code, json_t *answer, const struct error *e)
{
	struct server *server = data;
	(void)answer;
	if (code < 0) {
		switched(server, code, e);
		return;
	}
	server->work->look_ns = LOOK_NS;
	timer_set_after(server->work->look, 0);
}

int server_power_off(struct server *server, bool is_forced, uint64_t timeout_ns, server_done *done,
	void *data, struct error *e)
{
	struct server_work *work = server->work;
	if (work->switched && !is_forced)
		return error_set(e, -EBUSY, "%s is being switched already", server->name);
	if (!server_is_owned(server->state) || server->state == SERVER_DEPLOYING)
		return error_set(
			e, -EBUSY, "%s is %s", server->name, server_state_name(server->state));
	if (work->switched) {
		struct error error = {};
		error_set(&error, -ECANCELED, "it was stopped by force");
		switched(server, -ECANCELED, &error);
	}
	agent_is_gone(server);
	json_object_del(server->object, "task");
	int r = server_bmc_ask(server,
		json_pack("{s:s, s:s}", "do", "power", "to", is_forced ? "off" : "soft"),
		stop_was_asked, server, e);
	if (r < 0)
		return r;
	work->switched = done;
	work->switch_data = data;
	work->is_stopping = true;
	work->stop_ns = loop_now() + (timeout_ns ?: STOP_NS);
	return 0;
}

int server_power(const struct server *server)
{
	return server->work->power;
}

void server_work_listen(void (*power)(struct server *server, bool is_on),
	void (*is_deployed)(struct server *server))
{
	power_listener = power;
	deployed_listener = is_deployed;
}

static void bmc_told(struct server *server)
{
	const char *power = json_text(server_bmc_told(server), "power");
	struct server_work *work = server->work;
	if (!power || !work || work->switched)
		return;
	int now = text_equal(power, "on") ? 1 : text_equal(power, "off") ? 0 : -1;
	if (now == work->power || now < 0)
		return;
	work->power = now;
	if (now == 0)
		agent_is_gone(server);
	if (power_listener && server_is_owned(server->state))
		power_listener(server, now == 1);
}

void server_work_start(struct server *server)
{
	struct loop *loop = server->service->loop;
	struct server_work *work = alloc(struct server_work);
	struct error e = {};
	*work = (struct server_work){ .server = server, .power = -1 };
	work->deadline = loop_add_timer(loop, state_too_long, server);
	work->late = loop_add_timer(loop, agent_is_late, server);
	work->look = loop_add_timer(loop, look_again, server);
	server->work = work;
	int r = server_bmc_start(server, bmc_told, &e);
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
	if (server_task(server->state) && !server->service->netboot->is_on)
		return;
	const json_t *boot = json_object_get(server->object, "boot");
	if (server_task(server->state) && json_is_object(boot)) {
		/* An agent may be at work, or starting: it has its time to call. */
		uint64_t gone = loop_wall_clock() - get_ns(boot, "since");
		bool has_called = json_is_true(json_object_get(boot, "has_called"));
		if (has_called)
			work->agent_seen_ns = loop_now();
		uint64_t limit = has_called ? AGENT_LATE_NS
			: gone < BOOT_NS    ? BOOT_NS - gone
					    : AGENT_LATE_NS;
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
	finish(server, -ECANCELED, &e);
	switched(server, -ECANCELED, &e);
}

void server_work_stop(struct server *server)
{
	struct server_work *work = TAKE_PTR(server->work);
	if (!work)
		return;
	server_bmc_unask(server, server);
	server_bmc_stop(server);
	if (work->answer)
		work->answer(work->answer_data, NULL);
	source_free(work->deadline);
	source_free(work->late);
	source_free(work->look);
	free(work);
}

/* The agent's questions. */

static void agent_is_here(struct server *server)
{
	server->work->agent_seen_ns = loop_now();
}

static int inspected(struct server *server, json_t *inventory, struct error *e)
{
	struct server_facts facts;
	server_facts(inventory, &facts);
	json_object_set(server->object, "inventory", inventory);
	if (!server_text(server, "class")) {
		cleanup(free) char *class = server_class(&facts);
		json_set_text(server->object, "class", class);
	}
	if (text_equal(json_text(inventory, "firmware"), "uefi"))
		json_set_text(server->object, "firmware", "uefi");
	return server_go(server, SERVER_INSPECTED, server->work->done, server->work->data, e);
}

int server_agent_hello(struct server *server, const json_t *told, struct error *e)
{
	cleanup(json_decref) json_t *inventory = NULL;
	json_t *boot = json_object_get(server->object, "boot");
	int r = server_inventory_read(told, &inventory, e);
	if (r < 0)
		return r;
	if (server_has_failed(server))
		return error_set(e, -EBUSY, "the server has failed");
	agent_is_here(server);
	timer_stop(server->work->late);
	if (json_is_true(json_object_get(boot, "has_called")) &&
		text_equal(json_text(task_of(server), "state"), "handed")) {
		/* It restarted in the midst: what it had begun is begun anew. */
		if (++server->work->boots > BOOTS_MAX) {
			server_fail(server, -EIO, "the server restarted in the midst of its work");
			return error_set(e, -EBUSY, "too often");
		}
		json_set_text(json_object_get(server->object, "task"), "state", "open");
	}
	json_set_bool(boot, "has_called", true);
	server_stage(server, "agent");
	if (server->state == SERVER_INSPECTING)
		return inspected(server, inventory, e);
	int pcr = server_measures_differ(json_object_get(server->object, "inventory"), inventory);
	if (pcr >= 0) {
		server_fail(server, -EPERM,
			"the TPM's measurement %d is another one than at the inspection", pcr);
		return error_set(e, -EBUSY, "the measurements differ");
	}
	server_keep(server);
	return 0;
}

char *server_agent_task(struct server *server)
{
	json_t *task = json_object_get(server->object, "task");
	const char *name = json_text(task, "name"), *state = json_text(task, "state");
	agent_is_here(server);
	timer_stop(server->work->late);
	if (server->state == SERVER_AVAILABLE && !server->service->netboot->is_warm)
		return server_task_lines(server, "off");
	if (!name || text_equal(name, "wait") || server_has_failed(server) ||
		(!text_equal(state, "open") && !text_equal(state, "handed")))
		return NULL;
	json_set_text(task, "state", "handed");
	server_stage(server, name);
	server_keep(server);
	return server_task_lines(server, name);
}

void server_agent_park(
	struct server *server, void (*answer)(void *data, const char *lines), void *data)
{
	struct server_work *work = server->work;
	if (work->answer)
		work->answer(work->answer_data, NULL);
	work->answer = answer;
	work->answer_data = data;
}

void server_agent_unpark(struct server *server, const void *data)
{
	if (server->work && server->work->answer_data == data)
		server->work->answer = NULL;
}

void server_agent_progress(
	struct server *server, uint64_t serial, const char *stage, uint64_t done, uint64_t total)
{
	json_t *task = json_object_get(server->object, "task");
	if ((uint64_t)json_integer_value(json_object_get(task, "serial")) != serial)
		return;
	agent_is_here(server);
	server_stage(server, stage);
	json_object_set_new(server->object, "progress",
		json_pack("{s:s, s:I, s:I}", "stage", stage, "done", (json_int_t)(done & INT64_MAX),
			"total", (json_int_t)(total & INT64_MAX)));
}

static void erased(struct server *server, const char *lines)
{
	struct error e = {};
	cleanup(json_decref) json_t *record = server_task_erased(lines);
	json_object_set(server->object, "erased", record);
	int r = server_go(server, SERVER_CLEANED, server->work->done, server->work->data, &e);
	if (r < 0)
		server_fail(server, r, "%s", e.text);
}

static void deployed(struct server *server, const char *lines)
{
	struct error e = {};
	cleanup(free) char *disk = server_task_word(lines, "disk");
	json_set_text(server->object, "disk", disk);
	server_stage(server, "deployed");
	json_object_del(server->object, "progress");
	uint64_t seen = server->work->agent_seen_ns;
	int r = server_next(server->state, SERVER_DEPLOYED, &server->state, &e);
	if (r < 0) {
		server_fail(server, r, "%s", e.text);
		return;
	}
	enter(server, server->state);
	/* It waits beside the image until the owner starts it. */
	set_task(server, "wait");
	json_set_text(json_object_get(server->object, "task"), "state", "warm");
	server->work->agent_seen_ns = seen;
	server_keep(server);
	bool is_awaited = server->work->done;
	finish(server, 0, NULL);
	if (!is_awaited && deployed_listener)
		deployed_listener(server);
}

static void booted(struct server *server, const char *lines)
{
	cleanup(free) char *how = server_task_word(lines, "how");
	server_stage(server, text_equal(how, "kexec") ? "kexec" : "restart");
	timer_stop(server->work->late);
	agent_is_gone(server);
	json_object_del(server->object, "task");
	server_keep(server);
	switch_to(server, owner_vlan(server), NULL);
	switched(server, 0, NULL);
}

void server_agent_done(
	struct server *server, uint64_t serial, const char *failed, const char *lines)
{
	json_t *task = json_object_get(server->object, "task");
	cleanup(free) char *name = alloc_text(json_text(task, "name"));
	/* What comes twice, or late, is of a task that is over. */
	if ((uint64_t)json_integer_value(json_object_get(task, "serial")) != serial ||
		text_equal(json_text(task, "state"), "done") || server_has_failed(server))
		return;
	agent_is_here(server);
	timer_stop(server->work->late);
	if (failed) {
		server_fail(server, -EIO, "%s: %s", name, failed);
		return;
	}
	json_set_text(task, "state", "done");
	if (text_equal(name, "erase"))
		erased(server, lines);
	else if (text_equal(name, "deploy"))
		deployed(server, lines);
	else if (text_equal(name, "boot"))
		booted(server, lines);
	else {
		server_keep(server);
		finish(server, 0, NULL);
	}
}

bool server_wants_agent(const struct server *server)
{
	return json_is_object(json_object_get(server->object, "boot"));
}
