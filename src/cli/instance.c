/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance.c - the verbs that change an instance that is there.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cells.h"
#include "cli/context.h"
#include "cli/verbs.h"

const struct option start_options[] = {
	{ "all", '\0', NULL, "all instances of the project" },
	{ "console", '\0', NULL, "attach to its console" },
	{},
};
const struct option stop_options[] = {
	{ "force", 'f', NULL, "kill it at once" },
	{ "timeout", 't', "SECONDS", "wait this long for it to stop by itself, then fail" },
	{ "all", '\0', NULL, "all instances of the project" },
	{ "stateful", '\0', NULL, "keep a machine's state: its next start goes on from it" },
	{},
};
const struct option restart_options[] = {
	{ "force", 'f', NULL, "kill it at once" },
	{ "timeout", 't', "SECONDS", "wait this long for it to stop by itself, then fail" },
	{ "all", '\0', NULL, "all instances of the project" },
	{},
};
const struct option restore_options[] = {
	{ "stateful", '\0', NULL, "with the state of a machine that the snapshot has" },
	{},
};
const struct option rebuild_options[] = {
	{ "empty", '\0', NULL, "without an image: an empty root" },
	{ "force", 'f', NULL, "if it runs, kill it first and start it afterwards" },
	{},
};
const struct option delete_options[] = {
	{ "force", 'f', NULL, "stop it first if it runs" },
	{},
};
const struct option copy_options[] = {
	{ "instance-only", '\0', NULL, "without its snapshots" },
	{ "ephemeral", 'e', NULL, "delete the copy when it stops" },
	{ "stateless", '\0', NULL, "its first start begins, although the original has a state" },
	{},
};

static bool has_option(const struct context *context, const char *name)
{
	for (const struct option *o = context->options.verb->options; o && o->name; o++)
		if (text_equal(o->name, name))
			return true;
	return false;
}

static int change_state(struct context *context, const char *name, const char *action,
	const char *what, struct error *e)
{
	const struct options *options = &context->options;
	const char *timeout =
		has_option(context, "timeout") ? options_text(options, "timeout") : NULL;
	bool is_forced = has_option(context, "force") && options_flag(options, "force");
	uint64_t seconds = 0;
	if (timeout && (text_to_u64(timeout, &seconds) < 0 || seconds > 86400))
		return error_set(e, -EINVAL, "--timeout: '%s' is no number of seconds", timeout);
	cleanup(free) char *path = path_format("/1.0/instances/%s/state", name);
	cleanup(free) char *line = alloc_printf("%s %s", what, name);
	json_t *body = json_pack("{s:s, s:I, s:b}", "action", action, "timeout",
		(json_int_t)(timeout ? (json_int_t)seconds : -1), "force", is_forced);
	if (has_option(context, "stateful") && options_flag(options, "stateful"))
		json_object_set_new(body, "stateful", json_true());
	int r = context_change(context, "PUT", path, body, NULL, line, NULL, e);
	/* An interrupt has said of what. */
	return r < 0 && r != -EINTR ? error_prefix(e, r, "%s", name) : r;
}

/* The names of all instances that are in one of the states. */
static int names_in_state(
	struct context *context, const char *states, struct text *names, struct error *e)
{
	cleanup(json_decref) json_t *all = NULL;
	int r = context_get(context, "/1.0/instances?recursion=1", &all, NULL, e);
	size_t i;
	json_t *each;
	if (r < 0)
		return r;
	json_array_foreach(all, i,
		each) if (strstr(states,
				  object_text(each, "status") ? object_text(each, "status") : "?"))
		text_printf(names, "%s\n", object_text(each, "name"));
	return 0;
}

