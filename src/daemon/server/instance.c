/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance.c - an instance that is a whole server.
 */
#include "daemon/server/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/instance/helper.h"
#include "daemon/instance/turn.h"
#include "daemon/job.h"
#include "daemon/server/agent.h"
#include "daemon/server/console.h"
#include "daemon/server/disk.h"
#include "daemon/server/line.h"
#include "daemon/server/metrics.h"
#include "daemon/server/power.h"
#include "daemon/server/seed.h"
#include "model/json.h"

#define DIGESTS "disk-digest" /* in the store: {"digest"} by the image's fingerprint */

/* A deployment on its way. */
struct making {
	struct service *service;
	char *project, *name, *path, *fingerprint;
	uint64_t bytes;
	enum server_event event;
	int file;
	server_done *owned, *done;
	void *data;
};

/* A change of power on its way. */
struct switching {
	struct service *service;
	char *project, *name;
	server_done *done;
	void *data;
	bool is_restart, is_forced;
};

static struct server *server_of(const struct instance *instance)
{
	return server_of_instance(instance->service, instance->project, instance->name);
}

static int own_server(const struct instance *instance, struct server **ret, struct error *e)
{
	struct server *server = server_of(instance);
	if (!server || !server->work)
		return error_set(e, -ENOENT, "The instance has no server");
	*ret = server;
	return 0;
}

static int read_wish(const struct instance *instance, struct server_wish *ret, struct error *e)
{
	cleanup(spec_done) struct spec spec = {};
	int r = instance_spec(instance, &spec, e);
	if (r < 0)
		return r;
	const struct disk_device *root = devices_root(&spec.devices);
	*ret = (struct server_wish){
		.class = instance_config(instance, "volatile.berth.class"),
		.cpus = (spec.cpu.milli + 999) / 1000,
		.memory_bytes = spec.memory_bytes,
		.disk_bytes = root ? root->size_bytes : 0,
	};
	for (size_t i = 0; i < spec.devices.nic_count; i++) {
		uint64_t mbit = spec.devices.nics[i].egress_bits / 1000000;
		if (mbit > ret->nic_mbit)
			ret->nic_mbit = mbit;
	}
	return 0;
}

/* The first that fits, the smallest in memory of those. */
static int choose(
	const struct instance *instance, uint64_t disk_bytes, struct server **ret, struct error *e)
{
	struct server_wish wish;
	struct text others = {};
	struct server *best = NULL;
	uint64_t best_memory = 0;
	size_t free_count = 0, count = 0;
	int r = read_wish(instance, &wish, e);
	if (r < 0)
		return r;
	if (disk_bytes > wish.disk_bytes)
		wish.disk_bytes = disk_bytes;
	for (struct server *at = instance->service->servers->first; at; at = at->next) {
		struct server_facts facts;
		count++;
		if (at->state != SERVER_AVAILABLE || server_has_failed(at) ||
			server_is_in_maintenance(at))
			continue;
		free_count++;
		server_facts(json_object_get(at->object, "inventory"), &facts);
		cleanup(free) char *lacks =
			server_lacks(&facts, server_text(at, "class") ?: "", at->name, &wish);
		if (lacks && others.length < 300)
			text_printf(
				&others, "%s%s has %s", others.length ? "; " : "", at->name, lacks);
		if (!lacks && (!best || facts.memory_bytes < best_memory)) {
			best = at;
			best_memory = facts.memory_bytes;
		}
	}
	if (!best && free_count == 0)
		r = error_set(e, -EBUSY, "None of the %zu servers is available", count);
	else if (!best)
		r = error_set(e, -EBUSY, "No available server fits: %s", text_str(&others));
	text_done(&others);
	if (r == 0)
		*ret = best;
	return r;
}

int server_instance_check(struct instance *instance, struct error *e)
{
	struct server *ignored;
	return choose(instance, 0, &ignored, e);
}

static void making_free(struct making *making)
{
	if (making->file >= 0)
		close(making->file);
	free(making->project);
	free(making->name);
	free(making->path);
	free(making->fingerprint);
	free(making);
}

static void made(struct making *making, int code, const struct error *e)
{
	making->done(making->data, code, e);
	making_free(making);
}

