/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.c - the daemon itself: operations, warnings, metrics, resources, its host and its version.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "cli/cells.h"
#include "cli/context.h"
#include "cli/object.h"
#include "cli/verbs.h"

static const struct option table_options[] = { OPTION_FORMAT, OPTION_COLUMNS, {} };
const struct option doctor_options[] = { OPTION_FORMAT, {} };
const struct option query_options[] = {
	{ "request", 'X', "METHOD", "GET, unless another is asked for" },
	{ "data", 'd', "JSON", "the body; '-' is standard input" },
	{ "wait", '\0', NULL, "wait for the operation that it starts, and print that" },
	{ "raw", '\0', NULL, "print the answer as it came" },
	{},
};

static int operation_list(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "id", "ID", "id" },
		{ "class", "CLASS", "class" },
		{ "description", "DESCRIPTION", "description" },
		{ "state", "STATE", "status" },
		{ "cancel", "CAN CANCEL", "may_cancel", CELL_YES },
		{ "created", "CREATED", "created_at", CELL_TIME },
		{},
	};
	cleanup(json_decref) json_t *states = NULL;
	int r = context_get(context, "/1.0/operations?recursion=1", &states, NULL, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *all = json_array();
	const char *state;
	json_t *some;
	json_object_foreach(states, state, some) json_array_extend(all, some);
	return cells_print(context, columns, all, e);
}

static int operation_cancel(struct context *context, struct error *e)
{
	cleanup(free) char *path = path_format("/1.0/operations/%s", context_argument(context, 0));
	return context_change(context, "DELETE", path, NULL, NULL, "cancel", NULL, e);
}

static int operation_show(struct context *context, struct error *e)
{
	cleanup(free) char *path = path_format("/1.0/operations/%s", context_argument(context, 0));
	return object_show(context, path, e);
}

const struct verb operation_verbs[] = {
	{ "list", "", "list what is going on", .run = operation_list, .options = table_options },
	{ "show", "OPERATION", "show all about an operation", .run = operation_show,
		.options = format_options, .min = 1, .max = 1 },
	{ "cancel", "OPERATION", "cancel an operation", .run = operation_cancel, .min = 1,
		.max = 1 },
	{},
};

static int warning_list(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "id", "ID", "uuid" },
		{ "severity", "SEVERITY", "severity" },
		{ "type", "TYPE", "type" },
		{ "state", "STATE", "status" },
		{ "count", "COUNT", "count" },
		{ "seen", "LAST SEEN", "last_seen_at", CELL_TIME },
		{ "message", "MESSAGE", "last_message" },
		{},
	};
	return cells_list(context, columns, "/1.0/warnings?recursion=1", e);
}

static char *warning_path(struct context *context)
{
	return path_format("/1.0/warnings/%s", context_argument(context, 0));
}

static int warning_show(struct context *context, struct error *e)
{
	cleanup(free) char *path = warning_path(context);
	return object_show(context, path, e);
}

static int warning_acknowledge(struct context *context, struct error *e)
{
	cleanup(free) char *path = warning_path(context);
	return context_change(context, "PUT", path, json_pack("{s:s}", "status", "acknowledged"),
		NULL, "acknowledge", NULL, e);
}

static int warning_delete(struct context *context, struct error *e)
{
	cleanup(free) char *path = warning_path(context);
	return context_change(context, "DELETE", path, NULL, NULL, "delete", NULL, e);
}

const struct verb warning_verbs[] = {
	{ "list", "", "list what the daemon worries about", .run = warning_list,
		.options = table_options },
	{ "show", "WARNING", "show all about a warning", .run = warning_show,
		.options = format_options, .min = 1, .max = 1 },
	{ "acknowledge", "WARNING", "say that a warning was seen", .run = warning_acknowledge,
		.min = 1, .max = 1 },
	{ "delete", "WARNING", "delete a warning", .run = warning_delete, .min = 1, .max = 1 },
	{},
};

/* The body of a GET as it is. */
static int print_raw(struct context *context, const char *path, struct error *e)
{
	cleanup(answer_done) struct answer answer = {};
	int r = context_send(
		context, &(struct client_request){ .method = "GET", .target = path }, &answer, e);
	return r < 0 ? r : output_write(&answer.response.body, e);
}

int metrics_run(struct context *context, struct error *e)
{
	return print_raw(context, "/1.0/metrics", e);
}

int resources_run(struct context *context, struct error *e)
{
	return object_show(context, "/1.0/resources", e);
}

