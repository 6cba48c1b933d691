/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operation.c - the operations that run, and those that ended a moment ago.
 */
#include "daemon/operation.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "daemon/events.h"
#include "http/websocket.h"

#define KEPT_NS       (5 * NS_PER_SEC)  /* after the end, for the client that asks once more */
#define PROGRESS_NS   (200 * NS_PER_MS) /* between two events of one operation's progress */
#define SECRET_BYTES  32
#define SECRET_DIGITS 64
#define BUCKETS       256

struct socket {
	char *name;
	char *secret; /* NULL once it was used */
	struct socket *next;
};

struct operation {
	struct service *service;
	char id[TEXT_UUID_SIZE];
	char *description;
	char *project;
	struct operation_options options;
	enum operation_status status;
	uint64_t created_ns, updated_ns; /* CLOCK_REALTIME */
	uint64_t told_ns;                /* CLOCK_MONOTONIC, of the last progress event */
	uint64_t forget_ns;              /* CLOCK_MONOTONIC, once it is over */
	char *failure;
	struct socket *sockets;
	struct operation_wait *waits;
	struct operation *before, *after; /* all, oldest first */
	struct operation *next_over;      /* those that are over, by their end */
	struct operation *next_in_bucket;
};

struct operations {
	struct service *service;
	struct operation *first, *last;
	struct operation *buckets[BUCKETS];
	struct operation *first_over, *last_over;
	struct source *timer;
	size_t running;
};

/* The first two digits of a UUID are random. */
static size_t bucket_of(const char *id)
{
	unsigned char byte;
	char hex[3] = { id[0], '\0', '\0' };
	if (id[0])
		hex[1] = id[1];
	return text_from_hex(hex, &byte, 1) == 0 ? byte : 0;
}

static void forget(struct operations *operations, struct operation *operation)
{
	struct operation **at = &operations->buckets[bucket_of(operation->id)];
	while (*at != operation)
		at = &(*at)->next_in_bucket;
	*at = operation->next_in_bucket;
	*(operation->before ? &operation->before->after : &operations->first) = operation->after;
	*(operation->after ? &operation->after->before : &operations->last) = operation->before;

	while (operation->sockets) {
		struct socket *socket = operation->sockets;
		operation->sockets = socket->next;
		free(socket->name);
		free(socket->secret);
		free(socket);
	}
	json_decref(operation->options.resources);
	json_decref(operation->options.metadata);
	free(operation->description);
	free(operation->project);
	free(operation->failure);
	free(operation);
}

static void on_timer(void *data)
{
	struct operations *operations = data;
	uint64_t now = loop_now();
	while (operations->first_over && operations->first_over->forget_ns <= now) {
		struct operation *operation = operations->first_over;
		operations->first_over = operation->next_over;
		if (!operations->first_over)
			operations->last_over = NULL;
		forget(operations, operation);
	}
	if (operations->first_over)
		timer_set(operations->timer, operations->first_over->forget_ns);
}

struct operations *operations_new(struct service *service)
{
	struct operations *operations = alloc(struct operations);
	operations->service = service;
	operations->timer = loop_add_timer(service->loop, on_timer, operations);
	return operations;
}

void operations_free(struct operations *operations)
{
	if (!operations)
		return;
	for (struct operation *operation = operations->first, *next; operation; operation = next) {
		next = operation->after;
		forget(operations, operation);
	}
	source_free(operations->timer);
	free(operations);
}

static const char *status_name(enum operation_status status)
{
	switch (status) {
	case OPERATION_RUNNING:
		return "Running";
	case OPERATION_CANCELLING:
		return "Cancelling";
	case OPERATION_SUCCESS:
		return "Success";
	case OPERATION_FAILURE:
		return "Failure";
	case OPERATION_CANCELLED:
		break;
	}
	return "Cancelled";
}

static bool is_over(const struct operation *operation)
{
	return operation->status >= OPERATION_SUCCESS;
}

