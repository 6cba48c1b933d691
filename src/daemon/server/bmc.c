/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bmc.c - berthd's end of berth-metal (abi/metal.h).
 */
#include "daemon/server/bmc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "abi/metal.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/companion.h"
#include "daemon/config.h"
#include "daemon/server/secret.h"
#include "model/json.h"

#define POLL_MS  30000
#define AGAIN_NS (2 * NS_PER_SEC)

struct question {
	struct question *next;
	uint32_t serial;
	server_bmc_answer *answer; /* NULL: nobody waits */
	void *data;
};

struct server_bmc {
	struct server *server;
	server_bmc_event *event;
	struct companion companion; /* berth-metal */
	struct source *again;
	struct question *questions;
	uint32_t serial;
	json_t *told;
};

static int spawn(struct server_bmc *bmc, struct error *e);

static void answer_all(struct server_bmc *bmc, int code, const struct error *e)
{
	struct question *list = TAKE_PTR(bmc->questions);
	while (list) {
		struct question *question = list;
		list = question->next;
		if (question->answer)
			question->answer(question->data, code, NULL, e);
		free(question);
	}
}

static void ended(void *data, int wait_status)
{
	struct server_bmc *bmc = data;
	struct error e = {};
	log_warning("berth-metal ended server=%s status=%d", bmc->server->name, wait_status);
	timer_set_after(bmc->again, AGAIN_NS);
	error_set(&e, -ECONNRESET, "the process of the server's BMC ended");
	answer_all(bmc, -ECONNRESET, &e);
}

static void start_again(void *data)
{
	struct server_bmc *bmc = data;
	struct error e = {};
	if (spawn(bmc, &e) < 0) {
		log_error("berth-metal does not start server=%s: %s", bmc->server->name, e.text);
		timer_set_after(bmc->again, AGAIN_NS);
	}
}

static void take_answer(struct server_bmc *bmc, const struct metal_header *header, json_t *body)
{
	struct error e = {};
	for (struct question **at = &bmc->questions; *at; at = &(*at)->next) {
		struct question *question = *at;
		if (question->serial != header->serial)
			continue;
		*at = question->next;
		int code = header->code > 0 || header->code < -4095 ? -EIO : header->code;
		if (code < 0)
			error_set(&e, code, "%s: %s", bmc->server->name,
				json_text(body, "error") ?: strerror(-code));
		if (question->answer)
			question->answer(question->data, code, body, &e);
		free(question);
		return;
	}
}

static void take_event(struct server_bmc *bmc, json_t *body)
{
	json_decref(bmc->told);
	bmc->told = json_incref(body);
	if (bmc->event)
		bmc->event(bmc->server);
}

static void on_message(void *data)
{
	static char buffer[METAL_MESSAGE_MAX];
	struct server_bmc *bmc = data;
	struct metal_header header;
	int channel = bmc->companion.channel;
	for (int i = 0; i < 16; i++) {
		size_t length = companion_receive(&bmc->companion, buffer, sizeof(buffer));
		if (!length)
			return;
		if (length < sizeof(header))
			continue;
		memcpy(&header, buffer, sizeof(header));
		cleanup(json_decref) json_t *body = NULL;
		size_t text = length - sizeof(header);
		if (header.length != length || header.version != METAL_VERSION ||
			(text && json_parse(buffer + sizeof(header), text, &body, NULL) < 0))
			continue;
		if (!body)
			body = json_object();
		if (header.type == METAL_ANSWER)
			take_answer(bmc, &header, body);
		else if (header.type == METAL_EVENT && json_is_object(body))
			take_event(bmc, body);
		if (bmc->companion.channel != channel)
			return;
	}
}

static int put(struct server_bmc *bmc, enum metal_type type, const json_t *body, int fd,
	server_bmc_answer *answer, void *data, struct error *e)
{
	cleanup(free) char *text = json_dumps(body, JSON_COMPACT);
	size_t length = strlen(text);
	if (!companion_runs(&bmc->companion))
		return error_set(e, -ECONNRESET, "%s: the process of its BMC is being started",
			bmc->server->name);
	if (length > METAL_MESSAGE_MAX - sizeof(struct metal_header))
		return error_set(e, -E2BIG, "%s: too much is asked", bmc->server->name);
	struct metal_header header = { .length = (uint32_t)(sizeof(header) + length),
		.version = METAL_VERSION,
		.type = (uint16_t)type,
		.serial = ++bmc->serial };
	struct iovec parts[] = { { &header, sizeof(header) }, { text, length } };
	int r = channel_send_iov(
		bmc->companion.channel, parts, ARRAY_SIZE(parts), &fd, fd >= 0 ? 1 : 0);
	explicit_bzero(text, length);
	if (r < 0)
		return error_code(e, r, "%s: ask its BMC", bmc->server->name);
	struct question *question = alloc(struct question);
	*question = (struct question){ bmc->questions, header.serial, answer, data };
	bmc->questions = question;
	return 0;
}

