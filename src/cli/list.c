/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list.c - list and info: what instances there are, and all about one.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cells.h"
#include "cli/context.h"
#include "cli/format.h"
#include "cli/verbs.h"

const struct option list_options[] = {
	OPTION_FORMAT,
	OPTION_COLUMNS,
	{ "all-projects", '\0', NULL, "of every project" },
	{},
};
const struct option info_options[] = {
	OPTION_FORMAT,
	{ "log", '\0', NULL, "show the log of its runner" },
	{},
};
const struct option format_options[] = { OPTION_FORMAT, {} };

static char *addresses(const json_t *instance, const char *family)
{
	struct text text = {};
	const char *name;
	json_t *link;
	json_object_foreach(object_at(instance, "state/network"), name, link)
	{
		size_t i;
		json_t *address;
		json_array_foreach(json_object_get(link, "addresses"), i,
			address) if (text_equal(object_text(address, "family"), family) &&
			text_equal(object_text(address, "scope"), "global")) text_printf(&text,
			"%s%s", text.length ? " " : "", object_text(address, "address"));
	}
	return text_take(&text);
}

static char *ipv4(const json_t *instance)
{
	return addresses(instance, "inet");
}

static char *ipv6(const json_t *instance)
{
	return addresses(instance, "inet6");
}

/* "STOPPED", as the stock clients show it. */
static char *status(const json_t *instance)
{
	char *text = alloc_text(object_text(instance, "status"));
	for (char *c = text; c && *c; c++)
		*c = (char)toupper((unsigned char)*c);
	return text;
}

static char *cpu_seconds(const json_t *instance)
{
	json_int_t ns = object_number(instance, "state/cpu/usage");
	return ns > 0 ? alloc_printf("%.1fs", (double)ns / (double)NS_PER_SEC) : alloc_text("");
}

static char *image(const json_t *instance)
{
	const char *text = object_text(instance, "config/image.description");
	return alloc_text(text ? text : "");
}

static const struct column columns[] = {
	{ "name", "NAME", "name" },
	{ "type", "TYPE", "type" },
	{ "state", "STATE", .make = status },
	{ "ipv4", "IPV4", .make = ipv4 },
	{ "ipv6", "IPV6", .make = ipv6 },
	{ "cpus", "CPUS", "expanded_config/limits.cpu" },
	{ "memory", "MEMORY", "expanded_config/limits.memory" },
	{ "storage", "STORAGE", "expanded_devices/root/size" },
	{ "snapshots", "SNAPSHOTS", "snapshots", CELL_COUNT },
	{ "project", "PROJECT", "project", .is_extra = true },
	{ "description", "DESCRIPTION", "description", .is_extra = true },
	{ "profiles", "PROFILES", "profiles", CELL_LIST, .is_extra = true },
	{ "created", "CREATED", "created_at", CELL_TIME, .is_extra = true },
	{ "used", "LAST USED", "last_used_at", CELL_TIME, .is_extra = true },
	{ "architecture", "ARCHITECTURE", "architecture", .is_extra = true },
	{ "image", "IMAGE", .is_extra = true, .make = image },
	{ "pid", "PID", "state/pid", .is_extra = true },
	{ "processes", "PROCESSES", "state/processes", .is_extra = true },
	{ "memory-used", "MEMORY USED", "state/memory/usage", CELL_BYTES, .is_extra = true },
	{ "disk-used", "DISK USED", "state/disk/root/usage", CELL_BYTES, .is_extra = true },
	{ "cpu-used", "CPU USED", .is_extra = true, .make = cpu_seconds },
	{},
};

/* KEY=VALUE words are the server's to judge. */
static char *server_filter(struct context *context)
{
	struct text filter = {};
	const char *word;
	for (unsigned i = 0; (word = context_argument(context, i)); i++) {
		size_t length = strcspn(word, "=");
		if (word[length])
			text_printf(&filter, "%s%.*s eq %s", filter.length ? " and " : "",
				(int)length, word, word + length + 1);
	}
	return text_take(&filter);
}

