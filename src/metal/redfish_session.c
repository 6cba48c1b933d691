/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redfish_session.c - finds the system, logs in, and asks one request after another.
 *
 * A session that the BMC forgot (401) is opened again, once a request.
 */
#include "metal/redfish_session.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "metal/quirk.h"
#include "model/json.h"

#define ROOT     "/redfish/v1/"
#define SESSIONS "/redfish/v1/SessionService/Sessions"

static void send_again(struct redfish *redfish);

void redfish_end(struct redfish *redfish, int code, const struct error *e)
{
	static const struct error none;
	void (*end)(struct redfish *, int, const struct error *) = redfish->end;
	redfish->end = NULL;
	redfish->begin = NULL;
	if (end)
		end(redfish, code, e ?: &none);
}

const char *redfish_link(const json_t *json, const char *field)
{
	const json_t *link = json_object_get(json, field);
	if (json_is_array(link))
		link = json_array_get(link, 0);
	return json_text(link, "@odata.id");
}

void redfish_if_failed(struct redfish *redfish,
	void (*failed)(struct redfish *redfish, int code, const struct error *e))
{
	redfish->failed = failed;
}

static void failed(struct redfish *redfish, int code, const struct error *e)
{
	void (*call)(struct redfish *, int, const struct error *) = TAKE_PTR(redfish->failed);
	if (call)
		call(redfish, code, e);
	else
		redfish_end(redfish, code, e);
}

/* What the service itself says about a refusal, or "". */
static const char *message_of(const json_t *json)
{
	const json_t *error = json_object_get(json, "error");
	const json_t *more = json_array_get(json_object_get(error, "@Message.ExtendedInfo"), 0);
	return json_text(more, "Message") ?: json_text(error, "message") ?: "";
}

static int errno_of(int status)
{
	switch (status) {
	case 400:
		return -EINVAL;
	case 401:
	case 403:
		return -EACCES;
	case 404:
		return -ENOENT;
	case 405:
	case 501:
		return -EOPNOTSUPP;
	case 409:
	case 503:
		return -EBUSY;
	case 412:
		return -ESTALE;
	default:
		return -EIO;
	}
}

/* Why a request came to nothing; -EIO or what the status stands for. */
static int say_why(const struct web_answer *answer, const char *what, struct error *e)
{
	const char *message = message_of(answer->json);
	if (answer->status == 0)
		return error_set(e, -EIO, "the BMC: %s", answer->why);
	return error_set(e, errno_of(answer->status), "%s: %sthe BMC answers %d%s%s", what,
		answer->status == 401 ? "wrong user or password: " : "", answer->status,
		message[0] ? ": " : "", message);
}

static void answered(void *data, const struct web_answer *answer);

static void logged_in(void *data, const struct web_answer *answer)
{
	struct redfish *redfish = data;
	struct error e = {};
	if (answer->status >= 200 && answer->status < 300 && answer->token[0]) {
		free(redfish->token);
		redfish->token = alloc_text(answer->token);
		send_again(redfish);
		return;
	}
	if (answer->status == 404 || answer->status == 405 || answer->status == 501) {
		redfish->is_basic = true;
		send_again(redfish);
		return;
	}
	int r = say_why(answer, "log in", &e);
	failed(redfish, r, &e);
}

static void log_in(struct redfish *redfish)
{
	cleanup(json_decref) json_t *body =
		json_pack("{s:s, s:s}", "UserName", redfish->user, "Password", redfish->password);
	struct web_request request = { .method = "POST", .path = SESSIONS, .body = body };
	web_send(redfish->web, &request, logged_in, redfish);
}

static void answered(void *data, const struct web_answer *answer)
{
	struct redfish *redfish = data;
	struct error e = {};
	if (answer->status >= 200 && answer->status < 300) {
		redfish_next *next = redfish->next;
		redfish->failed = NULL;
		if (answer->etag[0] && text_equal(redfish->method, "GET") &&
			text_equal(redfish->path, redfish->system)) {
			free(redfish->etag);
			redfish->etag = alloc_text(answer->etag);
		}
		/* The next request takes the place of this one. */
		next(redfish, answer->json);
		return;
	}
	if (answer->status == 401 && !redfish->is_basic && !redfish->has_logged_in) {
		redfish->has_logged_in = true;
		free(TAKE_PTR(redfish->token));
		log_in(redfish);
		return;
	}
	if (answer->status == 412 && redfish->has_etag) {
		redfish->has_etag = false;
		send_again(redfish);
		return;
	}
	cleanup(free) char *what = alloc_printf("%s %s", redfish->method, redfish->path);
	int r = say_why(answer, what, &e);
	failed(redfish, r, &e);
}

