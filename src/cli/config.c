/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c - the config and the devices of an instance, and the config of the server.
 */
#include <errno.h>
#include <string.h>

#include "cli/cells.h"
#include "cli/context.h"
#include "cli/object.h"
#include "cli/verbs.h"

/* The instance of the first argument; with a "=" or --server-config it is the daemon's own. */
static const struct option server_options[] = {
	{ "daemon", '\0', NULL, "the config of the daemon itself; no INSTANCE is given then" },
	{},
};
static const struct option show_options[] = {
	{ "daemon", '\0', NULL, "the config of the daemon itself; no INSTANCE is given then" },
	{ "expanded", '\0', NULL, "with what its profiles give it" },
	OPTION_FORMAT,
	{},
};
static const struct option get_options[] = {
	{ "daemon", '\0', NULL, "the config of the daemon itself; no INSTANCE is given then" },
	{ "expanded", '\0', NULL, "with what its profiles give it" },
	{},
};

/* The path of the object, and in *first the next argument; NULL if the arguments are too few. */
static char *target(struct context *context, unsigned needed, unsigned *first, struct error *e)
{
	bool is_daemon = options_flag(&context->options, "daemon");
	*first = is_daemon ? 0 : 1;
	if (context->options.argument_count < *first + needed) {
		error_set(e, -EINVAL, "berth %s needs: %s", context->options.path,
			context->options.verb->arguments);
		return NULL;
	}
	return is_daemon ? alloc_text("/1.0")
			 : path_format("/1.0/instances/%s", context_argument(context, 0));
}

static int get(struct context *context, struct error *e)
{
	unsigned first;
	cleanup(free) char *path = target(context, 1, &first, e);
	if (!path)
		return -EINVAL;
	if (!options_flag(&context->options, "expanded"))
		return object_get(context, path, context_argument(context, first), e);
	cleanup(json_decref) json_t *object = NULL;
	int r = context_get(context, path, &object, NULL, e);
	if (r < 0)
		return r;
	const char *value = json_string_value(json_object_get(
		json_object_get(object, "expanded_config"), context_argument(context, first)));
	cleanup(text_done) struct text text = {};
	text_printf(&text, "%s\n", value ? value : "");
	return output_write(&text, e);
}

static int set(struct context *context, struct error *e)
{
	unsigned first;
	cleanup(free) char *path = target(context, 1, &first, e);
	return path ? object_set(context, path, first, e) : -EINVAL;
}

static int unset(struct context *context, struct error *e)
{
	unsigned first;
	cleanup(free) char *path = target(context, 1, &first, e);
	return path ? object_unset(context, path, first, e) : -EINVAL;
}

static int show(struct context *context, struct error *e)
{
	unsigned first;
	cleanup(free) char *path = target(context, 0, &first, e);
	if (!path)
		return -EINVAL;
	cleanup(json_decref) json_t *object = NULL;
	int r = context_get(context, path, &object, NULL, e);
	if (r < 0)
		return r;
	bool is_expanded = options_flag(&context->options, "expanded");
	static const char *const both[][2] = { { "config", "expanded_config" },
		{ "devices", "expanded_devices" } };
	for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
		json_t *expanded = json_object_get(object, both[i][1]);
		if (is_expanded && expanded)
			json_object_set(object, both[i][0], expanded);
		json_object_del(object, both[i][1]);
	}
	return object_print(context, object, e);
}

static int edit(struct context *context, struct error *e)
{
	unsigned first;
	cleanup(free) char *path = target(context, 0, &first, e);
	return path ? object_edit(context, path, e) : -EINVAL;
}

const struct verb config_verbs[] = {
	{ "get", "[INSTANCE] KEY", "print a config value", .run = get, .options = get_options,
		.min = 1, .max = 2, .words = WORDS_INSTANCE },
	{ "set", "[INSTANCE] KEY=VALUE...", "set config values", .run = set,
		.options = server_options, .min = 1, .max = ARGUMENTS_ANY,
		.words = WORDS_INSTANCE },
	{ "unset", "[INSTANCE] KEY...", "remove config values", .run = unset,
		.options = server_options, .min = 1, .max = ARGUMENTS_ANY,
		.words = WORDS_INSTANCE },
	{ "show", "[INSTANCE]", "print the config and devices", .run = show,
		.options = show_options, .max = 1, .words = WORDS_INSTANCE },
	{ "edit", "[INSTANCE]", "edit the config and devices", .run = edit,
		.options = server_options, .max = 1, .words = WORDS_INSTANCE },
	{},
};

static const struct option device_options[] = {
	{ "profile", '\0', NULL, "the first argument is a profile, not an instance" },
	{},
};