static void deployed(void *data, int code, const struct error *e)
{
	struct making *making = data;
	struct instance *instance = instance_find(making->service, making->project, making->name);
	/* One that is being made is its maker's. */
	if (instance && making->event == SERVER_REBUILD)
		instance_release(instance);
	made(making, code, e);
}

static void note_server(struct instance *instance, const struct server *server)
{
	struct error e = {};
	instance_set(instance, "volatile.berth.server", server->name);
	instance_set(instance, "volatile.eth0.hwaddr", server_text(server, "mac"));
	if (instance_save(instance, &e) < 0)
		log_error("not stored instance=%s: %s", instance->name, e.text);
}

struct finding {
	const struct making *making;
	struct instance *found;
};

static void find_half_made(void *data, struct instance *instance)
{
	struct finding *finding = data;
	if (text_equal(instance->project, finding->making->project) &&
		text_equal(instance->name, finding->making->name))
		finding->found = instance;
}

static struct instance *find_made(const struct making *making)
{
	struct finding finding = { making,
		instance_find(making->service, making->project, making->name) };
	if (!finding.found)
		instances_each_half_made(making->service, find_half_made, &finding);
	return finding.found;
}

static int deploy(struct making *making, const char *digest, struct error *e)
{
	struct server *server = NULL;
	struct instance *instance = find_made(making);
	if (!instance)
		return error_set(e, -ENOENT, "The instance is gone");
	int r = making->event == SERVER_REBUILD ? own_server(instance, &server, e)
						: choose(instance, making->bytes, &server, e);
	if (r < 0)
		return r;
	json_t *deployment =
		json_pack("{s:s, s:s, s:I, s:o}", "path", making->path, "digest", digest, "bytes",
			(json_int_t)making->bytes, "files", server_seed_files(instance, server));
	json_object_set_new(deployment, "vlan", json_integer(server_seed_vlan(instance)));
	json_object_set_new(deployment, "agent", json_boolean(server_line_is_wanted(instance)));
	r = server_deploy(server, making->event, instance->project, instance->name, deployment,
		deployed, making, e);
	if (r == 0)
		note_server(instance, server);
	return r;
}

static void go_on(struct making *making, const char *digest)
{
	struct error e = {};
	server_done *owned = making->owned;
	void *data = making->data;
	making->owned = NULL;
	int r = deploy(making, digest, &e);
	if (r < 0) {
		if (owned)
			owned(data, r, &e);
		deployed(making, r, &e);
	} else if (owned) {
		owned(data, 0, &e);
	}
}

static void counted(void *data, int code, json_t *result, const struct error *e)
{
	struct making *making = data;
	const char *digest = json_text(result, "digest");
	struct error error = {};
	if (code < 0 || !digest) {
		if (making->owned)
			making->owned(making->data, code ?: -EIO, e);
		deployed(making, code ?: -EIO, e);
		return;
	}
	cleanup(json_decref) json_t *kept = json_pack("{s:s}", "digest", digest);
	if (store_put(making->service->store, DIGESTS, "", making->fingerprint, kept, &error) < 0)
		log_warning("digest of an image's disk not kept: %s", error.text);
	go_on(making, digest);
}

static void known(void *data)
{
	struct making *making = data;
	cleanup(json_decref) json_t *kept = NULL;
	struct error e = {};
	if (store_get(making->service->store, DIGESTS, "", making->fingerprint, &kept, &e) == 0 &&
		json_text(kept, "digest")) {
		go_on(making, json_text(kept, "digest"));
		return;
	}
	const struct job_options options = {
		.task = json_pack("{s:s}", "task", "digest"),
		.fds = { making->file },
		.fd_count = 1,
		.done = counted,
		.data = making,
	};
	int r = job_start(making->service, &options, NULL, &e);
	if (r < 0)
		counted(making, r, NULL, &e);
}