/* Words without '=' are beginnings of names; one of them is enough. */
static bool is_wanted(struct context *context, const char *name)
{
	bool is_any = true;
	const char *word;
	for (unsigned i = 0; (word = context_argument(context, i)); i++) {
		if (strchr(word, '='))
			continue;
		if (name && text_starts(name, word))
			return true;
		is_any = false;
	}
	return is_any;
}

int list_run(struct context *context, struct error *e)
{
	cleanup(free) char *filter = server_filter(context);
	char *path = path_query(alloc_text("/1.0/instances?recursion=2"), "filter", filter);
	if (options_flag(&context->options, "all-projects"))
		path = path_query(path, "all-projects", "true");
	cleanup(free) char *owned = path;
	cleanup(json_decref) json_t *instances = NULL;
	int r = context_get(context, path, &instances, NULL, e);
	if (r < 0)
		return r;
	for (size_t i = json_array_size(instances); i > 0; i--)
		if (!is_wanted(context, object_text(json_array_get(instances, i - 1), "name")))
			json_array_remove(instances, i - 1);
	return cells_print(context, columns, instances, e);
}

/* "Missed calls  mremap (3), times (1)": what a unikernel's program asked for and did not get. */
static void add_missed(struct text *text, json_t *calls)
{
	const char *name;
	json_t *count;
	bool has_any = false;
	json_object_foreach(calls, name, count)
	{
		text_add(text, has_any ? ", " : "Missed calls  ");
		has_any = true;
		format_clean(text, name, 0);
		text_printf(text, " (%" JSON_INTEGER_FORMAT ")", json_integer_value(count));
	}
	if (has_any)
		text_add_char(text, '\n');
}

/* "Engine  process (a call to the host takes ...)": what a unikernel was started on last. */
static void add_engine(struct text *text, const json_t *instance)
{
	const char *engine = object_text(instance, "expanded_config/volatile.engine");
	const char *why = object_text(instance, "expanded_config/volatile.engine.why");
	if (!engine || !why)
		return;
	text_add(text, "Engine        ");
	format_clean(text, engine, 0);
	text_add(text, " (");
	format_clean(text, why, 0);
	text_add(text, ")\n");
}

/* "Ended         with status 139 (128 and SIGSEGV)", "Ended         by signal 9 (SIGKILL)": of what does not run. */
static void add_end(struct text *text, const json_t *instance)
{
	const char *how = object_text(instance, "config/volatile.last_state.exit");
	const char *name = NULL;
	if (json_is_true(object_at(instance, "stateful")))
		text_add(text, "State         kept: its next start goes on from there\n");
	if (!how || !text_equal(object_text(instance, "status"), "Stopped"))
		return;
	bool is_signal = text_starts(how, "signal ");
	uint64_t number = 0, above = is_signal ? 0 : 128;
	if (text_to_u64(how + strcspn(how, "0123456789"), &number) == 0 && number > above &&
		number < above + NSIG)
		name = sigabbrev_np((int)(number - above));
	text_add(text, is_signal ? "Ended         by " : "Ended         with ");
	format_clean(text, how, 0);
	if (name)
		text_printf(text, " (%sSIG%s)", is_signal ? "" : "128 and ", name);
	text_add_char(text, '\n');
}

