/* SPDX-License-Identifier: Apache-2.0 */
/*
 * object.h - what every noun does alike: show, get, set, unset and edit an object at a path.
 *
 * A change is GET, the change, PUT with If-Match; it is made again from the start if somebody else was
 * faster.
 */
#pragma once

#include <jansson.h>

#include "cli/context.h"

/* Changes the object in place: 0, or a negative errno with *e set. */
typedef int object_change_call(json_t *object, void *data, struct error *e);

int object_change(struct context *context, const char *path, const char *what,
	object_change_call *change, void *data, struct error *e) must_use;

/* GETs and prints it. */
int object_show(struct context *context, const char *path, struct error *e) must_use;

/* Prints one config value and a newline; nothing if the key is not set. */
int object_get(
	struct context *context, const char *path, const char *key, struct error *e) must_use;

/* Sets each KEY=VALUE from the argument `first` on; "description" is the field of that name. */
int object_set(struct context *context, const char *path, unsigned first, struct error *e) must_use;

/* Removes each KEY from the argument `first` on; -ENOENT if one is not set. */
int object_unset(
	struct context *context, const char *path, unsigned first, struct error *e) must_use;

/* As JSON in $VISUAL, $EDITOR or vi; from standard input if that is no terminal. */
int object_edit(struct context *context, const char *path, struct error *e) must_use;

/* Sets KEY=VALUE in the object of strings; -EINVAL if the word is none. */
int pair_set(json_t *strings, const char *word, struct error *e) must_use;
/* The same for each argument from `first` on. */
int pairs_of_arguments(
	struct context *context, unsigned first, json_t *strings, struct error *e) must_use;
/* And for each value of an option. */
int pairs_of_option(
	struct context *context, const char *option, json_t *strings, struct error *e) must_use;

/* Runs the user's editor on the file and waits. */
int editor_run(const char *path, struct error *e) must_use;
