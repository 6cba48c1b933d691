/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metal.c - servers: enrolled, looked at, switched, let go.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/cells.h"
#include "cli/context.h"
#include "cli/object.h"
#include "cli/verbs.h"

#define SERVERS      "/1.0/berth/servers"
#define PASSWORD_MAX 4096

static const struct option table_options[] = { OPTION_FORMAT, OPTION_COLUMNS, {} };
static const struct option add_options[] = {
	{ "driver", 'd', "NAME", "redfish or ipmi" },
	{ "address", 'a', "ADDRESS", "of its BMC" },
	{ "port", 'p', "PORT", "of its BMC, if it is not the usual one" },
	{ "user", 'u', "NAME", "that the BMC knows" },
	{ "password-file", '\0', "FILE", "the user's password, - for standard input" },
	{ "tls", '\0', "TRUST", "none, or the BMC's key as sha256//BASE64" },
	{ "mac", 'm', "MAC", "of the card that boots from the network" },
	{ "class", 'c', "NAME", "what instances ask for; else by CPUs and memory" },
	{ "firmware", '\0', "KIND", "bios (as without this) or uefi" },
	{ "description", '\0', "TEXT", "say what it is for" },
	{},
};
static const struct option remove_options[] = {
	{ "force", 'f', NULL, "in whatever state it is, if it is nobody's" },
	{},
};
const struct option rescue_options[] = {
	{ "end", '\0', NULL, "end it: the instance is stopped then" },
	{},
};
static const struct option power_options[] = {
	{ "force", 'f', NULL, "though it is not in maintenance" },
	{},
};

static int read_password(struct context *context, json_t *body, struct error *e)
{
	const char *file = options_text(&context->options, "password-file");
	cleanup(free) char *text = NULL;
	if (!file)
		return 0;
	int r = file_read(AT_FDCWD, text_equal(file, "-") ? "/dev/stdin" : file, PASSWORD_MAX,
		&text, NULL, e);
	if (r < 0)
		return error_prefix(e, r, "--password-file");
	text[strcspn(text, "\r\n")] = '\0';
	json_object_set_new(body, "password", json_string(text));
	explicit_bzero(text, strlen(text));
	return 0;
}

static int read_options(struct context *context, json_t *body, struct error *e)
{
	static const char *const texts[] = { "driver", "address", "user", "tls", "mac", "class",
		"firmware", "description" };
	const char *port = options_text(&context->options, "port");
	uint64_t number;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *text = options_text(&context->options, texts[i]);
		if (text)
			json_object_set_new(body, texts[i], json_string(text));
	}
	if (port && text_to_u64(port, &number) < 0)
		return error_set(e, -EINVAL, "--port: '%s' is no port", port);
	if (port)
		json_object_set_new(body, "port", json_integer((json_int_t)number));
	return read_password(context, body, e);
}

static int read_config(struct context *context, json_t *body, struct error *e)
{
	json_t *config = json_object();
	int r = pairs_of_arguments(context, 1, config, e);
	if (json_object_size(config) > 0)
		json_object_set(body, "config", config);
	json_decref(config);
	return r;
}

static int add_run(struct context *context, struct error *e)
{
	const char *name = context_argument(context, 0);
	json_t *body = json_pack("{s:s}", "name", name);
	cleanup(free) char *what = alloc_printf("enrol %s", name);
	int r = read_options(context, body, e);
	if (r == 0)
		r = read_config(context, body, e);
	if (r < 0) {
		json_decref(body);
		return r;
	}
	return context_change(context, "POST", SERVERS, body, NULL, what, NULL, e);
}

static int set_run(struct context *context, struct error *e)
{
	json_t *body = json_object();
	cleanup(free) char *path = path_format(SERVERS "/%s", context_argument(context, 0));
	int r = read_options(context, body, e);
	if (r == 0)
		r = read_config(context, body, e);
	if (r < 0) {
		json_decref(body);
		return r;
	}
	return context_change(context, "PATCH", path, body, NULL, "change", NULL, e);
}

