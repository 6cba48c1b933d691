/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote.c - where the server is, and what its envelopes say.
 */
#include "cli/remote.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SYSTEM_SOCKET "/var/lib/berth/unix.socket"

struct remote {
	struct client *client;
	char *socket; /* NULL for https */
	char *project;
	bool is_absent;
};

void answer_done(struct answer *answer)
{
	json_decref(answer->metadata);
	free(answer->operation);
	free(answer->etag);
	client_response_done(&answer->response);
	*answer = (struct answer){};
}

static char *local_socket(void)
{
	const char *socket = getenv("BERTH_SOCKET"), *dir = getenv("BERTH_DIR");
	if (socket && *socket)
		return alloc_text(socket);
	if (dir && *dir)
		return alloc_printf("%s/unix.socket", dir);
	return alloc_text(SYSTEM_SOCKET);
}

/* The file in the user's configuration directory, NULL if there is none. */
static char *config_file(const char *name)
{
	const char *dir = getenv("BERTH_CONFIG_DIR"), *home = getenv("HOME");
	char *path = dir && *dir ? alloc_printf("%s/%s", dir, name)
				 : alloc_printf("%s/.config/berth/%s", home ? home : "/root", name);
	if (access(path, R_OK) == 0)
		return path;
	free(path);
	return NULL;
}

static void trace(const char *line)
{
	fprintf(stderr, "%s\n", line);
}

int remote_open(const struct remote_options *options, struct remote **ret, struct error *e)
{
	bool is_url = options->server && strstr(options->server, "://");
	if (is_url && !text_starts(options->server, "https://"))
		return error_set(
			e, -EINVAL, "--server: '%s' is no https:// address", options->server);
	cleanup(free) char *socket = NULL, *certificate = NULL, *key = NULL, *trusted = NULL;
	if (is_url) {
		certificate = config_file("client.crt");
		key = config_file("client.key");
		trusted = config_file("server.crt");
	} else {
		socket = options->server ? alloc_text(options->server) : local_socket();
	}
	struct client *client = NULL;
	int r = client_open(
		&(struct client_options){
			.socket = socket,
			.url = is_url ? options->server : NULL,
			.certificate = certificate,
			.key = key,
			.server_certificate = trusted,
			.trace = options->is_traced ? trace : NULL,
		},
		&client, e);
	if (r < 0)
		return r;
	struct remote *remote = alloc(struct remote);
	*remote = (struct remote){
		.client = client,
		.socket = TAKE_PTR(socket),
		.project = alloc_text(options->project),
	};
	*ret = remote;
	return 0;
}

void remote_free(struct remote *remote)
{
	if (!remote)
		return;
	client_free(remote->client);
	free(remote->socket);
	free(remote->project);
	free(remote);
}

struct client *remote_client(struct remote *remote)
{
	return remote->client;
}

bool remote_is_absent(const struct remote *remote)
{
	return remote->is_absent;
}

static int errno_of_status(int status)
{
	switch (status) {
	case 401:
	case 403:
		return -EACCES;
	case 404:
		return -ENOENT;
	case 409:
		return -EEXIST;
	case 412:
		return -ESTALE;
	default:
		return status >= 400 && status < 500 ? -EINVAL : -EIO;
	}
}

static int unreachable(struct remote *remote, int code, struct error *e)
{
	if (!remote->socket || (code != -ENOENT && code != -ECONNREFUSED && code != -EACCES))
		return code;
	remote->is_absent = code != -EACCES;
	if (code == -EACCES)
		return error_set(
			e, code, "you may not talk to the daemon at %s; try sudo", remote->socket);
	return error_set(e, code,
		"no daemon answers at %s; start berthd, or name its directory in BERTH_DIR",
		remote->socket);
}

static int read_envelope(
	const struct client_request *request, struct answer *answer, struct error *e)
{
	cleanup(json_decref) json_t *envelope = json_loadb(text_str(&answer->response.body),
		answer->response.body.length, JSON_DECODE_ANY, NULL);
	const char *error = json_string_value(json_object_get(envelope, "error"));
	if (answer->status >= 400)
		return error_set(e, errno_of_status(answer->status), "%s",
			error && *error ? error : "the server refuses");
	const char *type = json_string_value(json_object_get(envelope, "type"));
	if (text_equal(type, "error"))
		return error_set(e, -EIO, "%s", error && *error ? error : "the server refuses");
	if (!json_is_object(envelope) || !type)
		return error_set(e, -EIO, "%s %s: the server's answer is not understood",
			request->method, request->target);
	answer->metadata = json_incref(json_object_get(envelope, "metadata"));
	if (text_equal(type, "async"))
		answer->operation =
			alloc_text(json_string_value(json_object_get(envelope, "operation")));
	return 0;
}

int remote_send(struct remote *remote, const struct client_request *request, struct answer *ret,
	struct error *e)
{
	cleanup(free) char *target = alloc_text(request->target);
	if (remote->project && !strstr(target, "project=") && !strstr(target, "all-projects="))
		target = path_query(target, "project", remote->project);
	struct client_request sent = *request;
	sent.target = target;

	cleanup(answer_done) struct answer answer = {};
	int r = client_send(remote->client, &sent, &answer.response, e);
	if (r < 0)
		return unreachable(remote, r, e);
	answer.status = answer.response.status;
	char value[256];
	answer.etag = alloc_text(client_header(&answer.response, "etag", value, sizeof(value)));
	const char *type = client_header(&answer.response, "content-type", value, sizeof(value));
	if (answer.status >= 400 || (type && text_starts(type, "application/json"))) {
		r = read_envelope(request, &answer, e);
		if (r < 0)
			return r;
	}
	*ret = answer;
	answer = (struct answer){};
	return 0;
}

static void add_encoded(struct text *text, const char *word)
{
	for (; *word; word++) {
		unsigned char c = (unsigned char)*word;
		if (isalnum(c) || strchr("-._~", c))
			text_add_char(text, *word);
		else
			text_printf(text, "%%%02X", (unsigned)c);
	}
}

char *path_format(const char *format, ...)
{
	struct text text = {};
	va_list args;
	va_start(args, format);
	for (const char *c = format; *c; c++) {
		if (c[0] == '%' && c[1] == 's') {
			add_encoded(&text, va_arg(args, const char *));
			c++;
		} else {
			text_add_char(&text, *c);
		}
	}
	va_end(args);
	return text_take(&text);
}

char *path_query(char *path, const char *name, const char *value)
{
	struct text text = {};
	text_printf(&text, "%s%c%s=", path, strchr(path, '?') ? '&' : '?', name);
	add_encoded(&text, value);
	free(path);
	return text_take(&text);
}
