/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line.c - one connection a server waits, the youngest; who asks is given it, and the agent makes another.
 *
 * What is on a connection is read by helpers only. The daemon looks whether it is over: an agent has nothing to say
 * before it is asked.
 */
#include "daemon/server/line.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <unistd.h>

#include "abi/runner.h"
#include "base/channel.h"
#include "base/log.h"
#include "daemon/config.h"
#include "daemon/remote.h"
#include "daemon/server/note.h"
#include "model/json.h"

#define PLACE        "/var/lib/berth/line"
#define ADDRESS      "berth.metal.agent"
#define ID_BYTES     8
#define SECRET_BYTES 32
#define DIGEST_BYTES 32
#define WAIT_NS      (5 * NS_PER_SEC)

/* One helper's. */
struct door {
	struct service *service;
	char *project, *name; /* of the instance, which may go meanwhile */
	int fd;
	struct source *source, *timer;
	bool is_waiting;
	bool is_ahead;      /* it was answered before it asked */
	struct door *after; /* of those that wait for the same server */
	struct server *server;
};

struct server_line {
	int parked; /* -1: none */
	struct source *watch;
	struct door *waiting;
	uint64_t called_at; /* of the wall clock; 0: never */
};

static struct server_line *line_of(struct server *server)
{
	if (!server->work->line) {
		server->work->line = alloc(struct server_line);
		server->work->line->parked = -1;
	}
	return server->work->line;
}

/* -- the key -------------------------------------------------------------------------------------- */

static int digest(const char *secret, char hex[2 * DIGEST_BYTES + 1])
{
	uint8_t bytes[DIGEST_BYTES];
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, secret, strlen(secret), bytes) < 0)
		return -EIO;
	text_hex(bytes, sizeof(bytes), hex);
	return 0;
}

bool server_line_is_wanted(const struct instance *instance)
{
	const char *value = instance_config(instance, "berth.agent");
	return !value || !*value || instance_config_is(instance, "berth.agent");
}

/* Whom it calls, a line each. */
static void add_addresses(struct service *service, struct text *text)
{
	const char *given = config_get(service, ADDRESS);
	cleanup(json_decref) json_t *addresses = remote_addresses(service);
	size_t i;
	json_t *address;
	if (json_array_size(addresses) > 0 && given) {
		text_printf(text, "to %s\n", given);
		return;
	}
	json_array_foreach(addresses, i, address)
	{
		if (i < 16)
			text_printf(text, "to %s\n", json_string_value(address));
	}
}

static int make_key(struct server *server, struct text *file)
{
	const struct certificate *certificate;
	struct error e = {};
	char hex[2 * DIGEST_BYTES + 1];
	add_addresses(server->service, file);
	if (!file->length)
		return -ENOENT;
	int r = remote_certificate(server->service, &certificate, &e);
	if (r < 0) {
		log_warning("no key for an agent server=%s: %s", server->name, e.text);
		return r;
	}
	cleanup(free) char *id = text_random_hex(ID_BYTES);
	cleanup(free) char *secret = text_random_hex(SECRET_BYTES);
	r = digest(secret, hex);
	if (r < 0)
		return r;
	text_printf(file, "pin %s\nkey %s.%s\n", certificate->fingerprint, id, secret);
	json_object_set_new(
		server->object, "agent", json_pack("{s:s, s:s}", "id", id, "digest", hex));
	return 0;
}

void server_line_add_key(struct server *server, struct text *lines)
{
	cleanup(text_done) struct text file = {};
	const json_t *deployment = json_object_get(server->object, "deployment");
	server_line_forget(server);
	if (!json_is_true(json_object_get(deployment, "agent")) || make_key(server, &file) < 0)
		return;
	const char *data = text_str(&file);
	cleanup(free) char *hex = alloc_array(2 * strlen(data) + 1, char);
	text_hex(data, strlen(data), hex);
	text_printf(lines, "agentfile 0600 " PLACE " %s\n", hex);
}

void server_line_drop(struct server *server)
{
	struct server_line *line = server->work ? server->work->line : NULL;
	if (!line || line->parked < 0)
		return;
	source_free(TAKE_PTR(line->watch));
	close(TAKE_FD(line->parked));
}

