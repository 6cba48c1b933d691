/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch.c - from HTTP to a handler.
 *
 * A request is refused as early as it can be, at its head: an unknown address, a client without rights, a
 * JSON body that is too long. What is refused so is answered when its (short) body is through, or at once.
 */
#include "daemon/dispatch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/file.h"
#include "base/log.h"
#include "daemon/access.h"
#include "daemon/projects.h"
#include "http/uri.h"
#include "model/json.h"

#define CONNECTIONS_MAX 8192
#define GROUPS_MAX      1024

struct dispatch {
	struct service *service;
	struct http_server *server;
	const struct route *const *routes;
	gid_t group;
	bool is_closed;
};

static void free_params(struct request_param *params, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(TAKE_PTR(params[i].value));
}

bool dispatch_match(
	const char *pattern, const char *path, struct request_param *params, size_t *ret_count)
{
	size_t count = 0;
	while (*pattern == '/' && *path == '/') {
		pattern++, path++;
		size_t length = strcspn(pattern, "/"), got = strcspn(path, "/");
		if (pattern[0] == '{') {
			struct request_param *param = &params[count];
			param->name = pattern + 1;
			param->name_length = length - 2;
			if (got == 0 || uri_decode(path, got, &param->value) < 0)
				break;
			count++;
		} else if (length != got || memcmp(pattern, path, length) != 0) {
			break;
		}
		pattern += length, path += got;
	}
	/* One slash at the end says nothing. */
	if (*pattern == '\0' && (*path == '\0' || (path[0] == '/' && path[1] == '\0'))) {
		*ret_count = count;
		return true;
	}
	free_params(params, count);
	return false;
}

static int find_route(
	struct dispatch *dispatch, struct request *request, const char *path, struct error *e)
{
	const char *method = http_request_method(request->http);
	if (text_equal(method, "HEAD"))
		method = "GET";
	bool is_known = false;
	for (size_t i = 0; dispatch->routes[i]; i++) {
		for (const struct route *route = dispatch->routes[i]; route->method; route++) {
			if (!dispatch_match(
				    route->path, path, request->params, &request->param_count))
				continue;
			if (text_equal(route->method, method)) {
				request->route = route;
				return 0;
			}
			is_known = true;
			free_params(request->params, request->param_count);
			request->param_count = 0;
		}
	}
	if (is_known)
		return error_set(e, -ENOTTY, "%s can't be done at this address", method);
	return error_set(e, -ENOENT, "not found");
}

