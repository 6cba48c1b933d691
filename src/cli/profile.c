/* SPDX-License-Identifier: Apache-2.0 */
/*
 * profile.c - profiles and projects.
 */
#include "cli/cells.h"
#include "cli/context.h"
#include "cli/noun.h"
#include "cli/object.h"
#include "cli/verbs.h"

static const struct option create_options[] = {
	{ "config", 'c', "KEY=VALUE", "set a config key; may be given again" },
	{ "description", '\0', "TEXT", "say what it is for" },
	{},
};
static const struct option table_options[] = { OPTION_FORMAT, OPTION_COLUMNS, {} };

static int create(struct context *context, const char *path, struct error *e)
{
	json_t *config = json_object();
	const char *description = options_text(&context->options, "description");
	json_t *body = json_pack("{s:s, s:s, s:o}", "name", context_argument(context, 0),
		"description", description ? description : "", "config", config);
	int r = pairs_of_option(context, "config", config, e);
	if (r < 0) {
		json_decref(body);
		return r;
	}
	return context_change(context, "POST", path, body, NULL, "create", NULL, e);
}

static int profile_create(struct context *context, struct error *e)
{
	return create(context, "/1.0/profiles", e);
}

static int project_create(struct context *context, struct error *e)
{
	return create(context, "/1.0/projects", e);
}

static int profile_list(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "name", "NAME", "name" },
		{ "description", "DESCRIPTION", "description" },
		{ "used", "USED BY", "used_by", CELL_COUNT },
		{},
	};
	return cells_list(context, columns, "/1.0/profiles?recursion=1", e);
}

static int project_list(struct context *context, struct error *e)
{
	static const struct column columns[] = {
		{ "name", "NAME", "name" },
		{ "description", "DESCRIPTION", "description" },
		{ "used", "USED BY", "used_by", CELL_COUNT },
		{},
	};
	return cells_list(context, columns, "/1.0/projects?recursion=1", e);
}

static int project_info(struct context *context, struct error *e)
{
	cleanup(free) char *path =
		path_format("/1.0/projects/%s/state", context_argument(context, 0));
	cleanup(json_decref) json_t *state = NULL;
	int r = context_get(context, path, &state, NULL, e);
	if (r < 0)
		return r;
	static const struct column columns[] = {
		{ "resource", "RESOURCE", "resource" },
		{ "usage", "USAGE", "Usage" },
		{ "limit", "LIMIT", "limit" },
		{},
	};
	cleanup(json_decref) json_t *rows = json_array();
	const char *name;
	json_t *resource;
	json_object_foreach(json_object_get(state, "resources"), name, resource)
	{
		json_object_set_new(resource, "resource", json_string(name));
		json_object_set_new(resource, "limit",
			object_number(resource, "Limit") < 0
				? json_string("-")
				: json_incref(json_object_get(resource, "Limit")));
		json_array_append(rows, resource);
	}
	return cells_print(context, columns, rows, e);
}

const struct verb profile_verbs[] = {
	{ "create", "PROFILE", "make a profile", .run = profile_create, .options = create_options,
		.min = 1, .max = 1 },
	{ "list", "", "list the profiles", .run = profile_list, .options = table_options },
	NOUN_VERBS("a profile", "PROFILE", 1, WORDS_PROFILE),
	{ "rename", "PROFILE NAME", "give a profile another name", .run = noun_rename, .min = 2,
		.max = 2, .words = WORDS_PROFILE },
	{},
};

const struct verb project_verbs[] = {
	{ "create", "PROJECT", "make a project", .run = project_create, .options = create_options,
		.min = 1, .max = 1 },
	{ "list", "", "list the projects", .run = project_list, .options = table_options },
	{ "info", "PROJECT", "show what a project uses and may use", .run = project_info,
		.options = table_options, .min = 1, .max = 1, .words = WORDS_PROJECT },
	NOUN_VERBS("a project", "PROJECT", 1, WORDS_PROJECT),
	{ "rename", "PROJECT NAME", "give a project another name", .run = noun_rename, .min = 2,
		.max = 2, .words = WORDS_PROJECT },
	{},
};