void server_line_forget(struct server *server)
{
	server_line_drop(server);
	if (server->work && server->work->line)
		server->work->line->called_at = 0;
	if (server->work)
		server->work->usage_ns = 0;
	json_object_del(server->object, "agent");
}

struct server *server_line_find(struct service *service, const char *key)
{
	char id[2 * ID_BYTES + 1], hex[2 * DIGEST_BYTES + 1];
	if (strlen(key) != sizeof(id) + (size_t)2 * SECRET_BYTES || key[sizeof(id) - 1] != '.')
		return NULL;
	const char *secret = key + sizeof(id);
	memcpy(id, key, sizeof(id) - 1);
	id[sizeof(id) - 1] = '\0';
	for (struct server *at = service->servers->first; at; at = at->next) {
		const json_t *agent = json_object_get(at->object, "agent");
		const char *kept = json_text(agent, "digest");
		if (!kept || !text_equal(json_text(agent, "id"), id))
			continue;
		if (at->state != SERVER_ACTIVE || !at->work || strlen(kept) != sizeof(hex) - 1 ||
			digest(secret, hex) < 0 || gnutls_memcmp(hex, kept, sizeof(hex) - 1) != 0)
			return NULL;
		return at;
	}
	return NULL;
}

/* -- connections ---------------------------------------------------------------------------------- */

static void answer(struct door *door, int fd)
{
	const struct runner_header done = { sizeof(done), RUNNER_VERSION, RUNNER_DONE, 0, 0 };
	timer_stop(door->timer);
	if (channel_send(door->fd, &done, sizeof(done), &fd, 1) < 0)
		log_debug("a helper went");
}

static void refuse(struct door *door, int code, const struct error *e)
{
	struct runner_error error = {
		.header = { sizeof(error), RUNNER_VERSION, RUNNER_ERROR, 0, 0 }, .code = code
	};
	size_t length = strnlen(e->text, sizeof(error.text) - 1);
	memcpy(error.text, e->text, length);
	timer_stop(door->timer);
	if (channel_send(door->fd, &error, sizeof(error), NULL, 0) < 0)
		log_debug("a helper went");
}

static void stop_waiting(struct door *door)
{
	if (!door->is_waiting)
		return;
	door->is_waiting = false;
	for (struct door **at = &door->server->work->line->waiting; *at; at = &(*at)->after) {
		if (*at != door)
			continue;
		*at = door->after;
		return;
	}
}

/* It is over, or talks out of turn. */
static void parked_ready(void *data, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	server_line_drop(data);
}

static struct instance *instance_of(const struct door *door)
{
	return instance_find(door->service, door->project, door->name);
}

static int explain(const struct door *door, struct error *e)
{
	const struct instance *instance = instance_of(door);
	if (!instance || !instance_state_is_alive(instance->state))
		return error_set(e, -EBUSY, "Instance is not running");
	int r = server_line_check(instance, e);
	if (r < 0)
		return r;
	const struct server *server = server_of_instance(door->service, door->project, door->name);
	char when[TEXT_TIME_SIZE];
	if (server && server->work->line && server->work->line->called_at)
		return error_set(e, -ETIMEDOUT,
			"The agent of %s is not there now: it called last at %s, and calls again by itself",
			door->name, text_format_time(server->work->line->called_at, when));
	return error_set(e, -ETIMEDOUT,
		"The agent of %s has not called yet: its image must carry berth-agent and berth-line, and its "
		"network must reach this host's TLS port",
		door->name);
}

static void waited_too_long(void *data)
{
	struct door *door = data;
	struct error e = {};
	stop_waiting(door);
	int r = explain(door, &e);
	refuse(door, r, &e);
}

void server_line_park(struct server *server, int fd)
{
	struct server_line *line = line_of(server);
	struct door *door = line->waiting;
	line->called_at = loop_wall_clock();
	if (door) {
		stop_waiting(door);
		answer(door, fd);
		close(fd);
		return;
	}
	server_line_drop(server);
	if (loop_add_fd(server->service->loop, fd, EPOLLIN | EPOLLRDHUP, parked_ready, server,
		    &line->watch) < 0) {
		line->watch = NULL;
		close(fd);
		return;
	}
	line->parked = fd;
}

/* -- helpers -------------------------------------------------------------------------------------- */

