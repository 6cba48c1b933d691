/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot.c - one start of the agent has one token; a task has one serial number.
 */
#include "daemon/server/boot.h"

#include <errno.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/server/line.h"
#include "daemon/server/media.h"
#include "daemon/server/netboot.h"
#include "daemon/server/netboot_pass.h"
#include "daemon/server/task.h"
#include "daemon/server/vlan.h"
#include "model/json.h"

#define AGENT_NS (60 * NS_PER_SEC) /* it asks more often than that */

bool server_agent_is_there(const struct server *server)
{
	const struct server_work *work = server->work;
	return work->answer || (work->agent_seen_ns && loop_now() - work->agent_seen_ns < AGENT_NS);
}

void server_agent_is_here(struct server *server)
{
	server->work->agent_seen_ns = loop_now();
}

void server_agent_is_gone(struct server *server)
{
	server->work->agent_seen_ns = 0;
	json_object_del(server->object, "boot");
	netboot_pass_set(server->service, server_text(server, "host"), true);
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
	timer_set_after(
		server->work->late, server_limit_ns(server, "boot.deadline", SERVER_BOOT_NS));
}

void server_ask(struct server *server, json_t *request, server_bmc_answer *answer)
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
		server_ask(server, json_pack("{s:s, s:s}", "do", "power", "to", "cycle"), powered);
}

bool server_is_uefi(const struct server *server)
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

void server_plug(struct server *server, uint32_t vlan, void (*then)(struct server *server))
{
	struct plugging *plugging = alloc(struct plugging);
	*plugging = (struct plugging){ server->service, alloc_text(server->name), then };
	server_switch_set(server, vlan, plugged, plugging);
}

uint32_t server_owner_vlan(const struct server *server)
{
	const json_t *deployment = json_object_get(server->object, "deployment");
	return (uint32_t)json_integer_value(json_object_get(deployment, "vlan"));
}

static void boot_once(struct server *server, const char *device)
{
	server_ask(server,
		json_pack("{s:s, s:s, s:b}", "do", "boot", "device", device, "uefi",
			server_is_uefi(server)),
		boot_is_set);
}

static void is_in_drive(struct server *server)
{
	boot_once(server, "cdrom");
}

static void is_plugged(struct server *server)
{
	if (server_uses_media(server))
		server_media_insert(server, is_in_drive);
	else
		boot_once(server, "network");
}

/* Starts the agent on it, with a token that only this start has. */
void server_boot_agent(struct server *server)
{
	struct error e = {};
	cleanup(free) char *token = text_random_hex(16);
	int r = server_take_host(server, &e);
	if (r == 0 && ++server->work->boots > SERVER_BOOTS_MAX)
		r = error_set(
			&e, -EIO, "the agent did not do its work in %d starts", SERVER_BOOTS_MAX);
	if (r < 0) {
		server_fail(server, r, "%s", e.text);
		return;
	}
	server_agent_is_gone(server);
	json_object_set_new(server->object, "boot",
		json_pack("{s:s, s:I}", "token", token, "since", (json_int_t)loop_wall_clock()));
	server_keep(server);
	netboot_pass_set(server->service, server_text(server, "host"), false);
	/* Away from its owner's network before anything of ours runs on it. */
	server_plug(server, 0, is_plugged);
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

void server_switch_off(struct server *server)
{
	struct error e = {};
	if (server_bmc_ask(server, json_pack("{s:s, s:s}", "do", "power", "to", "off"), is_off,
		    server, &e) < 0)
		log_debug("server=%s: %s", server->name, e.text);
}

const json_t *server_task_of(const struct server *server)
{
	return json_object_get(server->object, "task");
}

void server_task_set(struct server *server, const char *name)
{
	json_int_t serial = json_integer_value(json_object_get(server->object, "serial")) + 1;
	json_object_set_new(server->object, "serial", json_integer(serial));
	json_object_set_new(server->object, "task",
		json_pack("{s:s, s:I, s:s}", "name", name, "serial", serial, "state", "open"));
	server_keep(server);
}

char *server_agent_task(struct server *server)
{
	json_t *task = json_object_get(server->object, "task");
	const char *name = json_text(task, "name"), *state = json_text(task, "state");
	server_agent_is_here(server);
	timer_stop(server->work->late);
	if (server->state == SERVER_AVAILABLE && !server->service->netboot->is_warm)
		return server_task_lines(server, "off");
	if (!name || text_equal(name, "wait") || server_has_failed(server) ||
		(!text_equal(state, "open") && !text_equal(state, "handed")))
		return NULL;
	json_set_text(task, "state", "handed");
	server_stage(server, name);
	struct text lines = {};
	cleanup(free) char *usual = server_task_lines(server, name);
	text_add(&lines, usual);
	if (text_equal(name, "deploy"))
		server_line_add_key(server, &lines);
	server_keep(server);
	return text_take(&lines);
}

/* Hands the task to an agent that waits for one. */
void server_task_hand_out(struct server *server)
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

void server_task_give(struct server *server, const char *name)
{
	if (!text_equal(json_text(server_task_of(server), "name"), name))
		server_task_set(server, name);
	if (server_agent_is_there(server)) {
		timer_set_after(server->work->late, SERVER_AGENT_LATE_NS);
		server_task_hand_out(server);
	} else {
		server_boot_agent(server);
	}
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
