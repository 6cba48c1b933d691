/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netboot_serve.c - the HTTP server of the provisioning network.
 */
#include "daemon/server/netboot_serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/config.h"
#include "daemon/server/agent.h"
#include "daemon/server/boot.h"
#include "daemon/server/media.h"
#include "daemon/server/netboot.h"
#include "daemon/server/netboot_pass.h"
#include "daemon/server/work.h"
#include "http/server.h"
#include "model/address.h"
#include "model/json.h"

#define CONNECTIONS_MAX 4096
#define BODY_MAX        (256 * KIB)
#define PIECE_MAX       (4 * MIB)
#define PARKED_NS       (20 * NS_PER_SEC)
#define STRANGERS_MAX   256
#define AGENT_MS_MAX    600000
#define TOKEN_MAX       64

/* A node that is not known, and was given the agent. */
struct stranger {
	char token[33], mac[18];
};

struct netboot_serve {
	struct service *service;
	struct http_server *server;
	struct stranger strangers[STRANGERS_MAX];
	size_t stranger_next;
};

/* A question for a task that waits. */
struct parked {
	struct service *service;
	struct http_request *request;
	char *server;
	struct source *timer;
};

/* One a process: the provisioning network of its daemon. */
static struct netboot_serve *serve_of(struct service *service)
{
	return service->netboot->serve;
}

static void reply(struct http_request *request, unsigned int status, const char *format, ...)
	printf_like(3, 4);
static void reply(struct http_request *request, unsigned int status, const char *format, ...)
{
	struct text text = {};
	char buffer[2048];
	va_list list;
	va_start(list, format);
	vsnprintf(buffer, sizeof(buffer), format, list);
	va_end(list);
	text_add(&text, buffer);
	size_t length = text.length;
	http_reply_text(request, status, "text/plain", text_take(&text), length);
}

static void reply_error_text(struct http_request *request, int code, const struct error *e)
{
	unsigned int status = code == -ENOENT ? 404u
		: code == -EBUSY              ? 409u
		: code == -EINVAL             ? 400u
		: code == -EACCES             ? 403u
					      : 500u;
	reply(request, status, "%s\n", e->text);
}

static void reply_path(struct http_request *request, const char *path)
{
	struct stat status;
	cleanup(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
		reply(request, 404, "there is no such file\n");
		return;
	}
	http_reply_file(
		request, 200, "application/octet-stream", TAKE_FD(fd), 0, (uint64_t)status.st_size);
}

/* "10.77.0.12", or "". */
static void peer_of(const struct http_request *request, char text[INET6_ADDRSTRLEN])
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	text[0] = '\0';
	if (getpeername(http_request_socket(request), (struct sockaddr *)&address, &size) == 0 &&
		address.sin_family == AF_INET)
		inet_ntop(AF_INET, &address.sin_addr, text, INET6_ADDRSTRLEN);
}

/* The server whose card has that address; NULL. */
static struct server *server_of_peer(struct service *service, const char *peer)
{
	size_t length = strlen(peer);
	for (struct server *at = service->servers->first; at; at = at->next) {
		const char *host = server_text(at, "host") ?: "";
		if (length && strcspn(host, "/") == length && strncmp(host, peer, length) == 0)
			return at;
	}
	return NULL;
}

static void reply_pass(struct http_request *request)
{
	size_t length;
	const uint8_t *program = netboot_pass_program(&length);
	char *copy = alloc_array(length, char);
	memcpy(copy, program, length);
	http_reply_text(request, 200, "application/octet-stream", copy, length);
}

static void serve_file(struct service *service, struct http_request *request, const char *name)
{
	const struct netboot *netboot = service->netboot;
	if (text_equal(name, "kernel")) {
		reply_path(request, netboot->kernel);
	} else if (text_equal(name, "initrd")) {
		int fd = fcntl(netboot->initial, F_DUPFD_CLOEXEC, 3);
		http_reply_file(
			request, 200, "application/octet-stream", fd, 0, netboot->initial_bytes);
	} else if (text_equal(name, "ipxe.efi")) {
		char peer[INET6_ADDRSTRLEN];
		peer_of(request, peer);
		if (text_equal(http_request_method(request), "GET"))
			log_info("a node's firmware boots over HTTP address=%s", peer);
		const struct server *server = server_of_peer(service, peer);
		if (server && !server_wants_agent(server)) {
			reply_pass(request);
			return;
		}
		reply_path(request, "/usr/lib/ipxe/ipxe.efi");
	} else {
		reply(request, 404, "there is no such file\n");
	}
}