static char *state_of(const json_t *server)
{
	const char *state = object_text(server, "state");
	bool has_failed = object_text(server, "failed") != NULL;
	bool is_kept = json_is_true(object_at(server, "maintenance"));
	return alloc_printf("%s%s%s", state ? state : "", has_failed ? ", failed" : "",
		is_kept ? ", maintenance" : "");
}

static char *hardware_of(const json_t *server)
{
	char memory[TEXT_SIZE_MAX];
	json_int_t bytes = object_number(server, "inventory/memory_bytes");
	if (!object_at(server, "inventory"))
		return alloc_text("");
	return alloc_printf("%lld CPUs, %s, %zu disks",
		(long long)object_number(server, "inventory/cpus/count"),
		text_format_bytes((uint64_t)bytes, memory),
		json_array_size(object_at(server, "inventory/disks")));
}

static int list_servers(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "name", "NAME", "name" },
		{ "state", "STATE", .make = state_of },
		{ "power", "POWER", "power" },
		{ "class", "CLASS", "class" },
		{ "hardware", "HARDWARE", .make = hardware_of },
		{ "instance", "INSTANCE", "owner/instance" },
		{ "address", "BMC", "address", .is_extra = true },
		{ "host", "HOST", "host", .is_extra = true },
		{ "watts", "WATTS", "watts", .is_extra = true },
		{ "failed", "WHY", "failed", .is_extra = true },
		{},
	};
	return cells_list(context, columns, SERVERS "?recursion=1", e);
}

/* Stages with the time since the one before: what a deployment spent its time with. */
static void add_times(json_t *server)
{
	json_t *timeline = json_object_get(server, "timeline");
	json_int_t before = 0;
	for (size_t i = 0; i < json_array_size(timeline); i++) {
		json_t *one = json_array_get(timeline, i);
		json_int_t at = json_integer_value(json_object_get(one, "at_ns"));
		json_object_set_new(
			one, "after_ms", json_integer(before ? (at - before) / 1000000 : 0));
		json_object_del(one, "at_ns");
		before = at;
	}
	json_object_del(server, "since");
}

static int info(struct context *context, struct error *e)
{
	cleanup(free) char *path = path_format(SERVERS "/%s", context_argument(context, 0));
	cleanup(json_decref) json_t *server = NULL;
	int r = context_get(context, path, &server, NULL, e);
	if (r < 0)
		return r;
	add_times(server);
	return object_print(context, server, e);
}

static int act(struct context *context, const char *action, const char *what, struct error *e)
{
	const char *name = context_argument(context, 0);
	cleanup(free) char *path = path_format(SERVERS "/%s/state", name);
	cleanup(free) char *line = alloc_printf("%s %s", what, name);
	return context_change(
		context, "PUT", path, json_pack("{s:s}", "action", action), NULL, line, NULL, e);
}

static int inspect_run(struct context *context, struct error *e)
{
	return act(context, "inspect", "inspect", e);
}

static int clean_run(struct context *context, struct error *e)
{
	return act(context, "clean", "clean", e);
}

static int rescue_run(struct context *context, struct error *e)
{
	return act(context, "rescue", "rescue", e);
}

static int unrescue_run(struct context *context, struct error *e)
{
	return act(context, "unrescue", "end the rescue of", e);
}

int instance_rescue(struct context *context, struct error *e)
{
	const char *name = context_argument(context, 0);
	bool is_end = options_flag(&context->options, "end");
	cleanup(free) char *path = path_format("/1.0/instances/%s/rescue", name);
	cleanup(free) char *line =
		alloc_printf(is_end ? "end the rescue of %s" : "rescue %s", name);
	return context_change(
		context, "POST", path, json_pack("{s:b}", "end", is_end), NULL, line, NULL, e);
}