int server_line_check(const struct instance *instance, struct error *e)
{
	struct service *service = instance->service;
	const struct server *server =
		server_of_instance(service, instance->project, instance->name);
	cleanup(json_decref) json_t *addresses = remote_addresses(service);
	if (!server || !server->work)
		return error_set(e, -ENOENT, "The instance has no server");
	if (server->state != SERVER_ACTIVE)
		return error_set(e, -EBUSY, "%s: its server is in %s", instance->name,
			server_state_name(server->state));
	if (json_array_size(addresses) == 0)
		return error_set(e, -EOPNOTSUPP,
			"%s can't be reached: its agent calls the TLS port, and core.https_address is not set",
			instance->name);
	if (!json_object_get(server->object, "agent"))
		return error_set(e, -EOPNOTSUPP,
			"%s was put on its server without a key for its agent (berth.agent, "
			"core.https_address): rebuild it for one",
			instance->name);
	return 0;
}

static void door_free(struct door *door)
{
	stop_waiting(door);
	source_free(door->source);
	source_free(door->timer);
	close(door->fd);
	free(door->project);
	free(door->name);
	free(door);
}

static void want(struct door *door)
{
	struct error e = {};
	const struct instance *instance = instance_of(door);
	/* One that is being stopped may be asked to end. */
	int r = instance && instance_state_is_alive(instance->state)
		? server_line_check(instance, &e)
		: explain(door, &e);
	if (r < 0) {
		refuse(door, r, &e);
		return;
	}
	struct server *server = server_of_instance(door->service, door->project, door->name);
	struct server_line *line = line_of(server);
	if (line->parked >= 0) {
		source_free(TAKE_PTR(line->watch));
		answer(door, line->parked);
		close(TAKE_FD(line->parked));
		line->called_at = loop_wall_clock(); /* it was there until now */
		return;
	}
	struct door **at = &line->waiting;
	while (*at)
		at = &(*at)->after;
	*at = door;
	door->after = NULL;
	door->server = server;
	door->is_waiting = true;
	timer_set_after(door->timer, WAIT_NS);
}

static void door_ready(void *data, int fd, uint32_t events)
{
	struct door *door = data;
	char byte;
	size_t no_fds = 0;
	(void)events;
	ssize_t length = channel_receive(fd, &byte, sizeof(byte), NULL, &no_fds);
	if (length == -EAGAIN)
		return;
	if (length <= 0)
		door_free(door);
	else if (door->is_ahead)
		door->is_ahead = false;
	else if (!door->is_waiting)
		want(door);
}

/* NULL: nobody has called or asked yet. */
static const struct server_line *line_to(const struct instance *instance)
{
	const struct server *server =
		server_of_instance(instance->service, instance->project, instance->name);
	return server && server->work ? server->work->line : NULL;
}

int server_line_open(struct instance *instance, int *ret, struct error *e)
{
	int ends[2] = { -1, -1 };
	int r = server_line_check(instance, e);
	if (r == 0)
		r = channel_pair(ends, e);
	if (r < 0)
		return r;
	struct door *door = alloc(struct door);
	door->service = instance->service;
	door->project = alloc_text(instance->project);
	door->name = alloc_text(instance->name);
	door->fd = ends[0];
	door->timer = loop_add_timer(instance->service->loop, waited_too_long, door);
	r = loop_add_fd(
		instance->service->loop, door->fd, EPOLLIN, door_ready, door, &door->source);
	if (r < 0) {
		close(ends[1]);
		door_free(door);
		return error_code(e, r, "watch the helper");
	}
	/* At once: when the helper runs, the system may be off, and the connection forgotten. */
	const struct server_line *line = line_to(instance);
	if (line && line->parked >= 0) {
		want(door);
		door->is_ahead = true;
	}
	*ret = ends[1];
	return 0;
}

bool server_line_is_there(const struct instance *instance)
{
	const struct server_line *line = line_to(instance);
	return line &&
		(line->parked >= 0 ||
			(line->called_at && loop_wall_clock() - line->called_at < WAIT_NS));
}

void server_line_free(struct server *server)
{
	struct server_line *line = server->work->line;
	struct error e = {};
	if (!line)
		return;
	server_line_drop(server);
	while (line->waiting) {
		struct door *door = line->waiting;
		stop_waiting(door);
		refuse(door, error_set(&e, -ENOENT, "The instance has no server"), &e);
	}
	free(TAKE_PTR(server->work->line));
}