static void reply_script(struct service *service, struct http_request *request, const char *token,
	const char *mac, const char *address)
{
	cleanup(free) char *arguments = netboot_arguments(service, token, mac, address);
	cleanup(free) char *url = netboot_url(service);
	reply(request, 200,
		"#!ipxe\n"
		"kernel %s/files/kernel initrd=initrd %s\n"
		"initrd --name initrd %s/files/initrd\n"
		"boot\n",
		url, arguments, url);
}

static void meet_stranger(struct service *service, struct http_request *request, const char *mac)
{
	struct netboot_serve *serve = serve_of(service);
	struct stranger *stranger = &serve->strangers[serve->stranger_next++ % STRANGERS_MAX];
	char peer[INET6_ADDRSTRLEN];
	cleanup(free) char *token = text_random_hex(16);
	cleanup(free) char *address = NULL;
	if (!service->netboot->has_discovery) {
		reply(request, 404, "this node is not known\n");
		return;
	}
	peer_of(request, peer);
	snprintf(stranger->token, sizeof(stranger->token), "%s", token);
	snprintf(stranger->mac, sizeof(stranger->mac), "%s", mac);
	address = alloc_printf("%s/%u", peer, service->netboot->prefix);
	log_info("an unknown node boots the agent mac=%s address=%s", mac, peer);
	reply_script(service, request, token, mac, address);
}

static void serve_boot(struct service *service, struct http_request *request, const char *hyphened)
{
	uint8_t bytes[6];
	char peer[INET6_ADDRSTRLEN], mac[18] = "";
	/* With hyphens: a colon would be escaped by some firmware, and not by other. */
	for (size_t i = 0; i < sizeof(mac) && hyphened[i]; i++)
		mac[i] = hyphened[i] == '-' ? ':' : hyphened[i];
	mac[sizeof(mac) - 1] = '\0';
	if (strlen(hyphened) != sizeof(mac) - 1 || mac_parse(mac, bytes) < 0) {
		reply(request, 400, "\"%.40s\" is no MAC address\n", hyphened);
		return;
	}
	struct server *server = server_of_mac(service, mac);
	if (!server) {
		meet_stranger(service, request, mac);
		return;
	}
	peer_of(request, peer);
	const char *host = server_text(server, "host") ?: "";
	size_t length = strcspn(host, "/");
	if (strlen(peer) != length || strncmp(peer, host, length) != 0) {
		log_warning("somebody at %s asks what %s boots", peer, server->name);
		reply(request, 403, "that is another node's\n");
		return;
	}
	if (!server_wants_agent(server)) {
		/* The firmware goes on to the next device: its disk. UEFI does so only after a failure. */
		reply(request, 200, "#!ipxe\nexit 1\n");
		return;
	}
	server_stage(server, "network");
	reply_script(service, request, json_text(json_object_get(server->object, "boot"), "token"),
		mac, host);
}

static void park_over(struct parked *parked, const char *lines)
{
	struct http_request *request = TAKE_PTR(parked->request);
	timer_stop(parked->timer);
	if (request)
		reply(request, 200, "%s", lines ?: "task wait\nserial 0\n");
}

static void park_answer(void *data, const char *lines)
{
	struct parked *parked = data;
	struct http_request *request = TAKE_PTR(parked->request);
	timer_stop(parked->timer);
	if (!request)
		return;
	/* Longer than a line: files of the tenant's. */
	const char *text = lines ?: "task wait\nserial 0\n";
	http_reply_text(request, 200, "text/plain", alloc_text(text), strlen(text));
}

static void park_late(void *data)
{
	struct parked *parked = data;
	struct server *server = server_find(parked->service, parked->server);
	if (server)
		server_agent_unpark(server, parked);
	park_over(parked, NULL);
}

static void ask_task(struct server *server, struct http_request *request)
{
	char *lines = server_agent_task(server);
	if (lines) {
		http_reply_text(request, 200, "text/plain", lines, strlen(lines));
		return;
	}
	struct parked *parked = alloc(struct parked);
	*parked = (struct parked){ server->service, request, alloc_text(server->name),
		loop_add_timer(server->service->loop, park_late, parked) };
	http_request_set_user(request, parked);
	timer_set_after(parked->timer, PARKED_NS);
	server_agent_park(server, park_answer, parked);
}

static void serve_image(struct server *server, struct http_request *request)
{
	const char *path = json_text(json_object_get(server->object, "deployment"), "path");
	if (server->state != SERVER_DEPLOYING || !path)
		reply(request, 409, "nothing is deployed here\n");
	else
		reply_path(request, path);
}

/* The number behind "KEY " at the beginning of a line. */
static uint64_t number_of(const char *lines, const char *key)
{
	size_t length = strlen(key);
	for (const char *line = lines; line && *line;
		line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		uint64_t value;
		if (strncmp(line, key, length) != 0 || line[length] != ' ')
			continue;
		cleanup(free) char *word =
			alloc_text_n(line + length + 1, strcspn(line + length + 1, "\n"));
		return text_to_u64(word, &value) == 0 ? value : 0;
	}
	return 0;
}

