/* SPDX-License-Identifier: Apache-2.0 */
/*
 * noun.h - the verbs that profiles, networks, pools, volumes, forwards and projects have in common.
 *
 * Which collection is meant follows from the path of the verb: "storage volume show POOL VOLUME".
 */
#pragma once

#include "cli/options.h"

int noun_show(struct context *context, struct error *e);
int noun_get(struct context *context, struct error *e);
int noun_set(struct context *context, struct error *e);
int noun_unset(struct context *context, struct error *e);
int noun_edit(struct context *context, struct error *e);
int noun_delete(struct context *context, struct error *e);
int noun_rename(struct context *context, struct error *e);

/* The path of what the first arguments name, and how many they are; the caller owns the string. */
char *noun_path(struct context *context, unsigned *ret_count);

extern const struct option noun_show_options[];

/* The seven rows of a noun's table; `names` are its arguments: "POOL VOLUME", `count` of them. */
#define NOUN_VERBS(noun, names, count, what) \
	{ "show", names, "print " noun, .run = noun_show, .options = noun_show_options, \
		.min = count, .max = count, .words = what }, \
		{ "get", names " KEY", "print a config value of " noun, .run = noun_get, \
			.min = (count) + 1, .max = (count) + 1, .words = what }, \
		{ "set", names " KEY=VALUE...", "set config values of " noun, .run = noun_set, \
			.min = (count) + 1, .max = ARGUMENTS_ANY, .words = what }, \
		{ "unset", names " KEY...", "remove config values of " noun, .run = noun_unset, \
			.min = (count) + 1, .max = ARGUMENTS_ANY, .words = what }, \
		{ "edit", names, "edit " noun, .run = noun_edit, .min = count, .max = count, \
			.words = what }, \
	{ \
		"delete", names, "delete " noun, .run = noun_delete, .min = count, .max = count, \
						 .words = what \
	}
