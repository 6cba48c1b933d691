/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal.c - what comes first is attached, what ends first ends it all.
 */
#include "daemon/instance/terminal.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/text.h"
#include "daemon/instance/control.h"
#include "http/bridge.h"
#include "http/websocket.h"
#include "model/json.h"

#define SOCKETS_WAIT_NS (30 * NS_PER_SEC)
#define LEAVE_NS        (10 * NS_PER_MS)

struct terminal {
	struct service *service;
	struct operation *operation;
	const struct terminal_source *source;
	void *data;
	struct source *timer;
	struct websocket *socket, *control;
	struct bridge *bridge;
	int stream; /* until the other end was taken; -1 */
	bool is_over, is_attaching, is_left;
	int code;
	struct error error;
};

static void over(void *data)
{
	struct terminal *terminal = data;
	terminal->source->forget(terminal->data, terminal);
	if (terminal->code < 0)
		operation_failed(terminal->operation, terminal->code, &terminal->error);
	else
		operation_done(terminal->operation, NULL);
	source_free(terminal->timer);
	bridge_free(terminal->bridge);
	websocket_free(terminal->socket);
	if (terminal->control)
		websocket_close(terminal->control, 1000);
	if (terminal->stream >= 0)
		close(terminal->stream);
	free(terminal);
}

static void over_soon(struct terminal *terminal, int code, const struct error *e)
{
	if (terminal->is_over)
		return;
	terminal->is_over = true;
	terminal->code = code;
	if (e)
		terminal->error = *e;
	loop_defer(terminal->service->loop, over, terminal);
}

static void bridge_ended(void *data)
{
	over_soon(data, 0, NULL);
}

static void left(void *data)
{
	over_soon(data, 0, NULL);
}

/* Who leaves has said all: what came before on the other socket is passed on first, though it may be looked at later. */
static void leave(struct terminal *terminal)
{
	terminal->timer = loop_add_timer(terminal->service->loop, left, terminal);
	timer_set_after(terminal->timer, LEAVE_NS);
}

void terminal_attached(struct terminal *terminal, int code, const struct error *e)
{
	if (code < 0 || terminal->is_over) {
		over_soon(terminal, code, e);
		return;
	}
	int stream = TAKE_FD(terminal->stream);
	terminal->bridge = bridge_new(terminal->service->loop, TAKE_PTR(terminal->socket),
		&(struct bridge_options){ .to_fd = stream,
			.from_fd = stream,
			.ended = bridge_ended,
			.data = terminal });
	if (terminal->is_left)
		leave(terminal);
}

static void attach(struct terminal *terminal)
{
	struct error e = {};
	int ends[2];
	source_free(TAKE_PTR(terminal->timer));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
		over_soon(terminal, error_errno(&e, "make a pair of sockets"), &e);
		return;
	}
	terminal->stream = ends[0];
	terminal->is_attaching = true;
	int r = terminal->source->attach(terminal->data, terminal, ends[1], &e);
	close(ends[1]);
	if (r < 0)
		over_soon(terminal, r, &e);
}

static void control_received(void *data, bool is_text, const char *bytes, size_t length)
{
	struct terminal *terminal = data;
	struct control_word word;
	(void)is_text;
	if (terminal->is_over || !terminal->source->resize || !control_read(bytes, length, &word) ||
		word.signal)
		return;
	if (terminal->source->resize(terminal->data, word.columns, word.rows) < 0)
		over_soon(terminal, 0, NULL);
}

static void control_closed(void *data)
{
	struct terminal *terminal = data;
	websocket_free(TAKE_PTR(terminal->control));
	if (terminal->is_over)
		return;
	terminal->is_left = true;
	if (terminal->bridge)
		leave(terminal);
	else if (!terminal->is_attaching)
		over_soon(terminal, 0, NULL);
}

static void connected(
	void *data, struct operation *operation, const char *name, struct websocket *websocket)
{
	static const struct websocket_calls calls = { .received = control_received,
		.closed = control_closed };
	struct terminal *terminal = data;
	(void)operation;
	if (text_equal(name, "control")) {
		terminal->control = websocket;
		websocket_set_calls(websocket, &calls, terminal);
	} else {
		terminal->socket = websocket;
	}
	if (terminal->socket && !terminal->is_over && !terminal->is_attaching)
		attach(terminal);
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

struct operation *terminal_start(struct service *service, const struct terminal_options *options)
{
	struct terminal *terminal = alloc(struct terminal);
	*terminal = (struct terminal){
		.service = service, .source = options->source, .data = options->data, .stream = -1
	};
	terminal->operation = operation_new(service,
		&(struct operation_options){ .class = OPERATION_WEBSOCKET,
			.description = "Showing console",
			.project = options->project,
			.resources = options->resources,
			.cancel = cancel,
			.connected = connected,
			.data = terminal });
	operation_add_socket(terminal->operation, "0");
	operation_add_socket(terminal->operation, "control");
	terminal->timer = loop_add_timer(service->loop, socket_missing, terminal);
	timer_set_after(terminal->timer, SOCKETS_WAIT_NS);
	return terminal->operation;
}