static char *word_of(const char *lines, const char *key)
{
	size_t length = strlen(key);
	for (const char *line = lines; line && *line;
		line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		if (strncmp(line, key, length) != 0 || line[length] != ' ')
			continue;
		char *word = alloc_text_n(line + length + 1, strcspn(line + length + 1, "\n"));
		for (char *c = word; *c; c++)
			if (*c < 0x20 || *c >= 0x7f)
				*c = '?';
		return word;
	}
	return NULL;
}

static void take_hello(
	struct server *server, struct http_request *request, const char *body, size_t length)
{
	const char *text = http_request_query(request, "ms");
	struct error e = {};
	uint64_t ms = 0;
	cleanup(json_decref) json_t *told = NULL;
	if (text && (text_to_u64(text, &ms) < 0 || ms > AGENT_MS_MAX))
		ms = 0;
	int r = json_parse(body, length, &told, &e);
	if (r == 0 && !json_is_object(told))
		r = error_set(&e, -EINVAL, "an object is wanted");
	if (r == 0)
		r = server_agent_hello(server, told, ms * NS_PER_MS, &e);
	if (r < 0)
		reply_error_text(request, r, &e);
	else
		reply(request, 200, "ok\n");
}

static void take_words(
	struct server *server, struct http_request *request, const char *what, const char *body)
{
	uint64_t serial = number_of(body, "serial");
	if (text_equal(what, "progress")) {
		cleanup(free) char *stage = word_of(body, "stage");
		if (stage && strlen(stage) < 32)
			server_agent_progress(server, serial, stage, number_of(body, "done"),
				number_of(body, "total"));
	} else {
		cleanup(free) char *failed = word_of(body, "failed");
		server_agent_done(server, serial, failed, body);
	}
	reply(request, 200, "ok\n");
}

static void take_piece(
	struct server *server, struct http_request *request, const char *body, size_t length)
{
	const char *text = http_request_query(request, "at");
	struct error e = {};
	uint64_t at;
	int r = text && text_to_u64(text, &at) == 0
		? server_agent_piece(server, at, body, length, &e)
		: error_set(&e, -EINVAL, "at: an offset is wanted");
	if (r < 0)
		reply_error_text(request, r, &e);
	else
		reply(request, 200, "ok\n");
}

/* A stranger that says hello is known from then on. */
static struct server *enrol(struct service *service, const char *token)
{
	struct netboot_serve *serve = serve_of(service);
	struct server *server = NULL;
	struct error e = {};
	char name[32];
	for (size_t i = 0; i < STRANGERS_MAX; i++) {
		struct stranger *stranger = &serve->strangers[i];
		if (!stranger->token[0] || !text_equal(stranger->token, token) ||
			server_of_mac(service, stranger->mac))
			continue;
		snprintf(name, sizeof(name), "node-%.2s%.2s%.2s%.2s%.2s%.2s", stranger->mac,
			stranger->mac + 3, stranger->mac + 6, stranger->mac + 9, stranger->mac + 12,
			stranger->mac + 15);
		json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:{}, s:{s:s}}", "name", name,
			"description", "found on the provisioning network", "state", "enrolled",
			"mac", stranger->mac, "config", "boot", "token", token);
		stranger->token[0] = '\0';
		if (server_add(service, name, object, &server, &e) < 0) {
			log_error("not enrolled node=%s: %s", name, e.text);
			return NULL;
		}
		server_work_start(server);
		server_event(server, "server-created");
		return server;
	}
	return NULL;
}

/* A stranger's inventory is kept with it; what it may be given stands when its BMC is known. */
static void introduce(
	struct server *server, struct http_request *request, const char *body, size_t length)
{
	struct error e = {};
	cleanup(json_decref) json_t *told = NULL, *inventory = NULL;
	int r = json_parse(body, length, &told, &e);
	if (r == 0)
		r = server_inventory_read(told, &inventory, &e);
	if (r < 0) {
		reply_error_text(request, r, &e);
		return;
	}
	json_object_set(server->object, "inventory", inventory);
	server_keep(server);
	reply(request, 200, "ok\n");
}

