/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest.c - accepts connections of instances, counts them, and answers what berth-guest asks for them.
 */
#include "daemon/guest/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "abi/guest.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/companion.h"
#include "daemon/guest/answer.h"
#include "daemon/guest/machine.h"
#include "daemon/guest/peer.h"
#include "model/json.h"

#define BACKLOG      1024
#define ACCEPT_MAX   32               /* in one turn of the loop */
#define ACCEPT_NS    (50 * NS_PER_MS) /* and no more turns than these allow: 640 a second */
#define CLIENT_MAX   12               /* connections of one instance */
#define WATCHERS_MAX 4                /* of these, which are told events */
#define TOKENS_MAX   300              /* requests of one instance at once, and */
#define TOKEN_NS     (20 * NS_PER_MS) /* one more each */
#define STATE_TOKENS 25               /* what a change of the state costs: it is stored */
#define SPAWN_NS     (1 * NS_PER_SEC) /* between two tries to start berth-guest */

/* An instance as long as it has connections, or has used up what it may ask. */
struct client {
	struct client *next;
	char *project, *name;
	uint32_t connections, watchers;
	uint32_t tokens;
	uint64_t filled_ns;
};

struct connection {
	struct connection *next;
	struct client *client;
	uint32_t number;
	uint32_t types; /* of events it is told */
};

struct guest {
	struct service *service;
	int dir; /* DIR/guest */
	int listener;
	struct source *listening, *pause;
	struct guest_machines *machines;
	struct client *clients;
	struct connection *connections;
	uint32_t connection_count, last_number;

	struct companion companion; /* berth-guest */
	uint64_t tried_ns;
};

/* -- who asks, and how much ------------------------------------------------------------------------ */

static void fill_tokens(struct client *client)
{
	uint64_t now = loop_now(), more = (now - client->filled_ns) / TOKEN_NS;
	uint64_t tokens = client->tokens + more;
	client->tokens = (uint32_t)(tokens < TOKENS_MAX ? tokens : TOKENS_MAX);
	client->filled_ns += more * TOKEN_NS;
}

static bool take_tokens(struct client *client, uint32_t count)
{
	fill_tokens(client);
	if (client->tokens < count)
		return false;
	client->tokens -= count;
	return true;
}

/* Those that nothing is to be remembered of go on the way. */
static struct client *client_of(struct guest *guest, const struct instance *instance)
{
	struct client *found = NULL;
	for (struct client **at = &guest->clients; *at;) {
		struct client *client = *at;
		fill_tokens(client);
		if (text_equal(client->name, instance->name) &&
			text_equal(client->project, instance->project)) {
			found = client;
		} else if (client->connections == 0 && client->tokens == TOKENS_MAX) {
			*at = client->next;
			free(client->project);
			free(client->name);
			free(client);
			continue;
		}
		at = &client->next;
	}
	if (found)
		return found;
	found = alloc(struct client);
	*found = (struct client){ .next = guest->clients,
		.project = alloc_text(instance->project),
		.name = alloc_text(instance->name),
		.tokens = TOKENS_MAX,
		.filled_ns = loop_now() };
	guest->clients = found;
	return found;
}

static void forget_connection(struct guest *guest, struct connection **at)
{
	struct connection *gone = *at;
	*at = gone->next;
	gone->client->connections--;
	if (gone->types)
		gone->client->watchers--;
	guest->connection_count--;
	free(gone);
}

static struct connection **find_connection(struct guest *guest, uint32_t number)
{
	struct connection **at = &guest->connections;
	while (*at && (*at)->number != number)
		at = &(*at)->next;
	return at;
}

/* -- berth-guest ----------------------------------------------------------------------------------- */

static void let_go(struct guest *guest)
{
	companion_stop(&guest->companion);
	while (guest->connections)
		forget_connection(guest, &guest->connections);
}

/* `body` NULL: none. A process that does not keep up is of no use. */
static void put(struct guest *guest, struct guest_message *message, const char *body, int fd)
{
	cleanup(close) int file = body ? memfd_create("answer", MFD_CLOEXEC) : -1;
	size_t length = body ? strlen(body) : 0;
	message->version = GUEST_VERSION;
	message->body_bytes = (uint32_t)length;
	int r = body && (file < 0 || file_write_all(file, body, length) < 0) ? -EIO : 0;
	if (file >= 0)
		fd = file;
	if (r == 0)
		r = channel_send(
			guest->companion.channel, message, sizeof(*message), &fd, fd >= 0 ? 1 : 0);
	if (r < 0) {
		log_warning("berth-guest does not keep up code=%d", r);
		let_go(guest);
	}
}