json_t *operation_json(const struct operation *operation)
{
	static const char *const classes[] = {
		[OPERATION_TASK] = "task",
		[OPERATION_WEBSOCKET] = "websocket",
		[OPERATION_TOKEN] = "token",
	};
	char created[TEXT_TIME_SIZE], updated[TEXT_TIME_SIZE];
	json_t *resources = operation->options.resources, *metadata = operation->options.metadata;
	/* A copy: the owner may add to it before it is written. */
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:O?,s:o?,s:b,s:s,s:s}", "id", operation->id,
		"class", classes[operation->options.class], "description", operation->description,
		"created_at", text_format_time(operation->created_ns, created), "updated_at",
		text_format_time(operation->updated_ns, updated), "status",
		status_name(operation->status), "status_code", (int)operation->status, "resources",
		resources, "metadata", metadata ? json_copy(metadata) : NULL, "may_cancel",
		operation->options.cancel != NULL && !is_over(operation), "err",
		operation->failure ? operation->failure : "", "location", "none");
}

static void changed(struct operation *operation)
{
	operation->updated_ns = loop_wall_clock();
	operation->told_ns = loop_now();
	/* A token is for whoever asked for it. */
	if (operation->options.class == OPERATION_TOKEN)
		return;
	if (events_are_heard(operation->service, EVENT_OPERATION))
		events_send(operation->service, EVENT_OPERATION, operation->project,
			operation_json(operation));
}

struct operation *operation_new(struct service *service, const struct operation_options *options)
{
	struct operations *operations = service->operations;
	struct operation *operation = alloc(struct operation);
	operation->service = service;
	text_random_uuid(operation->id);
	operation->description = alloc_text(options->description);
	operation->project = alloc_text(options->project ? options->project : "default");
	operation->options = *options;
	operation->status = OPERATION_RUNNING;
	operation->created_ns = loop_wall_clock();

	operation->before = operations->last;
	*(operations->last ? &operations->last->after : &operations->first) = operation;
	operations->last = operation;
	struct operation **bucket = &operations->buckets[bucket_of(operation->id)];
	operation->next_in_bucket = *bucket;
	*bucket = operation;
	operations->running += options->class != OPERATION_TOKEN;
	changed(operation);
	return operation;
}

static json_t *metadata_of(struct operation *operation)
{
	if (!operation->options.metadata)
		operation->options.metadata = json_object();
	return operation->options.metadata;
}

static char *add_secret(struct operation *operation, const char *name)
{
	struct socket *socket = alloc(struct socket);
	socket->name = alloc_text(name);
	socket->secret = text_random_hex(SECRET_BYTES);
	socket->next = operation->sockets;
	operation->sockets = socket;
	return socket->secret;
}

void operation_add_socket(struct operation *operation, const char *name)
{
	json_t *metadata = metadata_of(operation);
	json_t *fds = json_object_get(metadata, "fds");
	if (!fds) {
		fds = json_object();
		json_object_set_new(metadata, "fds", fds);
	}
	json_object_set_new(fds, name, json_string(add_secret(operation, name)));
}

void operation_add_bare_socket(struct operation *operation, const char *name)
{
	json_object_set_new(metadata_of(operation), name, json_string(add_secret(operation, name)));
}

void operation_set(struct operation *operation, const char *field, json_t *value)
{
	json_object_set_new(metadata_of(operation), field, value);
}

void operation_progress(struct operation *operation, const char *stage, const char *text,
	int percent, uint64_t bytes_per_second)
{
	cleanup(free) char *field = alloc_printf("%s_progress", stage);
	cleanup(free) char *part = alloc_printf("%d", percent < 0 ? 0 : percent);
	cleanup(free) char *speed = alloc_printf("%" PRIu64, bytes_per_second);
	operation_set(operation, field, json_string(text));
	operation_set(operation, "progress",
		json_pack("{s:s,s:s,s:s}", "stage", stage, "percent", part, "speed", speed));
	operation->updated_ns = loop_wall_clock();
	if (loop_now() - operation->told_ns >= PROGRESS_NS)
		changed(operation);
}

