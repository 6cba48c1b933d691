/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.c - an instance as it was.
 */
#include <errno.h>
#include <string.h>

#include "cli/cells.h"
#include "cli/context.h"
#include "cli/verbs.h"

static const struct option create_options[] = {
	{ "stateful", '\0', NULL, "with its memory" },
	{ "expires", '\0', "TIME", "delete it then, as 2027-01-31T12:00:00Z" },
	{},
};

static int create(struct context *context, struct error *e)
{
	const char *name = context_argument(context, 1);
	const char *expires = options_text(&context->options, "expires");
	cleanup(free) char *path =
		path_format("/1.0/instances/%s/snapshots", context_argument(context, 0));
	json_t *body = json_pack("{s:s, s:b, s:s?}", "name", name ? name : "", "stateful",
		options_flag(&context->options, "stateful"), "expires_at", expires);
	return context_change(context, "POST", path, body, NULL, "snapshot", NULL, e);
}

static char *short_name(const json_t *snapshot)
{
	const char *name = object_text(snapshot, "name");
	const char *slash = name ? strrchr(name, '/') : NULL;
	return alloc_text(slash ? slash + 1 : name ? name : "");
}

static const struct column columns[] = {
	{ "name", "NAME", .make = short_name },
	{ "created", "CREATED", "created_at", CELL_TIME },
	{ "expires", "EXPIRES", "expires_at", CELL_TIME },
	{ "stateful", "STATEFUL", "stateful", CELL_YES },
	{ "size", "SIZE", "size", CELL_BYTES },
	{},
};
static const struct option list_with_columns[] = { OPTION_FORMAT, OPTION_COLUMNS, {} };

static int list(struct context *context, struct error *e)
{
	cleanup(free) char *path = path_format(
		"/1.0/instances/%s/snapshots?recursion=1", context_argument(context, 0));
	return cells_list(context, columns, path, e);
}

static int delete (struct context *context, struct error *e)
{
	const char *name;
	for (unsigned i = 1; (name = context_argument(context, i)); i++) {
		cleanup(free) char *path = path_format(
			"/1.0/instances/%s/snapshots/%s", context_argument(context, 0), name);
		int r = context_change(context, "DELETE", path, NULL, NULL, "delete", NULL, e);
		if (r < 0)
			return error_prefix(e, r, "%s", name);
	}
	return 0;
}

static int rename_snapshot(struct context *context, struct error *e)
{
	cleanup(free) char *path = path_format("/1.0/instances/%s/snapshots/%s",
		context_argument(context, 0), context_argument(context, 1));
	return context_change(context, "POST", path,
		json_pack("{s:s, s:b}", "name", context_argument(context, 2), "migration", 0), NULL,
		"rename", NULL, e);
}

const struct verb snapshot_verbs[] = {
	{ "create", "INSTANCE [SNAPSHOT]", "take a snapshot of an instance", .run = create,
		.options = create_options, .min = 1, .max = 2, .words = WORDS_INSTANCE,
		.is_usual = true },
	{ "list", "INSTANCE", "list the snapshots of an instance", .run = list,
		.options = list_with_columns, .min = 1, .max = 1, .words = WORDS_INSTANCE },
	{ "delete", "INSTANCE SNAPSHOT...", "delete snapshots", .run = delete, .min = 2,
		.max = ARGUMENTS_ANY, .words = WORDS_INSTANCE },
	{ "rename", "INSTANCE SNAPSHOT NAME", "give a snapshot another name",
		.run = rename_snapshot, .min = 3, .max = 3, .words = WORDS_INSTANCE },
	{},
};