static void answer(
	struct guest *guest, struct connection *connection, const struct guest_message *question)
{
	struct client *client = connection->client;
	struct instance *instance = instance_find(guest->service, client->project, client->name);
	bool is_state = question->question == GUEST_SET_STATE;
	struct guest_message reply = {
		.type = GUEST_ANSWER, .connection = question->connection, .serial = question->serial
	};
	cleanup(free) char *body = NULL;
	bool is_json = false;
	if (!take_tokens(client, is_state ? STATE_TOKENS : 1))
		reply.status = 429;
	else if (!instance || !instance->live)
		reply.status = 403;
	else
		reply.status = guest_answer(instance, question, &body, &is_json);
	reply.value = is_json;
	put(guest, &reply, body, -1);
}

/* Nothing that it says is believed but for the one connection that it names. */
static void take(struct guest *guest, struct guest_message *message)
{
	struct connection **at = find_connection(guest, message->connection);
	message->key[GUEST_KEY_MAX - 1] = '\0';
	if (!*at)
		return;
	if (message->type == GUEST_GONE) {
		forget_connection(guest, at);
	} else if (message->type == GUEST_ASK) {
		answer(guest, *at, message);
	} else if (message->type == GUEST_WATCH && !(*at)->types &&
		(*at)->client->watchers < WATCHERS_MAX) {
		(*at)->types = message->value & (GUEST_EVENT_CONFIG | GUEST_EVENT_DEVICE);
		(*at)->client->watchers += (*at)->types != 0;
	}
}

static void on_message(void *data)
{
	struct guest *guest = data;
	struct guest_message message;
	for (int i = 0; i < ACCEPT_MAX; i++) {
		size_t length = companion_receive(&guest->companion, &message, sizeof(message));
		if (!length)
			return;
		if (length == sizeof(message) && message.version == GUEST_VERSION)
			take(guest, &message);
	}
}

static void on_end(void *data, int wait_status)
{
	struct guest *guest = data;
	log_warning("berth-guest ended status=0x%x", (unsigned)wait_status);
	let_go(guest);
}

static int spawn(struct guest *guest, struct error *e)
{
	return companion_start(&guest->companion, guest->service,
		&(struct companion_options){ .program = "berth-guest",
			.die_with_us = true,
			.ready = on_message,
			.ended = on_end,
			.data = guest },
		e);
}

static bool is_there(struct guest *guest)
{
	struct error e = {};
	uint64_t now = loop_now();
	if (companion_runs(&guest->companion))
		return true;
	if (guest->tried_ns && now - guest->tried_ns < SPAWN_NS)
		return false;
	guest->tried_ns = now;
	if (spawn(guest, &e) == 0)
		return true;
	log_error("the guest API does not answer: %s", e.text);
	return false;
}

/* -- the socket ------------------------------------------------------------------------------------ */

static void take_connection(struct guest *guest, struct instance *instance, int fd)
{
	if (!instance || guest->connection_count >= GUEST_CONNECTIONS_MAX || !is_there(guest))
		return;
	struct client *client = client_of(guest, instance);
	if (client->connections >= CLIENT_MAX || !take_tokens(client, 1))
		return;
	struct connection *connection = alloc(struct connection);
	*connection = (struct connection){
		.next = guest->connections, .client = client, .number = ++guest->last_number
	};
	guest->connections = connection;
	guest->connection_count++;
	client->connections++;
	put(guest,
		&(struct guest_message){
			.type = GUEST_CONNECTION, .connection = connection->number },
		NULL, fd);
}

static void take_of_machine(void *data, struct instance *instance, int fd)
{
	if (guest_is_allowed(instance))
		take_connection(data, instance, fd);
}

static void listen_again(void *data);