static void send_again(struct redfish *redfish)
{
	struct web_request request = {
		.method = redfish->method,
		.path = redfish->path,
		.body = redfish->body,
		.token = redfish->token,
		.etag = redfish->has_etag ? redfish->etag : NULL,
	};
	if (redfish->is_basic) {
		request.user = redfish->user;
		request.password = redfish->password;
	}
	web_send(redfish->web, &request, answered, redfish);
}

void redfish_send(struct redfish *redfish, const char *method, const char *path, json_t *body,
	redfish_next *next)
{
	struct error e = {};
	char *copy = alloc_text(path);
	json_decref(redfish->body);
	redfish->body = body;
	free(redfish->path);
	redfish->path = copy;
	redfish->method = method;
	redfish->next = next;
	redfish->has_logged_in = false;
	redfish->has_etag = text_equal(method, "PATCH") && redfish->etag &&
		!(redfish->bmc.quirks & QUIRK_ETAG_REFUSED);
	if (!path || path[0] != '/' || path[1] == '/') {
		error_set(
			&e, -EBADMSG, "the BMC names \"%.80s\" where a path is wanted", path ?: "");
		failed(redfish, -EBADMSG, &e);
		return;
	}
	if (!redfish->token && !redfish->is_basic && !text_equal(path, ROOT))
		log_in(redfish);
	else
		send_again(redfish);
}

static void found(struct redfish *redfish, json_t *json)
{
	void (*begin)(struct redfish *) = TAKE_PTR(redfish->begin);
	const json_t *links = json_object_get(json, "Links");
	redfish->chassis = alloc_text(redfish_link(links, "Chassis"));
	redfish->manager = alloc_text(redfish_link(links, "ManagedBy"));
	redfish->bmc.quirks = quirk_find(json_text(json, "Manufacturer"), json_text(json, "Model"));
	if (begin)
		begin(redfish);
}

/* A chassis of several servers has one service for all of them. */
static const char *find_system(const struct redfish *redfish, const json_t *members)
{
	for (size_t i = 0; i < json_array_size(members); i++) {
		const char *path = json_text(json_array_get(members, i), "@odata.id");
		const char *slash = path ? strrchr(path, '/') : NULL;
		/* Some end with one. */
		size_t length = slash && !slash[1] ? strlen(path) - 1 : path ? strlen(path) : 0;
		size_t wanted = redfish->wanted ? strlen(redfish->wanted) : 0;
		if (path &&
			(!wanted ||
				(length > wanted && path[length - wanted - 1] == '/' &&
					strncmp(path + length - wanted, redfish->wanted, wanted) ==
						0)))
			return path;
	}
	return NULL;
}

static void systems_came(struct redfish *redfish, json_t *json)
{
	struct error e = {};
	const char *path = find_system(redfish, json_object_get(json, "Members"));
	if (!path) {
		if (redfish->wanted)
			error_set(&e, -ENOENT, "the BMC has no system \"%.60s\"", redfish->wanted);
		else
			error_set(&e, -ENOENT, "the BMC has no system");
		redfish_end(redfish, -ENOENT, &e);
		return;
	}
	free(redfish->system);
	redfish->system = alloc_text(path);
	redfish_get(redfish, redfish->system, found);
}

static void root_came(struct redfish *redfish, json_t *json)
{
	struct error e = {};
	const char *path = redfish_link(json, "Systems");
	/* Without sessions, whoever asks for one may be told 401 instead of 404. */
	if (!redfish_link(json, "SessionService") &&
		!redfish_link(json_object_get(json, "Links"), "Sessions"))
		redfish->is_basic = true;
	if (path) {
		redfish_get(redfish, path, systems_came);
		return;
	}
	error_set(&e, -EBADMSG, "what answers at the address is no Redfish service");
	redfish_end(redfish, -EBADMSG, &e);
}

void redfish_begin(struct redfish *redfish, void (*begin)(struct redfish *redfish),
	void (*end)(struct redfish *redfish, int code, const struct error *e), void *data)
{
	assert(!redfish->end);
	redfish->end = end;
	redfish->data = data;
	redfish->failed = NULL;
	if (redfish->chassis || redfish->manager) {
		begin(redfish);
		return;
	}
	redfish->begin = begin;
	redfish_get(redfish, ROOT, root_came);
}

void redfish_cancel(struct bmc *bmc)
{
	struct redfish *redfish = container_of(bmc, struct redfish, bmc);
	web_cancel(redfish->web);
	timer_stop(redfish->again);
	redfish->end = NULL;
	redfish->begin = NULL;
	redfish->failed = NULL;
}