static int begin(struct instance *instance, enum server_event event, const char *path,
	uint64_t bytes, const char *fingerprint, server_done *owned, server_done *done, void *data,
	struct error *e)
{
	cleanup(close) int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (!path)
		return error_set(e, -EINVAL, "source: a server needs the image of a disk");
	if (file < 0)
		return error_errno(e, "open the image's disk");
	struct making *making = alloc(struct making);
	*making = (struct making){ .service = instance->service,
		.project = alloc_text(instance->project),
		.name = alloc_text(instance->name),
		.path = alloc_text(path),
		.fingerprint = alloc_text(fingerprint),
		.bytes = bytes,
		.event = event,
		.file = TAKE_FD(file),
		.owned = owned,
		.done = done,
		.data = data };
	loop_defer(instance->service->loop, known, making);
	return 0;
}

int server_instance_make(struct instance *instance, const char *path, uint64_t bytes,
	const char *fingerprint, server_done *owned, server_done *done, void *data, struct error *e)
{
	struct server *ignored;
	int r = choose(instance, bytes, &ignored, e);
	if (r < 0)
		return r;
	return begin(instance, SERVER_RESERVE, path, bytes, fingerprint, owned, done, data, e);
}

int server_instance_rebuild(struct instance *instance, const char *path, const char *fingerprint,
	server_done *done, void *data, struct error *e)
{
	struct server *server;
	enum server_state next;
	int r = own_server(instance, &server, e);
	if (r == 0)
		r = server_next(server->state, SERVER_REBUILD, &next, e);
	if (r == 0 && instance->state != INSTANCE_STOPPED)
		r = error_set(e, -EBUSY, "The instance is running; stop it first");
	if (r == 0)
		r = instance_claim(instance, "rebuilding", e);
	if (r < 0)
		return r;
	r = begin(instance, SERVER_REBUILD, path, 0, fingerprint, NULL, done, data, e);
	if (r < 0)
		instance_release(instance);
	return r;
}

static struct switching *switching_new(struct instance *instance, server_done *done, void *data)
{
	struct switching *switching = alloc(struct switching);
	*switching = (struct switching){ .service = instance->service,
		.project = alloc_text(instance->project),
		.name = alloc_text(instance->name),
		.done = done,
		.data = data };
	return switching;
}

static void switching_free(struct switching *switching)
{
	free(switching->project);
	free(switching->name);
	free(switching);
}

static void move(struct instance *instance, enum instance_event event)
{
	struct error e = {};
	if (instance_move(instance, event, &e) < 0)
		log_error("instance=%s: %s", instance->name, e.text);
}

static void remember(struct instance *instance, const char *power)
{
	struct error e = {};
	instance_set(instance, "volatile.last_state.power", power);
	if (instance_save(instance, &e) < 0)
		log_error("not stored instance=%s: %s", instance->name, e.text);
}

static void started(void *data, int code, const struct error *e)
{
	struct switching *switching = data;
	struct instance *instance =
		instance_find(switching->service, switching->project, switching->name);
	if (instance) {
		move(instance, code < 0 ? INSTANCE_GONE : INSTANCE_STARTED);
		if (code == 0) {
			char now[TEXT_TIME_SIZE];
			json_set_text(instance->object, "last_used_at",
				text_format_time(loop_wall_clock(), now));
			remember(instance, "RUNNING");
			instance_event(instance,
				switching->is_restart ? "instance-restarted" : "instance-started",
				NULL);
		}
		instance_release(instance);
	}
	switching->done(switching->data, code, e);
	switching_free(switching);
}

static int start(struct instance *instance, struct switching *switching, struct error *e)
{
	struct server *server;
	int r = own_server(instance, &server, e);
	/* A snapshot that came to nothing keeps nobody from his server. */
	if (r == 0 && server->state == SERVER_SAVING && server_has_failed(server))
		r = server_go(server, SERVER_SAVED, NULL, NULL, e);
	if (r == 0)
		r = instance_move(instance, INSTANCE_START, e);
	if (r < 0)
		return r;
	r = server_power_on(server, started, switching, e);
	if (r < 0)
		move(instance, INSTANCE_GONE);
	return r;
}

int server_instance_start(struct instance *instance, server_done *done, void *data, struct error *e)
{
	int r = instance_claim(instance, "starting", e);
	if (r < 0)
		return r;
	struct switching *switching = switching_new(instance, done, data);
	r = start(instance, switching, e);
	if (r < 0) {
		instance_release(instance);
		switching_free(switching);
	}
	return r;
}

