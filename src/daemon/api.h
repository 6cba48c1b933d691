/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api.h - a request of the REST API, and the ways to answer it.
 *
 * A collection is one file api_X.c with a table of routes, listed in routes.c. A handler gets a request
 * whose route, project, body and If-Match syntax are checked; it answers with one of reply_...() and
 * returns 0, or returns a negative errno with *e set, which becomes the error envelope:
 *
 *	EINVAL 400, EACCES EPERM 403, ENOENT 404, EEXIST EBUSY 409, ESTALE 412, E2BIG 413,
 *	EOPNOTSUPP ENOSYS 501, ESHUTDOWN EAGAIN 503, ETIMEDOUT 504, ENOSPC EDQUOT 507, the rest 500
 *
 * Who answers later calls request_defer() before it returns 0.
 */
#pragma once

#include <jansson.h>

#include "base/text.h"
#include "daemon/service.h"
#include "http/server.h"
#include "http/websocket.h"

struct operation;

#define REQUEST_JSON_BYTES MIB /* the largest JSON body; more is 413 */
#define REQUEST_PARAMS_MAX 6
#define REQUEST_FILE_BYTES UINT64_MAX

enum request_body {
	REQUEST_NONE, /* a body is dropped */
	REQUEST_JSON, /* request_json(): an object; absent is {} */
	REQUEST_FILE, /* request_file(), request_part(): whatever comes, streamed to unlinked files */
	/*
	 * By Content-Type: application/json is JSON, application/octet-stream and multipart/form-data are
	 * FILE; without one of them by the first byte. request_json() is NULL for a file.
	 */
	REQUEST_JSON_OR_FILE,
};

enum route_flags {
	ROUTE_NO_PROJECT = 1 << 0, /* ?project= is not looked at */
};

struct request;

/* A collection's table ends with a route whose method is NULL. */
struct route {
	const char *method;
	const char *path; /* "/1.0/instances/{name}/state" */
	enum request_body body;
	int (*handle)(struct service *service, struct request *request, struct error *e);
	uint32_t flags;
};

struct request_param {
	const char *name; /* not NUL-terminated: a part of the route's path */
	size_t name_length;
	char *value; /* decoded */
};

enum access { ACCESS_NONE, ACCESS_METRICS, ACCESS_RESTRICTED, ACCESS_FULL };

/* Who asks. */
struct client {
	enum access access;
	char *fingerprint; /* of its certificate; NULL through the unix socket */
	json_t *projects;  /* what a restricted one may see */
};

struct request {
	struct service *service;
	struct client client;
	struct http_request *http;
	const struct route *route;
	struct request_param params[REQUEST_PARAMS_MAX];
	size_t param_count;
	const char
		*alias; /* "container", "virtual-machine": asked by /1.0/containers/..., or NULL */
	json_t *json;
	uint64_t started_ns;
	bool is_deferred;
	bool has_turn; /* it waited for the instance that it is about */
	void (*gone)(void *data);
	void *gone_data;
};

bool client_has_project(const struct client *client, const char *project);

/* The part of the path that {name} stands for; never NULL. */
const char *request_param(const struct request *request, const char *name);
/* NULL if it is not there. */
const char *request_query(const struct request *request, const char *name);
/* True for "1", "true", "yes" and "on". */
bool request_query_flag(const struct request *request, const char *name);
const char *request_header(const struct request *request, const char *name);
/*
 * A header of both families: "type" for X-LXD-type and X-Incus-type. NULL if there is none.
 */
const char *request_x_header(const struct request *request, const char *name);
/* ?project=, "default" without; it exists. */
const char *request_project(const struct request *request);
bool request_all_projects(const struct request *request);
/* ?recursion=, 0 without. */
unsigned int request_recursion(const struct request *request);
/* The body; an object; borrowed. NULL if the body is a file. */
json_t *request_json(const struct request *request);
/* The whole body of a plain upload, or a part of a multipart one; the callee may take its fd. NULL. */
struct http_part *request_file(const struct request *request);
struct http_part *request_part(const struct request *request, const char *name);

/*
 * If-Match against the object as it is now: -ESTALE if the client saw another one. `seen` is what the
 * GET's ETag was made of.
 */
int request_if_match(const struct request *request, const json_t *seen, struct error *e) must_use;

/*
 * The answer comes later. `gone` is called if the client leaves before that; the request is no more
 * then, and is none after the answer either.
 */
void request_defer(struct request *request, void (*gone)(void *data), void *data);

/* Each answers; each steals the JSON it is given. */

/* 200 with `metadata`; NULL gives {}. */
int reply_sync(struct request *request, json_t *metadata);
/* As reply_sync() with an ETag over all of `metadata`, or over `seen` if only that can be PUT. */
int reply_object(struct request *request, json_t *metadata);
int reply_object_seen(struct request *request, json_t *metadata, const json_t *seen);
/* 200 with metadata that is JSON already (malloc); for long lists. */
int reply_text(struct request *request, char *json, size_t length);
/* 201, Location and no metadata. */
int reply_created(struct request *request, const char *location_format, ...) printf_like(2, 3);
/* 202 with the operation, over or not. */
int reply_operation(struct request *request, const struct operation *operation);
/*
 * A collection: `objects` is an array. ?filter= is applied; without ?recursion= the answer is the URLs
 * BASE/KEY, where KEY is the object's field `key` ("name"), with ?project= if the object's project is not
 * the default one.
 */
int reply_collection(struct request *request, json_t *objects, const char *base, const char *key,
	struct error *e);
/* Raw bytes. The descriptor is taken; `name`, if not NULL, is what a browser would save it as. */
int reply_file(struct request *request, int fd, uint64_t length, const char *name);
/* What comes out of a pipe until it ends; taken. */
int reply_stream(struct request *request, int fd, const char *type);
/* Plain text (malloc). */
int reply_plain(struct request *request, char *text, size_t length, const char *type);
/* Before an answer: a header, and one of both families (name "mode": X-LXD-mode, X-Incus-mode). */
void reply_header(struct request *request, const char *name, const char *value);
void reply_x_header(struct request *request, const char *name, const char *value);
/* For websocket see http/websocket.h; 101 to another protocol ("sftp"). */
int reply_upgrade(struct request *request, const char *protocol, http_upgrade_call *call,
	void *data, struct error *e);
int reply_websocket(
	struct request *request, websocket_ready_call *ready, void *data, struct error *e);
/* For deferred requests. */
void reply_error(struct request *request, int code, const struct error *e);

/* "/1.0/instances/c1?project=p" with the name encoded; without the project if it is the default. */
char *url_for(const char *base, const char *name, const char *project) must_use;
