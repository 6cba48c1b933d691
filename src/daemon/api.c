/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api.c - what a request asks, and the envelopes of its answers.
 */
#include "daemon/api.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "daemon/etag.h"
#include "daemon/operation.h"
#include "http/uri.h"
#include "model/filter.h"
#include "model/json.h"

#define JSON_TYPE "application/json"

/* -- the request ---------------------------------------------------------------------------------- */

const char *request_param(const struct request *request, const char *name)
{
	for (size_t i = 0; i < request->param_count; i++) {
		const struct request_param *param = &request->params[i];
		if (strlen(name) == param->name_length &&
			memcmp(name, param->name, param->name_length) == 0)
			return param->value;
	}
	/* The route has no such part: a slip of the handler's author. */
	abort();
}

const char *request_query(const struct request *request, const char *name)
{
	return http_request_query(request->http, name);
}

bool request_query_flag(const struct request *request, const char *name)
{
	static const char *const words[] = { "1", "true", "yes", "on" };
	const char *value = request_query(request, name);
	for (size_t i = 0; value && i < ARRAY_SIZE(words); i++)
		if (strcasecmp(value, words[i]) == 0)
			return true;
	return false;
}

const char *request_header(const struct request *request, const char *name)
{
	return http_request_header(request->http, name);
}

const char *request_x_header(const struct request *request, const char *name)
{
	char header[64];
	snprintf(header, sizeof(header), "X-LXD-%s", name);
	const char *value = request_header(request, header);
	if (value)
		return value;
	snprintf(header, sizeof(header), "X-Incus-%s", name);
	return request_header(request, header);
}

const char *request_project(const struct request *request)
{
	const char *project = request_query(request, "project");
	return project && *project ? project : "default";
}

bool request_all_projects(const struct request *request)
{
	return request_query_flag(request, "all-projects");
}

unsigned int request_recursion(const struct request *request)
{
	const char *text = request_query(request, "recursion");
	uint64_t depth;
	if (!text || text_to_u64(text, &depth) < 0)
		return 0;
	return depth > 2 ? 2 : (unsigned int)depth;
}

json_t *request_json(const struct request *request)
{
	return request->json;
}

struct http_part *request_file(const struct request *request)
{
	return request_part(request, "");
}

struct http_part *request_part(const struct request *request, const char *name)
{
	for (size_t i = 0; i < http_request_part_count(request->http); i++) {
		struct http_part *part = http_request_part(request->http, i);
		if (text_equal(part->name, name))
			return part;
	}
	return NULL;
}

int request_if_match(const struct request *request, const json_t *seen, struct error *e)
{
	const char *wanted = request_header(request, "If-Match");
	if (!wanted || !*wanted || text_equal(wanted, "*"))
		return 0;
	char etag[ETAG_SIZE];
	etag_of(seen, etag);
	size_t length = strlen(wanted);
	bool is_quoted = length == ETAG_SIZE + 1 && wanted[0] == '"' && wanted[length - 1] == '"';
	const char *start = is_quoted ? wanted + 1 : wanted;
	if (length - (is_quoted ? 2 : 0) == ETAG_SIZE - 1 &&
		memcmp(start, etag, ETAG_SIZE - 1) == 0)
		return 0;
	return error_set(e, -ESTALE, "Precondition failed: the object was changed meanwhile");
}

void request_defer(struct request *request, void (*gone)(void *data), void *data)
{
	request->is_deferred = true;
	request->gone = gone;
	request->gone_data = data;
}

/* -- the answer ----------------------------------------------------------------------------------- */

static int add_to_text(const char *bytes, size_t length, void *data)
{
	text_add_n(data, bytes, length);
	return 0;
}

static void text_add_json(struct text *text, const json_t *json)
{
	if (!json ||
		json_dump_callback(json, add_to_text, text, JSON_COMPACT | JSON_ENCODE_ANY) < 0)
		text_add(text, "null");
}

static int answer_json(struct request *request, unsigned int status, struct text *text)
{
	text_add(text, "\n");
	size_t length = text->length;
	http_reply_text(request->http, status, JSON_TYPE, text_take(text), length);
	return 0;
}

static void start_sync(struct text *text)
{
	text_add(text,
		"{\"type\":\"sync\",\"status\":\"Success\",\"status_code\":200,"
		"\"operation\":\"\",\"error_code\":0,\"error\":\"\",\"metadata\":");
}

int reply_sync(struct request *request, json_t *metadata)
{
	struct text text = {};
	start_sync(&text);
	if (metadata)
		text_add_json(&text, metadata);
	else
		text_add(&text, "{}");
	text_add(&text, "}");
	json_decref(metadata);
	return answer_json(request, 200, &text);
}

int reply_object_seen(struct request *request, json_t *metadata, const json_t *seen)
{
	char etag[ETAG_SIZE], quoted[ETAG_SIZE + 2];
	etag_of(seen, etag);
	snprintf(quoted, sizeof(quoted), "\"%s\"", etag);
	reply_header(request, "ETag", quoted);
	return reply_sync(request, metadata);
}

int reply_object(struct request *request, json_t *metadata)
{
	return reply_object_seen(request, metadata, metadata);
}

int reply_text(struct request *request, char *json, size_t length)
{
	struct text text = {};
	start_sync(&text);
	text_add_n(&text, json, length);
	text_add(&text, "}");
	free(json);
	return answer_json(request, 200, &text);
}

