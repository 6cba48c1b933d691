/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operation.h - requests that take time: what a client polls, waits for, cancels and connects to.
 *
 * An operation runs from operation_new() until operation_done() or operation_failed(), which its owner
 * calls exactly once; the owner may not touch it after that. It stays visible for 5 s more. Each change
 * is an event.
 */
#pragma once

#include <jansson.h>

#include "daemon/service.h"

struct operation;
struct operations;
struct websocket;

enum operation_class { OPERATION_TASK, OPERATION_WEBSOCKET, OPERATION_TOKEN };

enum operation_status {
	OPERATION_RUNNING = 103,
	OPERATION_CANCELLING = 104,
	OPERATION_SUCCESS = 200,
	OPERATION_FAILURE = 400,
	OPERATION_CANCELLED = 401,
};

struct operation_options {
	enum operation_class class;
	const char *description; /* "Starting instance" */
	const char *project;     /* NULL: "default" */
	json_t *resources;       /* stolen: {"instances": ["/1.0/instances/c1"]}, or NULL */
	json_t *metadata;        /* stolen: an object, or NULL */

	/*
	 * Asks the owner to end it soon by operation_failed(op, -ECANCELED, ...), in the call or later.
	 * Returns 0, or a negative errno with the reason. NULL: it can't be cancelled.
	 */
	int (*cancel)(void *data, struct operation *operation, struct error *e);
	/*
	 * A client connected to the socket `name` that operation_add_socket() made; the callee owns
	 * `websocket`.
	 */
	void (*connected)(void *data, struct operation *operation, const char *name,
		struct websocket *websocket);
	void *data;
};

struct operations *operations_new(struct service *service) must_use;
/* Fails what still runs. */
void operations_free(struct operations *operations);

/* Its address stays good until it is done, or failed. */
struct operation *operation_new(
	struct service *service, const struct operation_options *options) must_use;

/*
 * Adds a secret for a websocket, {"fds": {NAME: SECRET}} in the metadata. It is good for one connection.
 */
void operation_add_socket(struct operation *operation, const char *name);
/* Adds a socket of which the secret stands in the metadata under its name (as migration does). */
void operation_add_bare_socket(struct operation *operation, const char *name);

/* Sets one field of the metadata; steals `value`. */
void operation_set(struct operation *operation, const char *field, json_t *value);

/*
 * What the clients' progress bars read: metadata `STAGE_progress: "TEXT"` and `progress`. `percent` 0 to
 * 100, or -1 if unknown; `bytes_per_second` 0 if unknown. At most five events a second are sent.
 */
void operation_progress(struct operation *operation, const char *stage, const char *text,
	int percent, uint64_t bytes_per_second);

/* The end. `metadata` is stolen and its fields join those that are set; NULL if there are none. */
void operation_done(struct operation *operation, json_t *metadata);
/* `code` is a negative errno; -ECANCELED ends it as cancelled. */
void operation_failed(struct operation *operation, int code, const struct error *e);
/* As operation_done() or operation_failed() by `code`. */
void operation_end(struct operation *operation, int code, const struct error *e);

const char *operation_id(const struct operation *operation);
const char *operation_project(const struct operation *operation);
enum operation_status operation_status(const struct operation *operation);
enum operation_class operation_class(const struct operation *operation);
struct service *operation_service(const struct operation *operation);

/* NULL if there is none. */
struct operation *operation_find(struct service *service, const char *id);
/* As the API shows it. */
json_t *operation_json(const struct operation *operation) must_use;
/* Calls for each one, in the order of their making. */
void operation_each(
	struct service *service, void (*call)(void *data, struct operation *operation), void *data);
/* But for tokens, which wait for somebody. */
size_t operation_count_running(const struct service *service);

/* -EINVAL if it can't be cancelled or is over. */
int operation_cancel(struct operation *operation, struct error *e) must_use;

/*
 * The name of the socket that `secret` opens, which it does once; NULL if it opens none. Compared in
 * constant time. The name is good until the operation is gone.
 */
const char *operation_take_secret(struct operation *operation, const char *secret);
/* Gives the socket to the owner, or drops it if the operation is over by now. */
void operation_connect(
	struct service *service, const char *id, const char *name, struct websocket *websocket);

/* Calls once when it is over, before it is forgotten; forget with operation_unwait(). */
struct operation_wait {
	void (*ended)(void *data, struct operation *operation);
	void *data;
	struct operation_wait *next;
};
void operation_wait(struct operation *operation, struct operation_wait *wait);
void operation_unwait(struct operation *operation, struct operation_wait *wait);