/* The answers to the first questions, in a few lines. */
static void add_summary(struct text *text, const json_t *instance)
{
	char buffer[TEXT_SIZE_MAX];
	static const struct {
		const char *title, *path;
	} lines[] = {
		{ "Name", "name" },
		{ "Status", "status" },
		{ "Type", "type" },
		{ "Architecture", "architecture" },
		{ "Description", "description" },
		{ "Project", "project" },
		{ "CPUs", "expanded_config/limits.cpu" },
		{ "Memory", "expanded_config/limits.memory" },
		{ "Storage", "expanded_devices/root/size" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		const char *value = object_text(instance, lines[i].path);
		if (!value || !*value)
			continue;
		text_printf(text, "%-14s", lines[i].title);
		format_clean(text, value, 0);
		text_add_char(text, '\n');
	}
	add_end(text, instance);
	add_engine(text, instance);
	text_add(text, "Created       ");
	format_time(text, object_text(instance, "created_at"));
	text_add(text, "\nLast used     ");
	format_time(text, object_text(instance, "last_used_at"));
	text_add_char(text, '\n');
	if (object_number(instance, "state/pid") > 0)
		text_printf(text, "PID           %" JSON_INTEGER_FORMAT "\n",
			object_number(instance, "state/pid"));
	if (object_number(instance, "state/processes") > 0) {
		text_printf(text, "Processes     %" JSON_INTEGER_FORMAT "\n",
			object_number(instance, "state/processes"));
		text_printf(text, "CPU used      %.2fs\n",
			(double)object_number(instance, "state/cpu/usage") / (double)NS_PER_SEC);
		text_printf(text, "Memory used   %s\n",
			text_format_bytes(
				(uint64_t)object_number(instance, "state/memory/usage"), buffer));
	}
	add_missed(text, object_at(instance, "state/missed_calls"));
	const char *name;
	json_t *disk;
	json_object_foreach(object_at(instance, "state/disk"), name, disk)
	{
		text_printf(text, "Disk %-9s", name);
		text_printf(text, "%s used\n",
			text_format_bytes((uint64_t)object_number(disk, "usage"), buffer));
	}
}

static void add_links(struct text *text, const json_t *instance)
{
	char in[TEXT_SIZE_MAX], out[TEXT_SIZE_MAX];
	const char *name;
	json_t *link;
	json_object_foreach(object_at(instance, "state/network"), name, link)
	{
		const char *address = object_text(link, "hwaddr"),
			   *state = object_text(link, "state");
		text_printf(text, "\nNetwork %s (%s)\n", name, state ? state : "?");
		if (address && *address)
			text_printf(text, "  MAC         %s\n", address);
		text_printf(text, "  Received    %s\n  Sent        %s\n",
			text_format_bytes(
				(uint64_t)object_number(link, "counters/bytes_received"), in),
			text_format_bytes(
				(uint64_t)object_number(link, "counters/bytes_sent"), out));
		size_t i;
		json_t *each;
		json_array_foreach(json_object_get(link, "addresses"), i, each)
			text_printf(text, "  %-12s%s/%s (%s)\n", object_text(each, "family"),
				object_text(each, "address"), object_text(each, "netmask"),
				object_text(each, "scope"));
	}
}

static void add_snapshots(struct text *text, const json_t *instance)
{
	size_t i;
	json_t *snapshot;
	json_array_foreach(json_object_get(instance, "snapshots"), i, snapshot)
	{
		if (i == 0)
			text_add(text, "\nSnapshots\n");
		const char *name = object_text(snapshot, "name");
		const char *slash = name ? strrchr(name, '/') : NULL;
		text_printf(text, "  %-24s", slash ? slash + 1 : name ? name : "");
		format_time(text, object_text(snapshot, "created_at"));
		text_add_char(text, '\n');
	}
}

static int print_log(struct context *context, const char *name, struct error *e)
{
	cleanup(free) char *path = path_format("/1.0/instances/%s/logs/runner.log", name);
	cleanup(answer_done) struct answer answer = {};
	int r = context_send(
		context, &(struct client_request){ .method = "GET", .target = path }, &answer, e);
	return r < 0 ? r : output_write(&answer.response.body, e);
}

int info_run(struct context *context, struct error *e)
{
	const char *name = context_argument(context, 0);
	cleanup(json_decref) json_t *object = NULL;
	if (!name) {
		int r = context_get(context, "/1.0", &object, NULL, e);
		return r < 0 ? r : object_print(context, object, e);
	}
	if (options_flag(&context->options, "log"))
		return print_log(context, name, e);
	cleanup(free) char *path = path_format("/1.0/instances/%s?recursion=1", name);
	int r = context_get(context, path, &object, NULL, e);
	if (r < 0)
		return r;
	if (options_text(&context->options, "format"))
		return object_print(context, object, e);
	cleanup(text_done) struct text text = {};
	add_summary(&text, object);
	add_links(&text, object);
	add_snapshots(&text, object);
	return output_write(&text, e);
}