/* Each is tried; the first error is told last, the others as they come. */
static int change_states(struct context *context, const char *action, const char *what,
	const char *states, struct error *e)
{
	cleanup(text_done) struct text names = {};
	bool is_all = has_option(context, "all") && options_flag(&context->options, "all");
	if (is_all == (context->options.argument_count > 0))
		return error_set(e, -EINVAL, "berth %s needs: %s", context->options.path,
			context->options.verb->arguments);
	if (is_all) {
		int r = names_in_state(context, states, &names, e);
		if (r < 0)
			return r;
	}
	for (unsigned i = 0; i < context->options.argument_count; i++)
		text_printf(&names, "%s\n", context->options.arguments[i]);
	int result = 0;
	char *rest = names.data;
	for (char *name; rest && *rest && (name = strsep(&rest, "\n"));) {
		struct error each = {};
		int r = change_state(context, name, action, what, &each);
		if (r < 0 && result == 0) {
			result = error_set(e, r, "%s", each.text);
		} else if (r < 0) {
			fprintf(stderr, "berth: %s\n", each.text);
		}
		if (r == -EINTR)
			break;
	}
	return result;
}

int instance_start(struct context *context, struct error *e)
{
	/* One that was paused is only woken. */
	if (context->options.argument_count == 1) {
		cleanup(json_decref) json_t *instance = NULL;
		cleanup(free) char *path =
			path_format("/1.0/instances/%s", context_argument(context, 0));
		int r = context_get(context, path, &instance, NULL, e);
		if (r < 0)
			return r;
		if (text_equal(object_text(instance, "status"), "Frozen"))
			return change_state(
				context, context_argument(context, 0), "unfreeze", "resume", e);
	}
	int r = change_states(context, "start", "start", "Stopped", e);
	if (r == 0 && options_flag(&context->options, "console")) {
		if (context->options.argument_count != 1)
			return error_set(e, -EINVAL, "--console: give one instance");
		return console_run(context, e);
	}
	return r;
}

int instance_stop(struct context *context, struct error *e)
{
	return change_states(context, "stop", "stop", "Running Frozen", e);
}

int instance_restart(struct context *context, struct error *e)
{
	return change_states(context, "restart", "restart", "Running", e);
}

int instance_pause(struct context *context, struct error *e)
{
	return change_states(context, "freeze", "pause", "Running", e);
}

int instance_resume(struct context *context, struct error *e)
{
	return change_states(context, "unfreeze", "resume", "Frozen", e);
}

/* "c1" or "c1/snap0". */
static char *path_of(const char *name)
{
	const char *slash = strchr(name, '/');
	if (!slash)
		return path_format("/1.0/instances/%s", name);
	cleanup(free) char *instance = alloc_text_n(name, (size_t)(slash - name));
	return path_format("/1.0/instances/%s/snapshots/%s", instance, slash + 1);
}

static int delete_one(struct context *context, const char *name, bool is_forced, struct error *e)
{
	cleanup(free) char *path = path_of(name);
	cleanup(free) char *what = alloc_printf("delete %s", name);
	cleanup(json_decref) json_t *object = NULL;
	int r = context_get(context, path, &object, NULL, e);
	if (r < 0)
		return r;
	const char *status = object_text(object, "status");
	bool is_running = !strchr(name, '/') && status && !text_equal(status, "Stopped") &&
		!text_equal(status, "Error");
	if (is_running && !is_forced)
		return error_set(e, -EBUSY, "it is running; stop it first, or use --force");
	if (is_running) {
		cleanup(free) char *state = alloc_printf("%s/state", path);
		r = context_change(context, "PUT", state,
			json_pack("{s:s, s:i, s:b}", "action", "stop", "timeout", -1, "force", 1),
			NULL, what, NULL, e);
		if (r < 0)
			return r;
		if (json_is_true(json_object_get(object, "ephemeral")))
			return 0;
	}
	return context_change(context, "DELETE", path, NULL, NULL, what, NULL, e);
}

int instance_delete(struct context *context, struct error *e)
{
	bool is_forced = options_flag(&context->options, "force");
	int result = 0;
	const char *name;
	for (unsigned i = 0; (name = context_argument(context, i)); i++) {
		struct error each = {};
		int r = delete_one(context, name, is_forced, &each);
		if (r < 0 && result == 0)
			result = error_set(e, r, "%s: %s", name, each.text);
		else if (r < 0)
			fprintf(stderr, "berth: %s: %s\n", name, each.text);
		if (r == -EINTR)
			break;
	}
	return result;
}

