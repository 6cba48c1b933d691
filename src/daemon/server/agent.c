/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.c - the agent's words, and what follows from each.
 */
#include "daemon/server/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/text.h"
#include "daemon/server/boot.h"
#include "daemon/server/media.h"
#include "daemon/server/power.h"
#include "daemon/server/task.h"
#include "daemon/server/work.h"
#include "model/json.h"

#define LOAD_MS_MAX 3600000

static void (*deployed_listener)(struct server *server);

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

int server_agent_hello(struct server *server, const json_t *told, uint64_t ago_ns, struct error *e)
{
	cleanup(json_decref) json_t *inventory = NULL;
	json_t *boot = json_object_get(server->object, "boot");
	int r = server_inventory_read(told, &inventory, e);
	if (r < 0)
		return r;
	if (server_has_failed(server))
		return error_set(e, -EBUSY, "the server has failed");
	server_agent_is_here(server);
	timer_stop(server->work->late);
	if (json_is_true(json_object_get(boot, "has_called")) &&
		text_equal(json_text(server_task_of(server), "state"), "handed")) {
		/* It restarted in the midst: what it had begun is begun anew. */
		if (++server->work->boots > SERVER_BOOTS_MAX) {
			server_fail(server, -EIO, "the server restarted in the midst of its work");
			return error_set(e, -EBUSY, "too often");
		}
		json_set_text(json_object_get(server->object, "task"), "state", "open");
	}
	if (!json_is_true(json_object_get(boot, "has_called")))
		server_media_eject(server);
	json_set_bool(boot, "has_called", true);
	server_stage_before(server, "agent", ago_ns);
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

void server_agent_progress(
	struct server *server, uint64_t serial, const char *stage, uint64_t done, uint64_t total)
{
	json_t *task = json_object_get(server->object, "task");
	if ((uint64_t)json_integer_value(json_object_get(task, "serial")) != serial)
		return;
	server_agent_is_here(server);
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
	server_enter(server, server->state);
	/* It waits beside the image until the owner starts it. */
	server_task_set(server, "wait");
	json_set_text(json_object_get(server->object, "task"), "state", "warm");
	server->work->agent_seen_ns = seen;
	server_keep(server);
	bool is_awaited = server->work->done;
	server_finished(server, 0, NULL);
	if (!is_awaited && deployed_listener)
		deployed_listener(server);
}

/* Off again, as it was: its owner may start it. */
static void end_save(struct server *server, int code, const struct error *e)
{
	server_enter(server, SERVER_ACTIVE);
	server_agent_is_gone(server);
	json_object_del(server->object, "progress");
	server_keep(server);
	server_switch_off(server);
	server_finished(server, code, e);
}

static void saved(struct server *server, const char *lines)
{
	const json_t *saving = json_object_get(server->object, "saving");
	cleanup(free) char *bytes = server_task_word(lines, "bytes");
	cleanup(free) char *digest = server_task_word(lines, "digest");
	struct error e = {};
	uint64_t all = (uint64_t)json_integer_value(json_object_get(saving, "bytes")), count;
	int r = 0;
	if (!bytes || !digest || text_to_u64(bytes, &count) < 0 || count != all)
		r = error_set(&e, -EIO, "the server saved %s bytes of its disk, not %llu",
			bytes ?: "no", (unsigned long long)all);
	json_set_text(server->object, "saved", digest ?: "");
	end_save(server, r, &e);
}

static void booted(struct server *server, const char *lines)
{
	cleanup(free) char *how = server_task_word(lines, "how");
	cleanup(free) char *load = server_task_word(lines, "load_ms");
	uint64_t ms;
	if (load && text_to_u64(load, &ms) == 0 && ms && ms < LOAD_MS_MAX)
		server_stage_before(server, "load", ms * NS_PER_MS);
	server_stage(server, text_equal(how, "kexec") ? "kexec" : "restart");
	timer_stop(server->work->late);
	server_agent_is_gone(server);
	json_object_del(server->object, "task");
	server_keep(server);
	server_plug(server, server_owner_vlan(server), NULL);
	server_switched(server, 0, NULL);
}

/* Its owner reaches the rescue where he reaches his server; our agent's way to us ends with that. */
static void rescued(struct server *server)
{
	uint32_t vlan = server_owner_vlan(server);
	if (vlan) {
		server_agent_is_gone(server);
		server_plug(server, vlan, NULL);
	}
	server_keep(server);
	server_finished(server, 0, NULL);
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
	server_agent_is_here(server);
	timer_stop(server->work->late);
	if (failed && server->state == SERVER_SAVING) {
		/* Nothing is the worse for it: the owner has the server as before. */
		struct error e = {};
		error_set(&e, -EIO, "%s: %s", name, failed);
		end_save(server, -EIO, &e);
		return;
	}
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
	else if (text_equal(name, "save"))
		saved(server, lines);
	else if (text_equal(name, "rescue"))
		rescued(server);
	else {
		server_keep(server);
		server_finished(server, 0, NULL);
	}
}

void server_agent_neighbour(struct server *server, const char *lines)
{
	static const char *const words[] = { "chassis", "port", "system", "vlan" };
	json_t *nics = json_object_get(json_object_get(server->object, "inventory"), "nics");
	cleanup(free) char *name = server_task_word(lines, "nic");
	cleanup(free) char *speed = server_task_word(lines, "speed");
	for (size_t i = 0; name && i < json_array_size(nics); i++) {
		json_t *nic = json_array_get(nics, i);
		uint64_t mbit;
		if (!text_equal(json_text(nic, "name"), name))
			continue;
		json_t *neighbour = json_object();
		for (size_t k = 0; k < ARRAY_SIZE(words); k++) {
			cleanup(free) char *word = server_task_word(lines, words[k]);
			json_set_text(neighbour, words[k], word ?: "");
		}
		json_object_set_new(nic, "neighbour", neighbour);
		/* Its link was not up yet when it was inspected. */
		json_set_bool(nic, "has_link", true);
		if (speed && text_to_u64(speed, &mbit) == 0 && mbit && mbit < INT32_MAX)
			json_object_set_new(nic, "speed_mbit", json_integer((json_int_t)mbit));
		server_keep(server);
	}
}

bool server_agent_may_save(const struct server *server)
{
	return server->state == SERVER_SAVING && !server_has_failed(server) &&
		text_equal(json_text(server_task_of(server), "state"), "handed");
}

int server_agent_piece(
	struct server *server, uint64_t at, const void *bytes, size_t length, struct error *e)
{
	const json_t *saving = json_object_get(server->object, "saving");
	const char *path = json_text(saving, "path");
	uint64_t all = (uint64_t)json_integer_value(json_object_get(saving, "bytes"));
	if (!server_agent_may_save(server) || !path)
		return error_set(e, -EBUSY, "nothing is saved here");
	if (length == 0 || at > all || length > all - at)
		return error_set(e, -EINVAL, "the disk has %llu bytes", (unsigned long long)all);
	cleanup(close) int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return error_errno(e, "open the volume");
	server_agent_is_here(server);
	while (length > 0) {
		ssize_t n = pwrite(fd, bytes, length, (off_t)at);
		if (n < 0 && errno != EINTR)
			return error_errno(e, "write to the volume");
		if (n > 0) {
			bytes = (const char *)bytes + n;
			at += (uint64_t)n;
			length -= (size_t)n;
		}
	}
	return 0;
}

bool server_wants_agent(const struct server *server)
{
	return json_is_object(json_object_get(server->object, "boot"));
}

void server_agent_listen(void (*is_deployed)(struct server *server))
{
	deployed_listener = is_deployed;
}