static char *device_target(struct context *context)
{
	return path_format(options_flag(&context->options, "profile") ? "/1.0/profiles/%s"
								      : "/1.0/instances/%s",
		context_argument(context, 0));
}

static json_t *own_devices(json_t *object)
{
	json_t *devices = json_object_get(object, "devices");
	if (json_is_object(devices))
		return devices;
	json_object_set_new(object, "devices", json_object());
	return json_object_get(object, "devices");
}

static int add_device(json_t *object, void *data, struct error *e)
{
	struct context *context = data;
	const char *name = context_argument(context, 1);
	json_t *devices = own_devices(object);
	if (json_object_get(devices, name))
		return error_set(
			e, -EEXIST, "there is a device %s already; 'set' changes it", name);
	json_t *device = json_pack("{s:s}", "type", context_argument(context, 2));
	json_object_set_new(devices, name, device);
	return pairs_of_arguments(context, 3, device, e);
}

static int remove_device(json_t *object, void *data, struct error *e)
{
	struct context *context = data;
	const char *name;
	for (unsigned i = 1; (name = context_argument(context, i)); i++)
		if (json_object_del(own_devices(object), name) < 0)
			return error_set(e, -ENOENT, "it has no device %s of its own", name);
	return 0;
}

/* A device of a profile becomes the instance's own, changed. */
static int set_device(json_t *object, void *data, struct error *e)
{
	struct context *context = data;
	const char *name = context_argument(context, 1);
	json_t *devices = own_devices(object);
	json_t *device = json_object_get(devices, name);
	if (!device) {
		json_t *inherited =
			json_object_get(json_object_get(object, "expanded_devices"), name);
		if (!inherited)
			return error_set(
				e, -ENOENT, "it has no device %s; 'device add' makes one", name);
		device = json_copy(inherited);
		json_object_set_new(devices, name, device);
	}
	return pairs_of_arguments(context, 2, device, e);
}

static int device_add(struct context *context, struct error *e)
{
	cleanup(free) char *path = device_target(context);
	return object_change(context, path, "add device", add_device, context, e);
}

static int device_remove(struct context *context, struct error *e)
{
	cleanup(free) char *path = device_target(context);
	return object_change(context, path, "remove device", remove_device, context, e);
}

static int device_set(struct context *context, struct error *e)
{
	cleanup(free) char *path = device_target(context);
	return object_change(context, path, "set device", set_device, context, e);
}

static int device_list(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "name", "NAME", "name" },
		{ "type", "TYPE", "type" },
		{ "config", "CONFIG", "config" },
		{},
	};
	cleanup(free) char *path = device_target(context);
	cleanup(json_decref) json_t *object = NULL;
	int r = context_get(context, path, &object, NULL, e);
	if (r < 0)
		return r;
	json_t *devices = json_object_get(object, "expanded_devices");
	if (!devices)
		devices = json_object_get(object, "devices");
	cleanup(json_decref) json_t *rows = json_array();
	const char *name, *key;
	json_t *device, *value;
	json_object_foreach(devices, name, device)
	{
		cleanup(text_done) struct text config = {};
		json_object_foreach(device, key, value) if (!text_equal(key, "type"))
			text_printf(&config, "%s%s=%s", config.length ? " " : "", key,
				json_string_value(value));
		json_array_append_new(rows,
			json_pack("{s:s, s:s?, s:s}", "name", name, "type",
				object_text(device, "type"), "config", text_str(&config)));
	}
	return cells_print(context, columns, rows, e);
}

static const struct option device_list_options[] = {
	OPTION_FORMAT,
	{ "profile", '\0', NULL, "the first argument is a profile, not an instance" },
	{},
};

const struct verb device_verbs[] = {
	{ "add", "INSTANCE DEVICE TYPE [KEY=VALUE...]", "add a device", .run = device_add,
		.options = device_options, .min = 3, .max = ARGUMENTS_ANY,
		.words = WORDS_INSTANCE },
	{ "remove", "INSTANCE DEVICE...", "remove devices", .run = device_remove,
		.options = device_options, .min = 2, .max = ARGUMENTS_ANY,
		.words = WORDS_INSTANCE },
	{ "set", "INSTANCE DEVICE KEY=VALUE...", "change a device", .run = device_set,
		.options = device_options, .min = 3, .max = ARGUMENTS_ANY,
		.words = WORDS_INSTANCE },
	{ "list", "INSTANCE", "list the devices", .run = device_list,
		.options = device_list_options, .min = 1, .max = 1, .words = WORDS_INSTANCE },
	{},
};