static void stopped(void *data, int code, const struct error *e)
{
	struct switching *switching = data;
	struct instance *instance =
		instance_find(switching->service, switching->project, switching->name);
	struct error error = {};
	if (!instance) {
		switching->done(switching->data, code, e);
		switching_free(switching);
		return;
	}
	move(instance, code < 0 ? INSTANCE_STOP_GIVEN_UP : INSTANCE_GONE);
	if (code == 0) {
		remember(instance, "STOPPED");
		instance_event(instance,
			switching->is_forced ? "instance-stopped" : "instance-shutdown", NULL);
	}
	if (code == 0 && switching->is_restart) {
		int r = start(instance, switching, &error);
		if (r < 0)
			started(switching, r, &error);
		return;
	}
	instance_release(instance);
	switching->done(switching->data, code, e);
	switching_free(switching);
}

/* Besides the power button: a system may listen to one only. */
static void ask_agent(struct instance *instance)
{
	struct error e = {};
	if (server_line_is_there(instance) && helper_ask_end(instance, &e) < 0)
		log_warning("the agent is not asked instance=%s: %s", instance->name, e.text);
}

static int stop(struct instance *instance, bool is_forced, bool is_restart, uint64_t timeout_ns,
	server_done *done, void *data, struct error *e)
{
	struct server *server;
	enum instance_state before = instance->state;
	bool is_cut = is_forced && text_equal(instance->doing, INSTANCE_STOPPING);
	int r = own_server(instance, &server, e);
	if (r == 0 && is_cut)
		return server_power_off(server, true, timeout_ns, done, data, e);
	if (r == 0)
		r = instance_claim(instance, is_restart ? "restarting" : INSTANCE_STOPPING, e);
	if (r < 0)
		return r;
	struct switching *switching = switching_new(instance, done, data);
	switching->is_restart = is_restart;
	switching->is_forced = is_forced;
	r = instance_move(instance, INSTANCE_STOP, e);
	if (r == 0) {
		r = server_power_off(server, is_forced, timeout_ns, stopped, switching, e);
		if (r < 0)
			instance->state = before;
	}
	if (r < 0) {
		instance_release(instance);
		switching_free(switching);
	} else if (!is_forced) {
		ask_agent(instance);
	}
	return r;
}

int server_instance_stop(struct instance *instance, bool is_forced, uint64_t timeout_ns,
	server_done *done, void *data, struct error *e)
{
	return stop(instance, is_forced, false, timeout_ns, done, data, e);
}

int server_instance_restart(struct instance *instance, bool is_forced, uint64_t timeout_ns,
	server_done *done, void *data, struct error *e)
{
	return stop(instance, is_forced, true, timeout_ns, done, data, e);
}

static void rescued(void *data, int code, const struct error *e)
{
	struct switching *switching = data;
	struct instance *instance =
		instance_find(switching->service, switching->project, switching->name);
	if (instance && code == 0 && instance->state == INSTANCE_STOPPED) {
		move(instance, INSTANCE_START);
		move(instance, INSTANCE_STARTED);
	}
	if (instance)
		instance_release(instance);
	switching->done(switching->data, code, e);
	switching_free(switching);
}

int server_instance_rescue(
	struct instance *instance, server_done *done, void *data, struct error *e)
{
	struct server *server;
	int r = own_server(instance, &server, e);
	if (r == 0)
		r = instance_claim(instance, "rescuing", e);
	if (r < 0)
		return r;
	struct switching *switching = switching_new(instance, done, data);
	r = server_go(server, SERVER_TO_RESCUE, rescued, switching, e);
	if (r < 0) {
		instance_release(instance);
		switching_free(switching);
	}
	return r;
}

int server_instance_unrescue(
	struct instance *instance, server_done *done, void *data, struct error *e)
{
	struct server *server;
	int r = own_server(instance, &server, e);
	if (r == 0)
		r = server_go(server, SERVER_FROM_RESCUE, NULL, NULL, e);
	if (r < 0)
		return r;
	if (instance->state == INSTANCE_RUNNING)
		return server_instance_stop(instance, true, 0, done, data, e);
	done(data, 0, NULL);
	return 0;
}

