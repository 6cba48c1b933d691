/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.c - a client at the console of an instance: a stream to its runner, a websocket to the client.
 */
#include "daemon/console.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "abi/runner.h"
#include "base/text.h"
#include "daemon/server_instance.h"
#include "daemon/supervisor.h"
#include "http/bridge.h"
#include "http/websocket.h"
#include "model/json.h"

#define SOCKETS_WAIT_NS (30 * NS_PER_SEC)
#define CONTROL_BYTES   4096

struct console {
	struct service *service;
	char *project, *name;
	struct operation *operation;
	struct console_options options;
	struct source *timer;
	struct websocket *socket, *control;
	struct bridge *bridge;
	int stream; /* until the runner took the other end; -1 */
	bool is_over, is_attaching;
	int code;
	struct error error;
};

static struct live *live_of(const struct console *console)
{
	struct instance *instance =
		instance_find(console->service, console->project, console->name);
	return instance ? instance->live : NULL;
}

static void over(void *data)
{
	struct console *console = data;
	struct live *live = live_of(console);
	if (live)
		live_forget(live, console);
	if (console->code < 0)
		operation_failed(console->operation, console->code, &console->error);
	else
		operation_done(console->operation, NULL);
	source_free(console->timer);
	bridge_free(console->bridge);
	websocket_free(console->socket);
	if (console->control)
		websocket_close(console->control, 1000);
	if (console->stream >= 0)
		close(console->stream);
	free(console->project);
	free(console->name);
	free(console);
}

static void over_soon(struct console *console, int code, const struct error *e)
{
	if (console->is_over)
		return;
	console->is_over = true;
	console->code = code;
	if (e)
		console->error = *e;
	loop_defer(console->service->loop, over, console);
}

static void bridge_ended(void *data)
{
	over_soon(data, 0, NULL);
}

static void attached(void *data, int code, const struct error *e, const void *bytes, size_t length,
	const int *fds, size_t fd_count)
{
	struct console *console = data;
	(void)bytes;
	(void)length;
	(void)fds;
	(void)fd_count;
	if (code < 0) {
		over_soon(console, code, e);
		return;
	}
	int stream = TAKE_FD(console->stream);
	console->bridge = bridge_new(console->service->loop, TAKE_PTR(console->socket),
		&(struct bridge_options){ .to_fd = stream,
			.from_fd = stream,
			.ended = bridge_ended,
			.data = console });
}

static void attach(struct console *console)
{
	struct live *live = live_of(console);
	struct error e = {};
	int ends[2];
	source_free(console->timer);
	console->timer = NULL;
	if (!live) {
		over_soon(console, error_set(&e, -EBUSY, "Instance is not running"), &e);
		return;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
		over_soon(console, error_errno(&e, "make a pair of sockets"), &e);
		return;
	}
	struct runner_attach message = { .header.type = RUNNER_ATTACH,
		.flags = console->options.is_forced ? RUNNER_ATTACH_STEAL : 0,
		.columns = (uint16_t)console->options.columns,
		.rows = (uint16_t)console->options.rows };
	console->stream = ends[0];
	console->is_attaching = true;
	int r = live_send(live, &message, sizeof(message), ends[1], attached, console, &e);
	close(ends[1]);
	if (r < 0)
		over_soon(console, r, &e);
}

static void control_received(void *data, bool is_text, const char *bytes, size_t length)
{
	struct console *console = data;
	struct live *live = live_of(console);
	uint64_t width, height;
	(void)is_text;
	if (length == 0 || length > CONTROL_BYTES || !live)
		return;
	cleanup(json_decref) json_t *json = json_loadb(bytes, length, 0, NULL);
	const json_t *args = json_object_get(json, "args");
	if (text_equal(json_text(json, "command"), "window-resize") && json_text(args, "width") &&
		text_to_u64(json_text(args, "width"), &width) == 0 && json_text(args, "height") &&
		text_to_u64(json_text(args, "height"), &height) == 0 && width <= UINT16_MAX &&
		height <= UINT16_MAX) {
		struct runner_size message = { .header.type = RUNNER_RESIZE,
			.columns = (uint16_t)width,
			.rows = (uint16_t)height };
		if (live_send(live, &message, sizeof(message), -1, NULL, NULL, NULL) < 0)
			over_soon(console, 0, NULL);
	}
}

static void control_closed(void *data)
{
	struct console *console = data;
	websocket_free(TAKE_PTR(console->control));
	over_soon(console, 0, NULL);
}

static void connected(
	void *data, struct operation *operation, const char *name, struct websocket *websocket)
{
	static const struct websocket_calls calls = { .received = control_received,
		.closed = control_closed };
	struct console *console = data;
	(void)operation;
	if (text_equal(name, "control")) {
		console->control = websocket;
		websocket_set_calls(websocket, &calls, console);
	} else {
		console->socket = websocket;
	}
	if (console->socket && !console->is_over && !console->is_attaching)
		attach(console);
}

static void socket_missing(void *data)
{
	struct error e = {};
	error_set(&e, -ETIMEDOUT, "The websockets were not connected in time");
	over_soon(data, -ETIMEDOUT, &e);
}

static int cancel(void *data, struct operation *operation, struct error *e)
{
	struct error error = {};
	(void)operation;
	(void)e;
	over_soon(data, error_set(&error, -ECANCELED, "Cancelled"), &error);
	return 0;
}

int console_start(struct instance *instance, const struct console_options *options,
	struct operation **ret, struct error *e)
{
	if (!(instance->kind->can & KIND_CAN_CONSOLE))
		return error_set(e, -EOPNOTSUPP, "A %s has no console", instance->kind->name);
	if (instance->kind->can & KIND_IS_SERVER)
		return server_instance_console(instance, options->is_forced, ret, e);
	if (!instance->live)
		return error_set(e, -EBUSY, "Instance is not running");
	struct console *console = alloc(struct console);
	console->service = instance->service;
	console->project = alloc_text(instance->project);
	console->name = alloc_text(instance->name);
	console->options = *options;
	console->stream = -1;
	console->operation = operation_new(instance->service,
		&(struct operation_options){ .class = OPERATION_WEBSOCKET,
			.description = "Showing console",
			.project = instance->project,
			.resources = instance_resources(instance),
			.cancel = cancel,
			.connected = connected,
			.data = console });
	operation_add_socket(console->operation, "0");
	operation_add_socket(console->operation, "control");
	console->timer = loop_add_timer(instance->service->loop, socket_missing, console);
	timer_set_after(console->timer, SOCKETS_WAIT_NS);
	instance_event(instance, "instance-console", NULL);
	*ret = console->operation;
	return 0;
}