static void opened(void *data, int code, json_t *answer, const struct error *e)
{
	struct server_bmc *bmc = data;
	(void)answer;
	if (code < 0)
		log_error("berth-metal does not open server=%s: %s", bmc->server->name, e->text);
}

static int open_log(const struct server *server)
{
	cleanup(free) char *dir = alloc_printf("servers/%s", server->name);
	cleanup(free) char *path = alloc_printf("%s/console.log", dir);
	if (file_make_dirs(server->service->dir, dir, 0700) < 0)
		return -1;
	return openat(server->service->dir, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int tell_address(struct server_bmc *bmc, struct error *e)
{
	static const char *const texts[] = { "driver", "address", "user", "tls" };
	struct server *server = bmc->server;
	const char *sealed = server_text(server, "secret");
	const char *poll = json_text(json_object_get(server->object, "config"), "poll");
	const char *system = json_text(json_object_get(server->object, "config"), "bmc.system");
	const char *deadline = json_text(json_object_get(server->object, "config"), "bmc.deadline");
	const char *cipher = json_text(json_object_get(server->object, "config"), "bmc.cipher");
	cleanup(free) char *password = NULL;
	cleanup(json_decref) json_t *body = json_object();
	uint64_t poll_ns = POLL_MS * NS_PER_MS, deadline_ns = 0;
	if (poll && text_to_ns(poll, &poll_ns) < 0)
		poll_ns = POLL_MS * NS_PER_MS;
	if (deadline && text_to_ns(deadline, &deadline_ns) < 0)
		deadline_ns = 0;
	int r = sealed ? secret_open(server->service, server->name, sealed, &password, e) : 0;
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		json_set_text(body, texts[i], server_text(server, texts[i]));
	json_set_text(body, "password", password);
	json_set_text(body, "system", system);
	json_object_set(body, "port", json_object_get(server->object, "port"));
	json_object_set_new(body, "poll_ms", json_integer((json_int_t)(poll_ns / NS_PER_MS)));
	json_object_set_new(
		body, "deadline_ms", json_integer((json_int_t)(deadline_ns / NS_PER_MS)));
	if (cipher)
		json_object_set_new(body, "cipher", json_integer(text_equal(cipher, "3") ? 3 : 17));
	cleanup(close) int log = open_log(server);
	r = put(bmc, METAL_OPEN, body, log, opened, bmc, e);
	if (password)
		explicit_bzero(password, strlen(password));
	return r;
}

static int spawn(struct server_bmc *bmc, struct error *e)
{
	int r = companion_start(&bmc->companion, bmc->server->service,
		&(struct companion_options){ .program = "berth-metal",
			.ready = on_message,
			.ended = ended,
			.data = bmc },
		e);
	if (r == 0)
		r = tell_address(bmc, e);
	if (r < 0)
		companion_stop(&bmc->companion);
	return r;
}

int server_bmc_start(struct server *server, server_bmc_event *event, struct error *e)
{
	if (server->bmc || !server_text(server, "address"))
		return 0;
	struct server_bmc *bmc = alloc(struct server_bmc);
	*bmc = (struct server_bmc){ .server = server, .event = event, .companion = COMPANION_NONE };
	bmc->again = loop_add_timer(server->service->loop, start_again, bmc);
	server->bmc = bmc;
	int r = spawn(bmc, e);
	if (r < 0)
		server_bmc_stop(server);
	return r;
}

void server_bmc_stop(struct server *server)
{
	struct server_bmc *bmc = TAKE_PTR(server->bmc);
	struct error e = {};
	if (!bmc)
		return;
	companion_stop(&bmc->companion);
	source_free(bmc->again);
	error_set(&e, -ECONNRESET, "%s: is let go", server->name);
	answer_all(bmc, -ECONNRESET, &e);
	json_decref(bmc->told);
	free(bmc);
}

int server_bmc_ask(struct server *server, json_t *request, server_bmc_answer *answer, void *data,
	struct error *e)
{
	int r = server->bmc ? put(server->bmc, METAL_ASK, request, -1, answer, data, e)
			    : error_set(e, -ENOTCONN, "%s: no BMC is known of it", server->name);
	json_decref(request);
	return r;
}

void server_bmc_unask(struct server *server, const void *data)
{
	for (struct question *at = server->bmc ? server->bmc->questions : NULL; at; at = at->next)
		if (at->data == data)
			at->answer = NULL;
}

int server_bmc_attach(struct server *server, int fd, bool is_forced, server_bmc_answer *answer,
	void *data, struct error *e)
{
	cleanup(json_decref) json_t *body =
		json_pack("{s:b, s:b}", "steal", is_forced, "replay", 1);
	return server->bmc ? put(server->bmc, METAL_CONSOLE, body, fd, answer, data, e)
			   : error_set(e, -ENOTCONN, "%s: no BMC is known of it", server->name);
}

const json_t *server_bmc_told(const struct server *server)
{
	return server->bmc ? server->bmc->told : NULL;
}