int reply_created(struct request *request, const char *location_format, ...)
{
	char location[2048];
	va_list args;
	va_start(args, location_format);
	vsnprintf(location, sizeof(location), location_format, args);
	va_end(args);
	reply_header(request, "Location", location);
	struct text text = {};
	start_sync(&text);
	text_add(&text, "null}");
	return answer_json(request, 201, &text);
}

int reply_operation(struct request *request, const struct operation *operation)
{
	char location[64 + TEXT_UUID_SIZE];
	snprintf(location, sizeof(location), "/1.0/operations/%s", operation_id(operation));
	reply_header(request, "Location", location);
	struct text text = {};
	text_printf(&text,
		"{\"type\":\"async\",\"status\":\"Operation created\",\"status_code\":100,"
		"\"operation\":\"%s\",\"error_code\":0,\"error\":\"\",\"metadata\":",
		location);
	cleanup(json_decref) json_t *json = operation_json(operation);
	text_add_json(&text, json);
	text_add(&text, "}");
	return answer_json(request, 202, &text);
}

char *url_for(const char *base, const char *name, const char *project)
{
	struct text text = {};
	text_add(&text, base);
	text_add(&text, "/");
	uri_encode(&text, name);
	if (project && *project && !text_equal(project, "default")) {
		text_add(&text, "?project=");
		uri_encode(&text, project);
	}
	return text_take(&text);
}

static json_t *object_url(
	const struct request *request, const json_t *object, const char *base, const char *key)
{
	const char *project = json_string_value(json_object_get(object, "project"));
	if (!project && !(request->route->flags & ROUTE_NO_PROJECT))
		project = request_project(request);
	const char *name = json_string_value(json_object_get(object, key));
	cleanup(free) char *url = url_for(base, name ? name : "", project);
	return json_string(url);
}

int reply_collection(struct request *request, json_t *objects, const char *base, const char *key,
	struct error *e)
{
	cleanup(json_decref) json_t *all = objects;
	const char *text = request_query(request, "filter");
	cleanup(filter_free) struct filter *filter = NULL;
	int r = filter_parse(text ? text : "", &filter, e);
	if (r < 0)
		return r;
	bool is_recursive = request_recursion(request) > 0;
	json_t *result = json_array();
	size_t i;
	json_t *object;
	json_array_foreach(all, i, object)
	{
		if (!filter_matches(filter, object))
			continue;
		if (is_recursive)
			json_array_append(result, object);
		else
			json_array_append_new(result, object_url(request, object, base, key));
	}
	return reply_sync(request, result);
}

static void disposition(struct request *request, const char *name)
{
	if (!name)
		return;
	cleanup(text_done) struct text text = {};
	text_add(&text, "inline;filename=");
	uri_encode(&text, name);
	reply_header(request, "Content-Disposition", text_str(&text));
}

int reply_file(struct request *request, int fd, uint64_t length, const char *name)
{
	disposition(request, name);
	http_reply_file(request->http, 200, "application/octet-stream", fd, 0, length);
	return 0;
}

int reply_stream(struct request *request, int fd, const char *type)
{
	http_reply_stream(request->http, 200, type, fd);
	return 0;
}

int reply_plain(struct request *request, char *text, size_t length, const char *type)
{
	http_reply_text(request->http, 200, type, text, length);
	return 0;
}

void reply_header(struct request *request, const char *name, const char *value)
{
	http_reply_header(request->http, name, value);
}

void reply_x_header(struct request *request, const char *name, const char *value)
{
	static const char *const families[] = { "X-LXD", "X-Incus" };
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		char header[64];
		snprintf(header, sizeof(header), "%s-%s", families[i], name);
		reply_header(request, header, value);
	}
}

int reply_upgrade(struct request *request, const char *protocol, http_upgrade_call *call,
	void *data, struct error *e)
{
	const char *wanted = request_header(request, "Upgrade");
	if (!wanted || strcasecmp(wanted, protocol) != 0)
		return error_set(e, -EINVAL,
			"this address wants an upgrade of the connection to %s", protocol);
	http_reply_upgrade(request->http, protocol, call, data);
	return 0;
}

int reply_websocket(
	struct request *request, websocket_ready_call *ready, void *data, struct error *e)
{
	return websocket_reply(request->http, ready, data, e);
}

static unsigned int status_of(int code)
{
	switch (-code) {
	case EINVAL:
	case ERANGE:
		return 400;
	case EACCES:
	case EPERM:
		return 403;
	case ENOENT:
		return 404;
	case ENOTSUP:
	case ENOSYS:
		return 501;
	case EEXIST:
	case EBUSY:
		return 409;
	case ESTALE:
		return 412;
	case E2BIG:
		return 413;
	case EAGAIN:
	case ESHUTDOWN:
		return 503;
	case ETIMEDOUT:
		return 504;
	case ENOSPC:
	case EDQUOT:
		return 507;
	case ENOTTY: /* a method that the address does not have */
		return 405;
	default:
		return 500;
	}
}

void reply_error(struct request *request, int code, const struct error *e)
{
	unsigned int status = status_of(code);
	json_t *message =
		json_string(e && e->text[0] ? e->text : strerrordesc_np(code < 0 ? -code : EIO));
	struct text text = {};
	text_printf(&text, "{\"type\":\"error\",\"error_code\":%u,\"error\":", status);
	/* A text that is no UTF-8 can't be JSON. */
	if (message)
		text_add_json(&text, message);
	else
		text_add(&text, "\"the request failed; its reason is no text\"");
	text_add(&text, ",\"metadata\":null}");
	json_decref(message);
	answer_json(request, status, &text);
}