int version_run(struct context *context, struct error *e)
{
	cleanup(text_done) struct text text = {};
	text_printf(&text, "client  %s\n", BERTH_VERSION);
	cleanup(json_decref) json_t *server = NULL;
	struct error why = {};
	int r = context_get(context, "/1.0", &server, NULL, &why);
	if (r == 0) {
		const char *version = object_text(server, "environment/server_version");
		text_printf(&text, "server  %s\n", version ? version : "unknown");
	} else if (remote_is_absent(context->remote)) {
		text_add(&text, "server  (no daemon answers)\n");
	} else {
		return error_set(e, r, "%s", why.text);
	}
	return output_write(&text, e);
}

/* Without a daemon, the program itself can tell what this host lacks. */
static int doctor_by_program(const struct error *why, struct error *e)
{
	char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 32);
	if (length < 0)
		return error_errno(e, "find berthd");
	path[length] = '\0';
	char *slash = strrchr(path, '/');
	static const char *const beside[] = { "/berthd", "/../daemon/berthd" };
	cleanup(free) char *program = alloc_text("berthd");
	for (size_t i = 0; i < ARRAY_SIZE(beside); i++) {
		cleanup(free) char *candidate =
			alloc_printf("%.*s%s", (int)(slash - path), path, beside[i]);
		if (access(candidate, X_OK) == 0) {
			free(program);
			program = TAKE_PTR(candidate);
			break;
		}
	}
	fprintf(stderr, "berth: %s\n", why->text);
	char option[] = "--doctor";
	char *arguments[] = { program, option, NULL };
	pid_t pid = 0;
	int r = posix_spawnp(&pid, program, NULL, NULL, arguments, environ);
	if (r != 0)
		return error_code(e, -r, "start %s", program);
	int status = 0;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_errno(e, "wait for %s", program);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* 1 if something is missing that a kind of instance needs. */
int doctor_run(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "check", "CHECK", "name" },
		{ "status", "STATUS", "status" },
		{ "found", "FOUND", "detail" },
		{ "remedy", "REMEDY", "remedy" },
		{},
	};
	cleanup(json_decref) json_t *answer = NULL;
	struct error why = {};
	int r = context_get(context, "/1.0/berth/doctor", &answer, NULL, &why);
	if (r < 0 && remote_is_absent(context->remote))
		return doctor_by_program(&why, e);
	if (r < 0)
		return error_set(e, r, "%s", why.text);
	json_t *checks = json_is_array(answer) ? answer : json_object_get(answer, "checks");
	r = cells_print(context, columns, checks, e);
	size_t i;
	json_t *check;
	json_array_foreach(checks, i,
		check) if (r == 0 && text_equal(object_text(check, "status"), "missing")) r = 1;
	return r;
}

static int query_body(struct context *context, char **ret, struct error *e)
{
	const char *data = options_text(&context->options, "data");
	if (!data)
		return 0;
	if (!text_equal(data, "-")) {
		*ret = alloc_text(data);
		return 0;
	}
	struct text text = {};
	char buffer[4096];
	ssize_t length;
	while ((length = read(STDIN_FILENO, buffer, sizeof(buffer))) > 0)
		text_add_n(&text, buffer, (size_t)length);
	*ret = text_take(&text);
	return length < 0 ? error_errno(e, "read standard input") : 0;
}

int query_run(struct context *context, struct error *e)
{
	const struct options *options = &context->options;
	const char *method = options_text(options, "request"), *path = context_argument(context, 0);
	if (path[0] != '/')
		return error_set(e, -EINVAL, "'%s' is no path as /1.0/instances", path);
	cleanup(free) char *body = NULL;
	int r = query_body(context, &body, e);
	if (r < 0)
		return r;
	cleanup(answer_done) struct answer answer = {};
	r = context_send(context,
		&(struct client_request){ .method = method ? method
				: body                     ? "POST"
							   : "GET",
			.target = path,
			.json = body },
		&answer, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *operation = NULL;
	if (answer.operation && options_flag(options, "wait")) {
		r = context_wait(context, answer.operation, "query", &operation, e);
		if (r < 0)
			return r;
	}
	json_t *result = operation ? operation : answer.metadata;
	char type[64];
	bool is_json = client_header(&answer.response, "content-type", type, sizeof(type)) &&
		text_starts(type, "application/json");
	if ((options_flag(options, "raw") && !operation) || !is_json)
		return output_write(&answer.response.body, e);
	cleanup(text_done) struct text text = {};
	char *dump = json_dumps(result, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_SORT_KEYS);
	text_printf(&text, "%s\n", dump ? dump : "null");
	free(dump);
	return output_write(&text, e);
}
