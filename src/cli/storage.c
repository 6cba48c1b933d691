/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage.c - pools and the volumes in them.
 */
#include <errno.h>
#include <string.h>

#include "cli/cells.h"
#include "cli/context.h"
#include "cli/noun.h"
#include "cli/object.h"
#include "cli/verbs.h"

static const struct option describe_options[] = {
	{ "description", '\0', "TEXT", "say what it is for" },
	{},
};
static const struct option volume_options[] = {
	{ "description", '\0', "TEXT", "say what it is for" },
	{ "type", 't', "TYPE", "filesystem (as it is without this) or block" },
	{},
};
static const struct option table_options[] = { OPTION_FORMAT, OPTION_COLUMNS, {} };

static const char *description(struct context *context)
{
	const char *text = options_text(&context->options, "description");
	return text ? text : "";
}

static int pool_create(struct context *context, struct error *e)
{
	cleanup(json_decref) json_t *config = json_object();
	int r = pairs_of_arguments(context, 2, config, e);
	if (r < 0)
		return r;
	json_t *body = json_pack("{s:s, s:s, s:s, s:O}", "name", context_argument(context, 0),
		"driver", context_argument(context, 1), "description", description(context),
		"config", config);
	return context_change(context, "POST", "/1.0/storage-pools", body, NULL, "create", NULL, e);
}

static int pool_list(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "name", "NAME", "name" },
		{ "driver", "DRIVER", "driver" },
		{ "source", "SOURCE", "config/source" },
		{ "used", "USED BY", "used_by", CELL_COUNT },
		{ "state", "STATE", "status" },
		{ "description", "DESCRIPTION", "description", .is_extra = true },
		{},
	};
	return cells_list(context, columns, "/1.0/storage-pools?recursion=1", e);
}

static int pool_info(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "resource", "RESOURCE", "resource" },
		{ "used", "USED", "used" },
		{ "total", "TOTAL", "total" },
		{},
	};
	cleanup(free) char *path =
		path_format("/1.0/storage-pools/%s/resources", context_argument(context, 0));
	cleanup(json_decref) json_t *resources = NULL;
	int r = context_get(context, path, &resources, NULL, e);
	if (r < 0)
		return r;
	char used[TEXT_SIZE_MAX], total[TEXT_SIZE_MAX];
	cleanup(json_decref) json_t *rows = json_array();
	json_array_append_new(rows,
		json_pack("{s:s, s:s, s:s}", "resource", "space", "used",
			text_format_bytes((uint64_t)object_number(resources, "space/used"), used),
			"total",
			text_format_bytes(
				(uint64_t)object_number(resources, "space/total"), total)));
	json_array_append_new(rows,
		json_pack("{s:s, s:I, s:I}", "resource", "inodes", "used",
			object_number(resources, "inodes/used"), "total",
			object_number(resources, "inodes/total")));
	return cells_print(context, columns, rows, e);
}

static int volume_create(struct context *context, struct error *e)
{
	const char *type = options_text(&context->options, "type");
	cleanup(json_decref) json_t *config = json_object();
	int r = pairs_of_arguments(context, 2, config, e);
	if (r < 0)
		return r;
	cleanup(free) char *path =
		path_format("/1.0/storage-pools/%s/volumes/custom", context_argument(context, 0));
	json_t *body = json_pack("{s:s, s:s, s:s, s:s, s:O}", "name", context_argument(context, 1),
		"type", "custom", "content_type", type ? type : "filesystem", "description",
		description(context), "config", config);
	return context_change(context, "POST", path, body, NULL, "create", NULL, e);
}

static int volume_list(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "name", "NAME", "name" },
		{ "type", "TYPE", "type" },
		{ "content", "CONTENT", "content_type" },
		{ "size", "SIZE", "config/size" },
		{ "used", "USED BY", "used_by", CELL_COUNT },
		{ "description", "DESCRIPTION", "description", .is_extra = true },
		{},
	};
	cleanup(free) char *path = path_format(
		"/1.0/storage-pools/%s/volumes?recursion=1", context_argument(context, 0));
	return cells_list(context, columns, path, e);
}

static int volume_copy(struct context *context, struct error *e)
{
	const char *pool = context_argument(context, 0), *from = context_argument(context, 1);
	cleanup(free) char *path = path_format("/1.0/storage-pools/%s/volumes/custom", pool);
	json_t *body =
		json_pack("{s:s, s:s, s:{s:s, s:s, s:s}}", "name", context_argument(context, 2),
			"type", "custom", "source", "type", "copy", "name", from, "pool", pool);
	return context_change(context, "POST", path, body, NULL, "copy", NULL, e);
}