int instance_rename(struct context *context, struct error *e)
{
	const char *from = context_argument(context, 0), *to = context_argument(context, 1);
	const char *slash = strchr(from, '/');
	/* A snapshot stays with its instance: "c1/a" is renamed to "b" or "c1/b". */
	if (slash && strncmp(from, to, (size_t)(slash - from) + 1) == 0)
		to += slash - from + 1;
	if (strchr(to, '/'))
		return error_set(e, -EINVAL, "'%s' is no name", to);
	cleanup(free) char *path = path_of(from);
	return context_change(context, "POST", path,
		json_pack("{s:s, s:b}", "name", to, "migration", 0), NULL, "rename", NULL, e);
}

int instance_copy(struct context *context, struct error *e)
{
	const char *from = context_argument(context, 0), *to = context_argument(context, 1);
	cleanup(free) char *path = path_of(from);
	cleanup(json_decref) json_t *object = NULL;
	int r = context_get(context, path, &object, NULL, e);
	if (r < 0)
		return r;
	/* What belongs to the original alone: its ids, addresses and identity. */
	json_t *config = json_object_get(object, "config");
	void *next;
	const char *key;
	json_t *value;
	json_object_foreach_safe(config, next, key, value) if (text_starts(key, "volatile.") &&
		!text_equal(key, "volatile.base_image")) json_object_del(config, key);
	json_t *none = json_null();
	json_t *body = json_pack("{s:s, s:O?, s:O?, s:O?, s:b, s:{s:s, s:s, s:b}}", "name",
		to ? to : "", "config", config ? config : none, "devices",
		json_object_get(object, "devices"), "profiles", json_object_get(object, "profiles"),
		"ephemeral", options_flag(&context->options, "ephemeral"), "source", "type", "copy",
		"source", from, "instance_only", options_flag(&context->options, "instance-only"));
	const char *type = object_text(object, "type");
	if (type)
		json_object_set_new(body, "type", json_string(type));
	if ((!type || text_equal(type, "unikernel")) &&
		json_is_true(json_object_get(object, "stateful")) &&
		!options_flag(&context->options, "stateless"))
		json_object_set_new(body, "stateful", json_true());
	cleanup(free) char *what = alloc_printf("copy %s", from);
	return context_change(context, "POST", "/1.0/instances", body, NULL, what, NULL, e);
}

int instance_restore(struct context *context, struct error *e)
{
	cleanup(free) char *path = path_format("/1.0/instances/%s", context_argument(context, 0));
	cleanup(free) char *what = alloc_printf("restore %s", context_argument(context, 0));
	return context_change(context, "PUT", path,
		json_pack("{s:s, s:b}", "restore", context_argument(context, 1), "stateful",
			options_flag(&context->options, "stateful")),
		NULL, what, NULL, e);
}

static int is_running(struct context *context, const char *name, bool *ret, struct error *e)
{
	cleanup(free) char *path = path_format("/1.0/instances/%s", name);
	cleanup(json_decref) json_t *instance = NULL;
	int r = context_get(context, path, &instance, NULL, e);
	if (r < 0)
		return r;
	*ret = !text_equal(object_text(instance, "status"), "Stopped");
	return 0;
}

int instance_rebuild(struct context *context, struct error *e)
{
	const char *name = context_argument(context, 0), *image = context_argument(context, 1);
	bool is_empty = options_flag(&context->options, "empty"), was_running = false;
	if (is_empty == (image != NULL))
		return error_set(
			e, -EINVAL, "berth rebuild needs an image, or --empty and no image");
	int r = 0;
	if (options_flag(&context->options, "force"))
		r = is_running(context, name, &was_running, e);
	if (r == 0 && was_running)
		r = change_state(context, name, "stop", "stop", e);
	if (r < 0)
		return r;
	cleanup(free) char *path = path_format("/1.0/instances/%s/rebuild", name);
	cleanup(free) char *line = alloc_printf("rebuild %s", name);
	json_t *body = is_empty
		? json_pack("{s:{s:s}}", "source", "type", "none")
		: json_pack("{s:{s:s, s:s}}", "source", "type", "image", "alias", image);
	r = context_change(context, "POST", path, body, NULL, line, NULL, e);
	if (r == 0 && was_running && !is_empty)
		r = change_state(context, name, "start", "start", e);
	return r;
}