static void serve_agent(
	struct service *service, struct http_request *request, const char *token, const char *what)
{
	size_t length = 0;
	bool is_post = text_equal(http_request_method(request), "POST");
	struct server *server = server_of_token(service, token);
	const char *body = is_post ? http_request_body(request, &length) : "";
	if (!server && is_post && text_equal(what, "hello") && (server = enrol(service, token))) {
		introduce(server, request, body, length);
		return;
	}
	if (!server || !server->work) {
		reply(request, 404, "nobody is expected with that token\n");
		return;
	}
	if (!is_post && text_equal(what, "task"))
		ask_task(server, request);
	else if (!is_post && text_equal(what, "image"))
		serve_image(server, request);
	else if (is_post && text_equal(what, "hello"))
		take_hello(server, request, body, length);
	else if (is_post && text_equal(what, "disk"))
		take_piece(server, request, body, length);
	else if (is_post && text_equal(what, "neighbour")) {
		server_agent_neighbour(server, body);
		reply(request, 200, "ok\n");
	} else if (is_post && (text_equal(what, "progress") || text_equal(what, "done")))
		take_words(server, request, what, body);
	else
		reply(request, 404, "there is nothing here\n");
}

/* The server's BMC reads it, from wherever that is: who has the token may. */
static void serve_media(struct service *service, struct http_request *request, const char *token)
{
	struct server *server = server_of_token(service, token);
	if (server && server->work)
		server_media_serve(server, request);
	else
		reply(request, 404, "there is no disc\n");
}

static void head(void *data, struct http_request *request)
{
	const struct netboot_serve *serve = data;
	char token[TOKEN_MAX + 1];
	if (!text_equal(http_request_method(request), "POST"))
		return;
	const struct server *server =
		sscanf(http_request_path(request), "/agent/%64[^/]/disk", token) == 1
		? server_of_token(serve->service, token)
		: NULL;
	/* Only who is to send a disk may send as much. */
	http_request_want(request, HTTP_BODY_MEMORY,
		server && server_agent_may_save(server) ? PIECE_MAX : BODY_MAX);
}

static void ready(void *data, struct http_request *request)
{
	struct netboot_serve *serve = data;
	char first[16] = "", second[TOKEN_MAX + 1] = "", third[32] = "";
	if (http_request_body_error(request) < 0) {
		reply(request, 413, "too much\n");
		return;
	}
	int count = sscanf(
		http_request_path(request), "/%15[a-z]/%64[^/]/%31[a-z]", first, second, third);
	if (count == 2 && text_equal(first, "boot"))
		serve_boot(serve->service, request, second);
	else if (count == 2 && text_equal(first, "files"))
		serve_file(serve->service, request, second);
	else if (count == 3 && text_equal(first, "media"))
		serve_media(serve->service, request, second);
	else if (count == 3 && text_equal(first, "agent"))
		serve_agent(serve->service, request, second, third);
	else
		reply(request, 404, "there is nothing here\n");
}

static void done(void *data, struct http_request *request)
{
	struct parked *parked = http_request_user(request);
	(void)data;
	if (!parked)
		return;
	struct server *server = server_find(parked->service, parked->server);
	if (server)
		server_agent_unpark(server, parked);
	source_free(parked->timer);
	free(parked->server);
	free(parked);
}

static int listen_there(struct service *service, struct error *e)
{
	static const struct http_calls calls = { head, ready, done };
	struct netboot *netboot = service->netboot;
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr = netboot->address,
		.sin_port = htons(netboot->port) };
	int yes = 1;
	cleanup(close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_errno(e, "make a socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	/* The one before may have connections that are not over yet. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1024) < 0)
		return error_errno(
			e, "listen at port %u of the provisioning network", netboot->port);
	struct http_options options = { .listen_fd = TAKE_FD(fd),
		.tmp_dir = service->tmp_dir,
		.connection_limit = CONNECTIONS_MAX,
		.head_timeout_ns = 30 * NS_PER_SEC,
		.idle_timeout_ns = 120 * NS_PER_SEC };
	return http_server_new(
		service->loop, &options, &calls, serve_of(service), &serve_of(service)->server, e);
}

static void changed(struct service *service)
{
	struct error e = {};
	struct netboot_serve *serve = serve_of(service);
	http_server_free(TAKE_PTR(serve->server));
	if (service->netboot->is_on && listen_there(service, &e) < 0) {
		log_error("%s", e.text);
		service->netboot->is_on = false;
		service->netboot->why = e;
	}
	for (struct server *at = service->servers->first; at; at = at->next) {
		if (!at->work)
			server_work_start(at);
		else if (service->netboot->is_on)
			server_work_resume(at);
	}
}

int netboot_serve_start(struct service *service, struct error *e)
{
	service->netboot->serve = alloc(struct netboot_serve);
	service->netboot->serve->service = service;
	int r = servers_load(service, e);
	service->netboot->changed = changed;
	return r;
}

void netboot_serve_stop(struct service *service)
{
	if (!service->netboot || !service->netboot->serve)
		return;
	struct netboot_serve *serve = TAKE_PTR(service->netboot->serve);
	service->netboot->changed = NULL;
	for (struct server *at = service->servers ? service->servers->first : NULL; at;
		at = at->next)
		server_work_stop(at);
	http_server_free(serve->server);
	servers_free(service);
	free(serve);
}