static int volume_snapshot(struct context *context, struct error *e)
{
	const char *name = context_argument(context, 2);
	cleanup(free) char *path = path_format("/1.0/storage-pools/%s/volumes/custom/%s/snapshots",
		context_argument(context, 0), context_argument(context, 1));
	return context_change(context, "POST", path, json_pack("{s:s}", "name", name ? name : ""),
		NULL, "snapshot", NULL, e);
}

static int volume_restore(struct context *context, struct error *e)
{
	unsigned count;
	cleanup(free) char *path = noun_path(context, &count);
	return context_change(context, "PUT", path,
		json_pack("{s:s}", "restore", context_argument(context, 2)), NULL, "restore", NULL,
		e);
}

static int attach_disk(json_t *object, void *data, struct error *e)
{
	struct context *context = data;
	const char *pool = context_argument(context, 0), *volume = context_argument(context, 1),
		   *path = context_argument(context, 3);
	json_t *devices = json_object_get(object, "devices");
	if (!json_is_object(devices)) {
		devices = json_object();
		json_object_set_new(object, "devices", devices);
	}
	if (json_object_get(devices, volume))
		return error_set(e, -EEXIST, "it has a device %s already", volume);
	json_t *device =
		json_pack("{s:s, s:s, s:s}", "type", "disk", "pool", pool, "source", volume);
	if (path)
		json_object_set_new(device, "path", json_string(path));
	json_object_set_new(devices, volume, device);
	return 0;
}

static int detach_disk(json_t *object, void *data, struct error *e)
{
	struct context *context = data;
	json_t *devices = json_object_get(object, "devices");
	const char *name;
	json_t *device;
	json_object_foreach(devices, name,
		device) if (text_equal(object_text(device, "pool"), context_argument(context, 0)) &&
		text_equal(object_text(device, "source"), context_argument(context, 1)))
	{
		json_object_del(devices, name);
		return 0;
	}
	return error_set(e, -ENOENT, "the volume is not attached to it");
}

static int volume_attach(struct context *context, struct error *e)
{
	cleanup(free) char *path = path_format("/1.0/instances/%s", context_argument(context, 2));
	return object_change(context, path, "attach", attach_disk, context, e);
}

static int volume_detach(struct context *context, struct error *e)
{
	cleanup(free) char *path = path_format("/1.0/instances/%s", context_argument(context, 2));
	return object_change(context, path, "detach", detach_disk, context, e);
}

static const struct verb volume_verbs[] = {
	{ "create", "POOL VOLUME [KEY=VALUE...]", "make a volume", .run = volume_create,
		.options = volume_options, .min = 2, .max = ARGUMENTS_ANY, .words = WORDS_POOL },
	{ "list", "POOL", "list the volumes of a pool", .run = volume_list,
		.options = table_options, .min = 1, .max = 1, .words = WORDS_POOL },
	{ "copy", "POOL VOLUME NAME", "copy a volume", .run = volume_copy, .min = 3, .max = 3,
		.words = WORDS_POOL },
	{ "attach", "POOL VOLUME INSTANCE [PATH]", "give a volume to an instance",
		.run = volume_attach, .min = 3, .max = 4, .words = WORDS_POOL },
	{ "detach", "POOL VOLUME INSTANCE", "take a volume from an instance", .run = volume_detach,
		.min = 3, .max = 3, .words = WORDS_POOL },
	{ "snapshot", "POOL VOLUME [SNAPSHOT]", "take a snapshot of a volume",
		.run = volume_snapshot, .min = 2, .max = 3, .words = WORDS_POOL },
	{ "restore", "POOL VOLUME SNAPSHOT", "put a volume back to a snapshot",
		.run = volume_restore, .min = 3, .max = 3, .words = WORDS_POOL },
	NOUN_VERBS("a volume", "POOL VOLUME", 2, WORDS_POOL),
	{ "rename", "POOL VOLUME NAME", "give a volume another name", .run = noun_rename, .min = 3,
		.max = 3, .words = WORDS_POOL },
	{},
};

const struct verb storage_verbs[] = {
	{ "create", "POOL DRIVER [KEY=VALUE...]", "make a storage pool", .run = pool_create,
		.options = describe_options, .min = 2, .max = ARGUMENTS_ANY },
	{ "list", "", "list the storage pools", .run = pool_list, .options = table_options },
	{ "info", "POOL", "show how full a pool is", .run = pool_info, .options = table_options,
		.min = 1, .max = 1, .words = WORDS_POOL },
	NOUN_VERBS("a storage pool", "POOL", 1, WORDS_POOL),
	{ "volume", NULL, "Custom volumes", .verbs = volume_verbs },
	{},
};
