/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power.c - what the owner asks of the BMC: on with the disk first, off by force or by its system.
 */
#include "daemon/server/power.h"

#include <errno.h>

#include "base/text.h"
#include "daemon/server/boot.h"
#include "daemon/server/line.h"
#include "model/json.h"

#define LOOK_NS      (500 * NS_PER_MS)
#define LOOK_LAST_NS (4 * NS_PER_SEC)
#define STOP_NS      (600 * NS_PER_SEC)

static void (*power_listener)(struct server *server, bool is_on);

static void is_started(void *data, int code, json_t *answer, const struct error *e)
{
	struct server *server = data;
	(void)answer;
	if (code == 0)
		server->work->power = 1;
	server_switched(server, code, e);
}

static void is_with_owner(struct server *server)
{
	struct error error = {};
	/* An agent may still run there that does not answer. */
	const char *how = server->work->is_cold ? "cycle" : "on";
	server->work->is_cold = false;
	int r = server_bmc_ask(server, json_pack("{s:s, s:s}", "do", "power", "to", how),
		is_started, server, &error);
	if (r < 0)
		server_switched(server, r, &error);
}

static void disk_is_first(void *data, int code, json_t *answer, const struct error *e)
{
	struct server *server = data;
	(void)answer;
	if (code < 0)
		server_switched(server, code, e);
	else
		server_plug(server, server_owner_vlan(server), is_with_owner);
}

static int from_disk(struct server *server, struct error *e)
{
	return server_bmc_ask(server,
		json_pack("{s:s, s:s, s:b}", "do", "boot", "device", "disk", "uefi",
			server_is_uefi(server)),
		disk_is_first, server, e);
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
	if (text_equal(json_text(server_task_of(server), "state"), "warm") &&
		server_agent_is_there(server)) {
		/* The agent that wrote the image starts it: no second self-test of the hardware. */
		server_task_set(server, "boot");
		timer_set_after(work->late, SERVER_AGENT_LATE_NS);
		server_task_hand_out(server);
		return 0;
	}
	int r = from_disk(server, e);
	if (r < 0)
		work->switched = NULL;
	return r;
}

void server_power_cold(struct server *server)
{
	struct error e = {};
	server_agent_is_gone(server);
	json_object_del(server->object, "task");
	server_keep(server);
	server->work->is_cold = true;
	int r = from_disk(server, &e);
	if (r < 0)
		server_switched(server, r, &e);
}

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
		server_line_drop(server);
		server_switched(server, 0, NULL);
		return;
	}
	if (loop_now() >= work->stop_ns) {
		error_set(
			&error, -ETIMEDOUT, "The instance did not stop in time; stop it by force");
		server_switched(server, -ETIMEDOUT, &error);
		return;
	}
	timer_set_after(work->look, work->look_ns);
	work->look_ns = work->look_ns * 2 > LOOK_LAST_NS ? LOOK_LAST_NS : work->look_ns * 2;
}

void server_power_look(void *data)
{
	struct server *server = data;
	struct error e = {};
	int r = server_bmc_ask(server, json_pack("{s:s}", "do", "state"), looked, server, &e);
	if (r < 0)
		server_switched(server, r, &e);
}

static void stop_was_asked(void *data, int code, json_t *answer, const struct error *e)
{
	struct server *server = data;
	(void)answer;
	if (code < 0) {
		server_switched(server, code, e);
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
		server_switched(server, -ECANCELED, &error);
	}
	timer_stop(work->late);
	server_agent_is_gone(server);
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

void server_power_listen(void (*power)(struct server *server, bool is_on))
{
	power_listener = power;
}

void server_power_told(struct server *server)
{
	const char *power = json_text(server_bmc_told(server), "power");
	struct server_work *work = server->work;
	if (!power || !work || work->switched)
		return;
	int now = text_equal(power, "on") ? 1 : text_equal(power, "off") ? 0 : -1;
	if (now == work->power || now < 0)
		return;
	work->power = now;
	if (now == 0) {
		server_agent_is_gone(server);
		server_line_drop(server);
	}
	if (power_listener && server_is_owned(server->state))
		power_listener(server, now == 1);
}