/* "/1.0/containers/c1" is another name of "/1.0/instances/c1". The caller owns the result. */
static char *resolve_alias(struct request *request, const char *path)
{
	static const struct {
		const char *start, *type;
	} aliases[] = {
		{ "/1.0/containers", "container" },
		{ "/1.0/virtual-machines", "virtual-machine" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++) {
		size_t length = strlen(aliases[i].start);
		if (strncmp(path, aliases[i].start, length) != 0 ||
			(path[length] != '/' && path[length] != '\0'))
			continue;
		request->alias = aliases[i].type;
		return alloc_printf("/1.0/instances%s", path + length);
	}
	return alloc_text(path);
}

/* Root, ourselves, and the members of the group. */
static bool is_trusted(const struct dispatch *dispatch, const struct request *request)
{
	struct ucred peer;
	if (http_request_peer(request->http, &peer) < 0)
		return false;
	if (peer.uid == 0 || peer.uid == geteuid())
		return true;
	if (dispatch->group == (gid_t)-1)
		return false;
	if (peer.gid == dispatch->group)
		return true;
	cleanup(free) gid_t *groups = alloc_array(GROUPS_MAX, gid_t);
	socklen_t size = GROUPS_MAX * sizeof(gid_t);
	if (getsockopt(http_request_socket(request->http), SOL_SOCKET, SO_PEERGROUPS, groups,
		    &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(gid_t); i++)
		if (groups[i] == dispatch->group)
			return true;
	return false;
}

static bool has_type(const struct request *request, const char *wanted)
{
	const char *type = request_header(request, "Content-Type");
	return type && strncasecmp(type, wanted, strlen(wanted)) == 0;
}

/* Of a route that takes both, only what says that it is JSON goes to memory. */
static bool wants_file(const struct request *request)
{
	if (request->route->body != REQUEST_JSON_OR_FILE)
		return request->route->body == REQUEST_FILE;
	return !has_type(request, "application/json");
}

/* Clients that say nothing (curl, pylxd) send both kinds: what begins an object and is short is one. */
static bool may_be_json(const struct request *request)
{
	if (request->route->body != REQUEST_JSON_OR_FILE ||
		has_type(request, "application/octet-stream") ||
		has_type(request, "multipart/form-data"))
		return false;
	const struct http_part *file = request_file(request);
	char first = '\0';
	return file && file->size_bytes <= REQUEST_JSON_BYTES &&
		(file->size_bytes == 0 ||
			(pread(file->fd, &first, 1, 0) == 1 && strchr("{ \t\r\n", first)));
}

static int check_project(struct request *request, struct error *e)
{
	const char *project = request_project(request);
	if ((request->route->flags & ROUTE_NO_PROJECT) || request_all_projects(request) ||
		project_exists(request->service, project))
		return 0;
	return error_set(e, -ENOENT, "project \"%.64s\" does not exist", project);
}

static void read_client(struct dispatch *dispatch, struct request *request)
{
	if (is_trusted(dispatch, request))
		request->client.access = ACCESS_FULL;
	else
		access_read(request->service, request);
}

static int check_head(struct dispatch *dispatch, struct request *request, struct error *e)
{
	read_client(dispatch, request);
	if (dispatch->is_closed)
		return error_set(e, -ESHUTDOWN, "the daemon is stopping");
	if (http_request_has_bad_query(request->http))
		return error_set(e, -EINVAL, "the query of the address is broken");
	cleanup(free) char *path = resolve_alias(request, http_request_path(request->http));
	int r = find_route(dispatch, request, path, e);
	if (r < 0)
		return request->client.access == ACCESS_NONE
			? error_set(e, -EACCES, "not authorized")
			: r;
	r = access_check(request->service, request, e);
	if (r == 0)
		r = check_project(request, e);
	if (r < 0 || request->route->body == REQUEST_NONE)
		return r;
	if (wants_file(request)) {
		http_request_want(request->http, HTTP_BODY_FILE, REQUEST_FILE_BYTES);
		return 0;
	}
	uint64_t length = http_request_length(request->http);
	if (length != UINT64_MAX && length > REQUEST_JSON_BYTES)
		return error_set(e, -E2BIG, "the body has more than %" PRIu64 " bytes",
			(uint64_t)REQUEST_JSON_BYTES);
	http_request_want(request->http, HTTP_BODY_MEMORY, REQUEST_JSON_BYTES);
	return 0;
}

static void on_head(void *data, struct http_request *http)
{
	struct dispatch *dispatch = data;
	struct request *request = alloc(struct request);
	request->service = dispatch->service;
	request->http = http;
	request->started_ns = loop_now();
	http_request_set_user(http, request);
	struct error e = {};
	int r = check_head(dispatch, request, &e);
	if (r < 0)
		reply_error(request, r, &e);
}

static int read_json(struct request *request, const char *body, size_t length, struct error *e)
{
	if (strspn(body, " \t\r\n") == length) {
		request->json = json_object();
		return 0;
	}
	int r = json_parse(body, length, &request->json, e);
	if (r < 0)
		return error_prefix(e, r, "the body");
	if (!json_is_object(request->json))
		return error_set(e, -EINVAL, "the body: an object is wanted");
	return 0;
}

/* The body as JSON, if it is meant as that. */
static int read_body(struct request *request, struct error *e)
{
	size_t length;
	if (request->route->body == REQUEST_NONE)
		return 0;
	if (!wants_file(request)) {
		const char *body = http_request_body(request->http, &length);
		return read_json(request, body, length, e);
	}
	if (!may_be_json(request))
		return 0;
	const struct http_part *file = request_file(request);
	length = (size_t)file->size_bytes;
	cleanup(free) char *body = alloc_array(length + 1, char);
	int r = file_read_at(file->fd, body, length, 0);
	return r < 0 ? error_code(e, r, "read the body") : read_json(request, body, length, e);
}

static void answered(struct request *request, int r, const struct error *e)
{
	if (r < 0)
		reply_error(request, r, e);
	else if (!http_request_is_answered(request->http) && !request->is_deferred)
		reply_error(request, -EIO, NULL);
}

void dispatch_again(struct request *request)
{
	struct error e = {};
	int r = request->route->handle(request->service, request, &e);
	answered(request, r, &e);
}

static int handle(struct request *request, struct error *e)
{
	int r = http_request_body_error(request->http);
	if (r == -E2BIG)
		return error_set(e, r, "the body is too large");
	if (r == -EINVAL)
		return error_set(e, r, "the multipart body is broken");
	if (r < 0)
		return error_code(e, r, "keep the body");
	r = read_body(request, e);
	if (r == 0)
		r = access_check_body(request->service, request, e);
	if (r < 0)
		return r;
	return request->route->handle(request->service, request, e);
}

static void on_ready(void *data, struct http_request *http)
{
	(void)data;
	struct request *request = http_request_user(http);
	struct error e = {};
	int r = handle(request, &e);
	answered(request, r, &e);
}

static void on_done(void *data, struct http_request *http)
{
	(void)data;
	struct request *request = http_request_user(http);
	if (request->is_deferred && request->gone && !http_request_is_answered(http))
		request->gone(request->gone_data);
	log_debug("request method=%s path=%.128s us=%" PRIu64, http_request_method(http),
		http_request_path(http), (loop_now() - request->started_ns) / 1000);
	free_params(request->params, request->param_count);
	json_decref(request->json);
	json_decref(request->client.projects);
	free(request->client.fingerprint);
	free(request);
}

static const struct http_calls dispatch_calls = {
	.head = on_head,
	.ready = on_ready,
	.done = on_done,
};

int dispatch_new(struct service *service, const struct dispatch_options *options,
	struct dispatch **ret, struct error *e)
{
	struct dispatch *dispatch = alloc(struct dispatch);
	dispatch->service = service;
	dispatch->routes = options->routes;
	dispatch->group = options->group;
	struct http_options http = {
		.listen_fd = options->listen_fd,
		.tmp_dir = service->tmp_dir,
		.connection_limit = CONNECTIONS_MAX,
		.head_timeout_ns = 30 * NS_PER_SEC,
		.idle_timeout_ns = 120 * NS_PER_SEC,
	};
	int r = http_server_new(
		service->loop, &http, &dispatch_calls, dispatch, &dispatch->server, e);
	if (r < 0) {
		free(dispatch);
		return r;
	}
	*ret = dispatch;
	return 0;
}

void dispatch_add(struct dispatch *dispatch, int fd, struct tls_peer *peer)
{
	(void)http_server_add(dispatch->server, fd, peer);
}

void dispatch_close(struct dispatch *dispatch)
{
	dispatch->is_closed = true;
	http_server_close(dispatch->server);
}

void dispatch_free(struct dispatch *dispatch)
{
	if (!dispatch)
		return;
	http_server_free(dispatch->server);
	free(dispatch);
}