int server_instance_release(struct instance *instance, struct error *e)
{
	struct server *server = server_of(instance);
	return server ? server_go(server, SERVER_RELEASE, NULL, NULL, e) : 0;
}

int server_instance_console(
	struct instance *instance, bool is_forced, struct operation **ret, struct error *e)
{
	struct server *server;
	int r = own_server(instance, &server, e);
	if (r == 0)
		r = server_console_start(
			server, instance->project, instance_resources(instance), is_forced, ret, e);
	if (r == 0)
		instance_event(instance, "instance-console", NULL);
	return r;
}

int server_instance_log(const struct instance *instance)
{
	const struct server *server = server_of(instance);
	if (!server)
		return -1;
	cleanup(free) char *path = alloc_printf("servers/%s/console.log", server->name);
	return openat(instance->service->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

void server_instance_add_network(const struct instance *instance, struct text *text)
{
	const struct server *server = server_of(instance);
	const char *host = server ? server_text(server, "host") : NULL;
	const char *mac = server ? server_text(server, "mac") : NULL;
	if (!host || !mac)
		return;
	size_t length = strcspn(host, "/");
	text_printf(text,
		"\"eth0\":{\"addresses\":[{\"family\":\"inet\",\"address\":\"%.*s\",\"netmask\":"
		"\"%s\",\"scope\":\"global\"}],\"counters\":{\"bytes_received\":0,\"bytes_sent\":0,"
		"\"packets_received\":0,\"packets_sent\":0},\"hwaddr\":\"%s\",\"host_name\":\"\","
		"\"mtu\":1500,\"state\":\"up\",\"type\":\"broadcast\"}",
		(int)length, host, host[length] ? host + length + 1 : "", mac);
}

/* Power came or went by itself. */
static void power_changed(struct server *server, bool is_on)
{
	const json_t *owner = json_object_get(server->object, "owner");
	struct instance *instance = instance_find(server->service,
		json_text(owner, "project") ?: "", json_text(owner, "instance") ?: "");
	if (!instance || instance->doing || server->state != SERVER_ACTIVE)
		return;
	if (is_on && instance->state == INSTANCE_STOPPED) {
		move(instance, INSTANCE_START);
		move(instance, INSTANCE_STARTED);
		instance_event(instance, "instance-started", NULL);
	} else if (!is_on && instance->state == INSTANCE_RUNNING) {
		move(instance, INSTANCE_GONE);
		remember(instance, "STOPPED");
		instance_event(instance, "instance-shutdown", NULL);
	}
}

static void started_by_itself(void *data, int code, const struct error *e)
{
	(void)data;
	if (code < 0)
		log_error("not started after its deployment: %s", e->text);
}

/* Nobody waited for the end of the deployment: the daemon was restarted meanwhile. */
static void deployed_alone(struct server *server)
{
	const json_t *owner = json_object_get(server->object, "owner");
	struct instance *instance = instance_find(server->service,
		json_text(owner, "project") ?: "", json_text(owner, "instance") ?: "");
	struct error e = {};
	if (!instance || !instance_config_is(instance, "volatile.berth.start"))
		return;
	int r = server_instance_start(instance, started_by_itself, NULL, &e);
	if (r < 0)
		started_by_itself(NULL, r, &e);
}

/* After a restart: as it was, until the BMC says otherwise. */
static void adopt(void *data, struct instance *instance)
{
	const char *power = instance_config(instance, "volatile.last_state.power");
	(void)data;
	const struct server *server =
		instance->kind->can & KIND_IS_SERVER ? server_of(instance) : NULL;
	if (!server)
		return;
	/* Nobody waits any more for what was on its way. */
	if (server->state == SERVER_ACTIVE)
		server_disk_empty(instance);
	if (text_equal(power, "RUNNING") && instance->state == INSTANCE_STOPPED) {
		move(instance, INSTANCE_START);
		move(instance, INSTANCE_STARTED);
	}
}

int server_instances_start(struct service *service, struct error *e)
{
	(void)e;
	server_metrics_start(service);
	server_power_listen(power_changed);
	server_agent_listen(deployed_alone);
	instances_each(service, NULL, adopt, NULL);
	return 0;
}

void server_instances_stop(struct service *service)
{
	(void)service;
}