/* Whoever connects as fast as it can makes others wait, not this daemon work. */
static void on_connect(void *data, int listener, uint32_t events)
{
	struct guest *guest = data;
	(void)events;
	for (int i = 0; i < ACCEPT_MAX; i++) {
		cleanup(close) int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && errno == ECONNABORTED)
			continue;
		if (fd < 0 && errno == EAGAIN)
			return;
		if (fd < 0)
			break;
		take_connection(guest, guest_peer(guest->service, fd), fd);
	}
	source_free(TAKE_PTR(guest->listening));
	timer_set_after(guest->pause, ACCEPT_NS);
}

static void listen_again(void *data)
{
	struct guest *guest = data;
	if (loop_add_fd(guest->service->loop, guest->listener, EPOLLIN, on_connect, guest,
		    &guest->listening) < 0)
		timer_set_after(guest->pause, ACCEPT_NS);
}

static int open_dir(struct service *service, int *ret, struct error *e)
{
	if (mkdirat(service->dir, GUEST_DIR, 0755) < 0 && errno != EEXIST)
		return error_errno(e, "make %s/" GUEST_DIR, service->dir_path);
	int dir = openat(service->dir, GUEST_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || fchmod(dir, 0755) < 0)
		return error_errno(e, "open %s/" GUEST_DIR, service->dir_path);
	*ret = dir;
	return 0;
}

/* In place of the last daemon's: containers see the directory, in which there is always one. */
static int open_socket(struct guest *guest, struct error *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(e, "socket");
	guest->listener = fd;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/.sock", guest->dir);
	(void)unlinkat(guest->dir, ".sock", 0);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		fchmodat(guest->dir, ".sock", 0666, 0) < 0 || listen(fd, BACKLOG) < 0 ||
		renameat(guest->dir, ".sock", guest->dir, "sock") < 0)
		return error_errno(e, "listen on " GUEST_DIR "/sock");
	return 0;
}

static void changed(struct instance *instance, const json_t *config, const json_t *devices)
{
	struct guest *guest = instance->service->guest;
	if (!guest || !guest->connections)
		return;
	size_t i;
	json_t *event;
	cleanup(json_decref) json_t *events = guest_events(instance, config, devices);
	json_array_foreach(events, i, event)
	{
		bool is_config = text_equal(json_text(event, "type"), "config");
		uint32_t type = is_config ? GUEST_EVENT_CONFIG : GUEST_EVENT_DEVICE;
		cleanup(free) char *text = json_dumps(event, JSON_COMPACT);
		struct connection *next;
		for (struct connection *at = guest->connections; at; at = next) {
			next = at->next;
			if (!(at->types & type) || !text_equal(at->client->name, instance->name) ||
				!text_equal(at->client->project, instance->project))
				continue;
			put(guest,
				&(struct guest_message){
					.type = GUEST_EVENT, .connection = at->number },
				text, -1);
			if (!guest->connections) /* it was let go */
				return;
		}
	}
}

static void runs(struct instance *instance)
{
	guest_machines_hear(instance->service->guest->machines, instance);
}

int guest_start(struct service *service, struct error *e)
{
	struct guest *guest = alloc(struct guest);
	*guest = (struct guest){
		.service = service, .dir = -1, .listener = -1, .companion = COMPANION_NONE
	};
	service->guest = guest;
	int r = open_dir(service, &guest->dir, e);
	if (r == 0)
		r = open_socket(guest, e);
	if (r < 0)
		return r;
	guest->pause = loop_add_timer(service->loop, listen_again, guest);
	r = loop_add_fd(
		service->loop, guest->listener, EPOLLIN, on_connect, guest, &guest->listening);
	if (r < 0)
		return error_code(e, r, "watch " GUEST_DIR "/sock");
	service->instances->changed = changed;
	service->instances->runs = runs;
	guest->machines = guest_machines_new(service, take_of_machine, guest);
	return 0;
}

void guest_stop(struct service *service)
{
	struct guest *guest = TAKE_PTR(service->guest);
	if (!guest)
		return;
	if (service->instances) {
		service->instances->changed = NULL;
		service->instances->runs = NULL;
	}
	guest_machines_free(guest->machines);
	let_go(guest);
	for (struct client *next; guest->clients; guest->clients = next) {
		next = guest->clients->next;
		free(guest->clients->project);
		free(guest->clients->name);
		free(guest->clients);
	}
	source_free(guest->listening);
	source_free(guest->pause);
	if (guest->listener >= 0)
		close(guest->listener);
	if (guest->dir >= 0)
		close(guest->dir);
	free(guest);
}