static int print_power(struct context *context, const char *name, struct error *e)
{
	cleanup(free) char *path = path_format(SERVERS "/%s/power", name);
	cleanup(json_decref) json_t *state = NULL;
	cleanup(text_done) struct text text = {};
	int r = context_get(context, path, &state, NULL, e);
	if (r < 0)
		return r;
	text_printf(&text, "%s\n", object_text(state, "power"));
	return output_write(&text, e);
}

static int power_run(struct context *context, struct error *e)
{
	const char *name = context_argument(context, 0), *to = context_argument(context, 1);
	if (!to)
		return print_power(context, name, e);
	cleanup(free) char *path = path_format(SERVERS "/%s/state", name);
	json_t *body = json_pack("{s:s, s:s, s:b}", "action", "power", "to", to, "force",
		options_flag(&context->options, "force"));
	return context_change(context, "PUT", path, body, NULL, "power", NULL, e);
}

static int events_run(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "id", "ID", "id" },
		{ "time", "TIME", "time" },
		{ "text", "EVENT", "text" },
		{},
	};
	cleanup(free) char *path = path_format(SERVERS "/%s/events", context_argument(context, 0));
	cleanup(json_decref) json_t *answer = NULL;
	int r = context_get(context, path, &answer, NULL, e);
	return r < 0 ? r : cells_print(context, columns, json_object_get(answer, "events"), e);
}

static int maintenance_run(struct context *context, struct error *e)
{
	const char *word = context_argument(context, 1);
	cleanup(free) char *path = path_format(SERVERS "/%s", context_argument(context, 0));
	if (!text_equal(word, "on") && !text_equal(word, "off"))
		return error_set(e, -EINVAL, "'%s': on or off is wanted", word);
	return context_change(context, "PATCH", path,
		json_pack("{s:b}", "maintenance", text_equal(word, "on")), NULL, "change", NULL, e);
}

static int remove_run(struct context *context, struct error *e)
{
	bool is_forced = options_flag(&context->options, "force");
	char *path = path_format(SERVERS "/%s", context_argument(context, 0));
	if (is_forced)
		path = path_query(path, "force", "1");
	int r = context_change(context, "DELETE", path, NULL, NULL, "remove", NULL, e);
	free(path);
	return r;
}

const struct verb server_verbs[] = {
	{ "add", "NAME [KEY=VALUE...]", "enrol a server: it is inspected, and its disks are erased",
		.run = add_run, .options = add_options, .min = 1, .max = ARGUMENTS_ANY },
	{ "list", "", "list the servers", .run = list_servers, .options = table_options },
	{ "info", "NAME", "show all about a server, and how its last deployment went", .run = info,
		.options = table_options, .min = 1, .max = 1 },
	{ "set", "NAME [KEY=VALUE...]", "change what is known of a server", .run = set_run,
		.options = add_options, .min = 1, .max = ARGUMENTS_ANY },
	{ "inspect", "NAME", "look at a server anew, also after a failure; its disks are erased",
		.run = inspect_run, .min = 1, .max = 1 },
	{ "clean", "NAME", "erase the disks of a server that is nobody's", .run = clean_run,
		.min = 1, .max = 1 },
	{ "power", "NAME [on|off|soft|cycle|reset]", "show or change the power", .run = power_run,
		.options = power_options, .min = 1, .max = 2 },
	{ "events", "NAME", "show the event log of its BMC", .run = events_run,
		.options = table_options, .min = 1, .max = 1 },
	{ "console", "NAME", "attach to its serial console", .run = console_run, .min = 1,
		.max = 1 },
	{ "rescue", "NAME", "boot a server of somebody's into a rescue system", .run = rescue_run,
		.min = 1, .max = 1 },
	{ "unrescue", "NAME", "end that; the instance is started as any other", .run = unrescue_run,
		.min = 1, .max = 1 },
	{ "maintenance", "NAME on|off", "keep a server out of use, or give it back",
		.run = maintenance_run, .min = 2, .max = 2 },
	{ "remove", "NAME", "forget a server", .run = remove_run, .options = remove_options,
		.min = 1, .max = 1 },
	{},
};
