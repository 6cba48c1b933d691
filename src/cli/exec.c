/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.c - exec, shell and console: to be inside an instance.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cells.h"
#include "cli/context.h"
#include "cli/object.h"
#include "cli/session.h"
#include "cli/verbs.h"

/* As timeout(1) and env(1): the exit status when it is we who failed, not the command. */
#define STATUS_FAILED 125

#define OPTIONS_OF_BOTH \
	{ "user", 'u', "UID", "run as this user id" }, \
		{ "group", 'g', "GID", "run with this group id" }, \
		{ "cwd", '\0', "DIRECTORY", "start in this directory" }, \
	{ \
		"env", 'e', "KEY=VALUE", "set in its environment; may be given again" \
	}

const struct option exec_options[] = {
	{ "terminal", 't', NULL, "with a terminal, even if ours is none" },
	{ "no-terminal", 'T', NULL, "without a terminal, even if ours is one" },
	{ "no-input", 'n', NULL, "with no standard input" },
	OPTIONS_OF_BOTH,
	{},
};
const struct option shell_options[] = { OPTIONS_OF_BOTH, {} };
const struct option console_options[] = {
	{ "log", '\0', NULL, "print what it has written so far, and end" },
	{},
};

static int set_id(struct context *context, const char *option, json_t *body, const char *member,
	struct error *e)
{
	const char *text = options_text(&context->options, option);
	uint64_t id = 0;
	if (text && (text_to_u64(text, &id) < 0 || id > UINT32_MAX))
		return error_set(e, -EINVAL, "--%s: '%s' is no numeric id", option, text);
	json_object_set_new(body, member, json_integer((json_int_t)id));
	return 0;
}

static int exec_body(
	struct context *context, bool has_terminal, json_t *command, json_t **ret, struct error *e)
{
	cleanup(json_decref) json_t *body = json_object();
	json_t *environment = json_object();
	json_object_set_new(body, "command", command);
	json_object_set_new(body, "environment", environment);
	const char *terminal = getenv("TERM");
	if (has_terminal && terminal)
		json_object_set_new(environment, "TERM", json_string(terminal));
	unsigned width = 0, height = 0;
	if (has_terminal)
		session_size(&width, &height);
	json_object_set_new(body, "width", json_integer(width));
	json_object_set_new(body, "height", json_integer(height));
	json_object_set_new(body, "interactive", json_boolean(has_terminal));
	json_object_set_new(body, "wait-for-websocket", json_true());
	json_object_set_new(body, "record-output", json_false());
	const char *cwd = options_text(&context->options, "cwd");
	json_object_set_new(body, "cwd", json_string(cwd ? cwd : ""));
	int r = pairs_of_option(context, "env", environment, e);
	if (r == 0)
		r = set_id(context, "user", body, "user", e);
	if (r == 0)
		r = set_id(context, "group", body, "group", e);
	if (r == 0)
		*ret = TAKE_PTR(body);
	return r;
}

/* Starts the operation and joins our streams to it; its path is then in *ret_operation. */
static int start_session(struct context *context, const char *path, json_t *body,
	const struct session_options *options, char **ret_operation, struct error *e)
{
	char *json = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	cleanup(free) char *owned = json;
	cleanup(answer_done) struct answer answer = {};
	int r = context_send(context,
		&(struct client_request){ .method = "POST", .target = path, .json = json }, &answer,
		e);
	if (r < 0)
		return r;
	if (!answer.operation)
		return error_set(e, -EIO, "the server started no session");
	*ret_operation = alloc_text_n(answer.operation, strcspn(answer.operation, "?"));
	return session_run(
		context, *ret_operation, object_at(answer.metadata, "metadata/fds"), options, e);
}

static int run_command(struct context *context, bool has_terminal, bool is_input_closed,
	json_t *command, struct error *e)
{
	json_t *body = NULL;
	int r = exec_body(context, has_terminal, command, &body, e);
	if (r < 0)
		return r;
	cleanup(free) char *path =
		path_format("/1.0/instances/%s/exec", context_argument(context, 0));
	cleanup(free) char *operation = NULL;
	struct session_options options = { .has_terminal = has_terminal,
		.is_input_closed = is_input_closed };
	r = start_session(context, path, body, &options, &operation, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *finished = NULL;
	r = context_wait(context, operation, "exec", &finished, e);
	json_t *status = object_at(finished, "metadata/return");
	if (!json_is_integer(status))
		return r < 0 ? r : error_set(e, -EIO, "the server told no exit status");
	if (r < 0)
		fprintf(stderr, "berth: %s\n", e->text);
	return (int)json_integer_value(status) & 255;
}

static int failed(int r, struct error *e)
{
	if (r >= 0)
		return r;
	fprintf(stderr, "berth: %s\n", e->text);
	return STATUS_FAILED;
}

int exec_run(struct context *context, struct error *e)
{
	const struct options *options = &context->options;
	bool is_forced = options_flag(options, "terminal");
	if (is_forced && options_flag(options, "no-terminal"))
		return error_set(e, -EINVAL, "--terminal and --no-terminal contradict each other");
	bool has_terminal = is_forced ||
		(!options_flag(options, "no-terminal") && !options_flag(options, "no-input") &&
			isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
	json_t *command = json_array();
	for (unsigned i = 1; i < options->argument_count; i++)
		json_array_append_new(command, json_string(options->arguments[i]));
	return failed(
		run_command(context, has_terminal, options_flag(options, "no-input"), command, e),
		e);
}

int shell_run(struct context *context, struct error *e)
{
	/* A login shell of the user, whatever it is; sh where there is no bash. */
	json_t *command = json_pack("[sss]", "sh", "-c",
		"cd ~ 2>/dev/null; if command -v bash >/dev/null; then exec bash -l; fi; exec sh -l");
	return failed(run_command(context, isatty(STDIN_FILENO) != 0, false, command, e), e);
}

static int print_console_log(struct context *context, const char *path, struct error *e)
{
	cleanup(answer_done) struct answer answer = {};
	int r = context_send(
		context, &(struct client_request){ .method = "GET", .target = path }, &answer, e);
	return r < 0 ? r : output_write(&answer.response.body, e);
}

int console_run(struct context *context, struct error *e)
{
	const char *name = context_argument(context, 0);
	bool is_server = text_equal(context->options.path, "server console");
	cleanup(free) char *path = is_server ? path_format("/1.0/berth/servers/%s/console", name)
					     : path_format("/1.0/instances/%s/console", name);
	if (text_equal(context->options.path, "console") && options_flag(&context->options, "log"))
		return print_console_log(context, path, e);
	unsigned width = 0, height = 0;
	session_size(&width, &height);
	json_t *body = json_pack(
		"{s:i, s:i, s:s}", "width", (int)width, "height", (int)height, "type", "console");
	context_note(context, "console of %s: ctrl-a q detaches, ctrl-a a sends ctrl-a", name);
	cleanup(free) char *operation = NULL;
	struct session_options options = { .has_terminal = true, .can_detach = true };
	int r = start_session(context, path, body, &options, &operation, e);
	if (r == 1)
		context_note(context, "\r\ndetached");
	return r < 0 ? r : 0;
}
