/* SPDX-License-Identifier: Apache-2.0 */
/*
 * noun.c - from the words of a verb to the path of an object.
 */
#include "cli/noun.h"

#include <string.h>

#include "cli/cells.h"
#include "cli/context.h"
#include "cli/object.h"

/* Longest first: "storage volume" is a "storage" too. */
static const struct {
	const char *words;
	const char *before;  /* the first argument */
	const char *between; /* it and the second; NULL: there is one */
} nouns[] = {
	{ "storage volume ", "/1.0/storage-pools/", "/volumes/custom/" },
	{ "network forward ", "/1.0/networks/", "/forwards/" },
	{ "storage ", "/1.0/storage-pools/", NULL },
	{ "network ", "/1.0/networks/", NULL },
	{ "profile ", "/1.0/profiles/", NULL },
	{ "project ", "/1.0/projects/", NULL },
};

const struct option noun_show_options[] = { OPTION_FORMAT, {} };

char *noun_path(struct context *context, unsigned *ret_count)
{
	size_t i = 0;
	while (!text_starts(context->options.path, nouns[i].words)) {
		i++;
		assert(i < ARRAY_SIZE(nouns));
	}
	*ret_count = nouns[i].between ? 2 : 1;
	cleanup(free) char *first = path_format("%s", context_argument(context, 0));
	if (!nouns[i].between)
		return alloc_printf("%s%s", nouns[i].before, first);
	cleanup(free) char *second = path_format("%s", context_argument(context, 1));
	return alloc_printf("%s%s%s%s", nouns[i].before, first, nouns[i].between, second);
}

int noun_show(struct context *context, struct error *e)
{
	unsigned count;
	cleanup(free) char *path = noun_path(context, &count);
	return object_show(context, path, e);
}

int noun_get(struct context *context, struct error *e)
{
	unsigned count;
	cleanup(free) char *path = noun_path(context, &count);
	return object_get(context, path, context_argument(context, count), e);
}

int noun_set(struct context *context, struct error *e)
{
	unsigned count;
	cleanup(free) char *path = noun_path(context, &count);
	return object_set(context, path, count, e);
}

int noun_unset(struct context *context, struct error *e)
{
	unsigned count;
	cleanup(free) char *path = noun_path(context, &count);
	return object_unset(context, path, count, e);
}

int noun_edit(struct context *context, struct error *e)
{
	unsigned count;
	cleanup(free) char *path = noun_path(context, &count);
	return object_edit(context, path, e);
}

int noun_delete(struct context *context, struct error *e)
{
	unsigned count;
	cleanup(free) char *path = noun_path(context, &count);
	return context_change(context, "DELETE", path, NULL, NULL, "delete", NULL, e);
}

int noun_rename(struct context *context, struct error *e)
{
	unsigned count;
	cleanup(free) char *path = noun_path(context, &count);
	return context_change(context, "POST", path,
		json_pack("{s:s}", "name", context_argument(context, count)), NULL, "rename", NULL,
		e);
}