/* `failure` is taken. */
static void finish(struct operation *operation, enum operation_status status, char *failure)
{
	struct operations *operations = operation->service->operations;
	assert(!is_over(operation));
	operation->status = status;
	operation->failure = failure;
	operation->options.cancel = NULL;
	operation->options.connected = NULL;
	operation->forget_ns = loop_now() + KEPT_NS;
	operations->running -= operation->options.class != OPERATION_TOKEN;
	*(operations->last_over ? &operations->last_over->next_over : &operations->first_over) =
		operation;
	operations->last_over = operation;
	if (operations->first_over == operation)
		timer_set(operations->timer, operation->forget_ns);
	changed(operation);
	while (operation->waits) {
		struct operation_wait *wait = operation->waits;
		operation->waits = wait->next;
		wait->ended(wait->data, operation);
	}
}

void operation_done(struct operation *operation, json_t *metadata)
{
	if (metadata) {
		json_object_update(metadata_of(operation), metadata);
		json_decref(metadata);
	}
	finish(operation, OPERATION_SUCCESS, NULL);
}

void operation_failed(struct operation *operation, int code, const struct error *e)
{
	bool is_cancelled = code == -ECANCELED;
	const char *text = e && e->text[0] ? e->text : is_cancelled ? "Operation cancelled" : NULL;
	finish(operation, is_cancelled ? OPERATION_CANCELLED : OPERATION_FAILURE,
		alloc_text(text ? text : strerrordesc_np(-code)));
}

void operation_end(struct operation *operation, int code, const struct error *e)
{
	if (code < 0)
		operation_failed(operation, code, e);
	else
		operation_done(operation, NULL);
}

const char *operation_id(const struct operation *operation)
{
	return operation->id;
}

const char *operation_project(const struct operation *operation)
{
	return operation->project;
}

enum operation_status operation_status(const struct operation *operation)
{
	return operation->status;
}

enum operation_class operation_class(const struct operation *operation)
{
	return operation->options.class;
}

struct service *operation_service(const struct operation *operation)
{
	return operation->service;
}

struct operation *operation_find(struct service *service, const char *id)
{
	struct operation *operation = service->operations->buckets[bucket_of(id)];
	while (operation && !text_equal(operation->id, id))
		operation = operation->next_in_bucket;
	return operation;
}

void operation_each(
	struct service *service, void (*call)(void *data, struct operation *operation), void *data)
{
	for (struct operation *operation = service->operations->first; operation;
		operation = operation->after)
		call(data, operation);
}

size_t operation_count_running(const struct service *service)
{
	return service->operations->running;
}

int operation_cancel(struct operation *operation, struct error *e)
{
	if (is_over(operation))
		return error_set(e, -EINVAL, "the operation is over");
	if (!operation->options.cancel)
		return error_set(e, -EINVAL, "this operation can't be cancelled");
	int r = operation->options.cancel(operation->options.data, operation, e);
	if (r == 0 && operation->status == OPERATION_RUNNING) {
		operation->status = OPERATION_CANCELLING;
		changed(operation);
	}
	return r;
}

static bool secrets_equal(const char *a, const char *b)
{
	/* Every digit is looked at, so that the time says nothing of where they differ. */
	unsigned char difference = 0;
	if (strlen(b) != SECRET_DIGITS)
		return false;
	for (size_t i = 0; i < SECRET_DIGITS; i++)
		difference |= (unsigned char)(a[i] ^ b[i]);
	return difference == 0;
}

const char *operation_take_secret(struct operation *operation, const char *secret)
{
	for (struct socket *socket = operation->sockets; socket; socket = socket->next) {
		if (!socket->secret || !secrets_equal(socket->secret, secret))
			continue;
		free(TAKE_PTR(socket->secret));
		return socket->name;
	}
	return NULL;
}

void operation_connect(
	struct service *service, const char *id, const char *name, struct websocket *websocket)
{
	struct operation *operation = operation_find(service, id);
	if (operation && operation->options.connected)
		operation->options.connected(operation->options.data, operation, name, websocket);
	else
		websocket_close(websocket, 1000);
}

void operation_wait(struct operation *operation, struct operation_wait *wait)
{
	wait->next = operation->waits;
	operation->waits = wait;
}

void operation_unwait(struct operation *operation, struct operation_wait *wait)
{
	for (struct operation_wait **at = &operation->waits; *at; at = &(*at)->next) {
		if (*at == wait) {
			*at = wait->next;
			return;
		}
	}
}
