/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server_console.c - a stream to berth-metal, which has the serial line, and a websocket to the client.
 */
#include "daemon/server_console.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/text.h"
#include "daemon/server_bmc.h"
#include "http/bridge.h"
#include "http/websocket.h"

#define SOCKETS_WAIT_NS (30 * NS_PER_SEC)

struct server_console {
	struct service *service;
	char *name;
	struct operation *operation;
	struct source *timer;
	struct websocket *socket, *control;
	struct bridge *bridge;
	bool is_forced, is_over;
	int stream;
	int code;
	struct error error;
};

static void over(void *data)
{
	struct server_console *console = data;
	struct server *server = server_find(console->service, console->name);
	if (server)
		server_bmc_unask(server, console);
	operation_end(console->operation, console->code, &console->error);
	source_free(console->timer);
	bridge_free(console->bridge);
	websocket_free(console->socket);
	if (console->control)
		websocket_close(console->control, 1000);
	if (console->stream >= 0)
		close(console->stream);
	free(console->name);
	free(console);
}

static void over_soon(struct server_console *console, int code, const struct error *e)
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

static void attached(void *data, int code, json_t *answer, const struct error *e)
{
	struct server_console *console = data;
	(void)answer;
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

static void attach(struct server_console *console)
{
	struct server *server = server_find(console->service, console->name);
	struct error e = {};
	int ends[2];
	source_free(TAKE_PTR(console->timer));
	if (!server) {
		over_soon(console, error_set(&e, -ENOENT, "the server is gone"), &e);
		return;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
		over_soon(console, error_errno(&e, "make a pair of sockets"), &e);
		return;
	}
	console->stream = ends[0];
	int r = server_bmc_attach(server, ends[1], console->is_forced, attached, console, &e);
	close(ends[1]);
	if (r < 0)
		over_soon(console, r, &e);
}

/* A serial line has no size: what a client says of its own is not passed on. */
static void control_received(void *data, bool is_text, const char *bytes, size_t length)
{
	(void)data;
	(void)is_text;
	(void)bytes;
	(void)length;
}

static void control_closed(void *data)
{
	struct server_console *console = data;
	websocket_free(TAKE_PTR(console->control));
	over_soon(console, 0, NULL);
}

static void connected(
	void *data, struct operation *operation, const char *name, struct websocket *websocket)
{
	static const struct websocket_calls calls = { .received = control_received,
		.closed = control_closed };
	struct server_console *console = data;
	(void)operation;
	if (text_equal(name, "control")) {
		console->control = websocket;
		websocket_set_calls(websocket, &calls, console);
		return;
	}
	console->socket = websocket;
	attach(console);
}

static int cancel(void *data, struct operation *operation, struct error *e)
{
	(void)operation;
	(void)e;
	over_soon(data, -ECANCELED, NULL);
	return 0;
}

static void nobody_came(void *data)
{
	struct error e = {};
	over_soon(data, error_set(&e, -ETIMEDOUT, "nobody connected to the console"), &e);
}

int server_console_start(struct server *server, const char *project, bool is_forced,
	struct operation **ret, struct error *e)
{
	if (!server->bmc)
		return error_set(e, -ENOTCONN, "%s: no BMC is known of it", server->name);
	struct server_console *console = alloc(struct server_console);
	*console = (struct server_console){ .service = server->service,
		.name = alloc_text(server->name),
		.is_forced = is_forced,
		.stream = -1 };
	const struct operation_options options = { .class = OPERATION_WEBSOCKET,
		.description = "Showing console",
		.project = project,
		.cancel = cancel,
		.connected = connected,
		.data = console };
	console->operation = operation_new(server->service, &options);
	operation_add_socket(console->operation, "0");
	operation_add_socket(console->operation, "control");
	console->timer = loop_add_timer(server->service->loop, nobody_came, console);
	timer_set_after(console->timer, SOCKETS_WAIT_NS);
	*ret = console->operation;
	return 0;
}
