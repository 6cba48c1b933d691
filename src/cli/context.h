/* SPDX-License-Identifier: Apache-2.0 */
/*
 * context.h - what a verb has in hand: its options, the server, and the ways to ask it.
 */
#pragma once

#include <jansson.h>

#include "cli/options.h"
#include "cli/progress.h"
#include "cli/remote.h"

struct context {
	struct options options;
	const struct verb *verbs; /* the whole table */
	struct remote *remote;
	struct progress progress;
	bool is_quiet;
	bool is_terminal; /* standard output */
	int interrupt;    /* a signalfd while a change is under way, else -1 */
};

/* The i-th argument, NULL if there are fewer. */
const char *context_argument(const struct context *context, unsigned i);

/* Opens the server at the first call. */
int context_open(struct context *context, struct error *e) must_use;

/* Sends any request; see remote_send(). */
int context_send(struct context *context, const struct client_request *request, struct answer *ret,
	struct error *e) must_use;

/* The metadata of a GET; the caller owns *ret. With `ret_etag` its ETag too. */
int context_get(struct context *context, const char *path, json_t **ret, char **ret_etag,
	struct error *e) must_use;

/*
 * Sends `body` (taken; NULL: none) and waits until it is done; an interrupt cancels it. `what` stands in
 * the progress line. With `ret` what came of it: the finished operation, or the metadata of an answer
 * that was immediate. Options: If-Match.
 */
int context_change(struct context *context, const char *method, const char *path, json_t *body,
	const char *if_match, const char *what, json_t **ret, struct error *e) must_use;

/* The same for a request that is not plain JSON. */
int context_change_request(struct context *context, const struct client_request *request,
	const char *what, json_t **ret, struct error *e) must_use;

/* Waits for an operation; the finished one, or its error. */
int context_wait(struct context *context, const char *operation, const char *what, json_t **ret,
	struct error *e) must_use;

/* From now to context_calm() interrupts make requests end with -EINTR instead of the program. */
int context_alert(struct context *context, struct error *e) must_use;
void context_calm(struct context *context);

/* A line for people, on standard error, unless --quiet. */
void context_note(struct context *context, const char *format, ...) printf_like(2, 3);
