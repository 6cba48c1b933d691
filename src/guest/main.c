/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - berth-guest: reads what instances ask through /dev/lxd/sock, so that berthd need not.
 *
 * berthd hands over connections and answers questions (abi/guest.h). This process has no rights but its sockets,
 * and ends with the channel.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "abi/guest.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/text.h"
#include "guest/route.h"
#include "host/jail.h"
#include "host/process.h"
#include "http/server.h"
#include "http/websocket.h"

#define DESCRIPTORS_MAX  (4 * GUEST_CONNECTIONS_MAX + 64)
#define CONNECTION_BYTES 8192
#define HEAD_NS          (10 * NS_PER_SEC)
#define IDLE_NS          (60 * NS_PER_SEC)
#define EVENT_BYTES_MAX  MIB

/*
 * One connection; while it waits for an answer it has a request. From an upgrade on it is no more the server's and
 * has a websocket.
 */
struct link {
	struct guest *guest;
	uint32_t number;
	uint32_t serial;
	struct http_request *request;
	uint32_t types;
	struct websocket *websocket;
	struct link *next; /* of the watching */
};

struct guest {
	struct loop *loop;
	int channel;
	struct source *messages;
	struct http_server *server;
	struct link *links[DESCRIPTORS_MAX]; /* by the descriptor, while the server has it */
	struct link *watching;
};

static int put(struct guest *guest, const struct guest_message *message)
{
	int r = channel_send(guest->channel, message, sizeof(*message), NULL, 0);
	/* berthd lags or is gone; without its ear there is nothing to do. */
	if (r < 0)
		loop_stop(guest->loop, r == -EPIPE ? 0 : 1);
	return r;
}

static void put_gone(struct guest *guest, uint32_t number)
{
	(void)put(guest,
		&(struct guest_message){
			.version = GUEST_VERSION, .type = GUEST_GONE, .connection = number });
}

static void reply(struct http_request *request, unsigned int status, const char *text)
{
	http_reply_text(request, status, "text/plain; charset=utf-8", alloc_printf("%s\n", text),
		strlen(text) + 1);
}

static void reply_error(struct http_request *request, int code, const struct error *e)
{
	unsigned int status = code == -ENOENT ? 404
		: code == -EACCES             ? 403
		: code == -EOPNOTSUPP         ? 405
					      : 400;
	reply(request, status, e->text);
}

/* -- websockets ------------------------------------------------------------------------------------ */

static void unwatch(struct link *link)
{
	for (struct link **at = &link->guest->watching; *at; at = &(*at)->next) {
		if (*at == link) {
			*at = link->next;
			break;
		}
	}
	websocket_free(link->websocket);
	put_gone(link->guest, link->number);
	free(link);
}

static void watcher_closed(void *data)
{
	unwatch(data);
}

static const struct websocket_calls watcher_calls = { .closed = watcher_closed };

static void watcher_ready(void *data, struct websocket *websocket)
{
	struct link *link = data;
	struct guest *guest = link->guest;
	if (!websocket) {
		put_gone(guest, link->number);
		free(link);
		return;
	}
	link->websocket = websocket;
	link->next = guest->watching;
	guest->watching = link;
	websocket_set_calls(websocket, &watcher_calls, link);
	(void)put(guest,
		&(struct guest_message){ .version = GUEST_VERSION,
			.type = GUEST_WATCH,
			.connection = link->number,
			.value = link->types });
}

static int read_body(const struct guest_message *message, int fd, char **ret)
{
	if (fd < 0 || message->body_bytes > EVENT_BYTES_MAX)
		return -EINVAL;
	char *text = alloc_zeroed(1, (size_t)message->body_bytes + 1);
	int r = file_read_at(fd, text, message->body_bytes, 0);
	if (r < 0)
		free(text);
	else
		*ret = text;
	return r;
}

static void take_event(struct guest *guest, const struct guest_message *message, int fd)
{
	cleanup(free) char *text = NULL;
	struct link *link = guest->watching;
	while (link && link->number != message->connection)
		link = link->next;
	if (!link || read_body(message, fd, &text) < 0)
		return;
	/* Who does not read loses the connection, not an event in the middle. */
	if (websocket_send(link->websocket, true, text, message->body_bytes) < 0)
		unwatch(link);
}

/* -- requests -------------------------------------------------------------------------------------- */

static struct link *link_of(struct guest *guest, const struct http_request *request)
{
	int fd = http_request_socket(request);
	return fd >= 0 && fd < DESCRIPTORS_MAX ? guest->links[fd] : NULL;
}

static int ask(struct link *link, struct http_request *request, struct guest_message *message)
{
	message->connection = link->number;
	message->serial = ++link->serial;
	link->request = request;
	return put(link->guest, message);
}

static void watch(struct link *link, struct http_request *request, uint32_t types)
{
	struct error e = {};
	struct link **place = &link->guest->links[http_request_socket(request)];
	link->types = types;
	*place = NULL;
	int r = websocket_reply(request, watcher_ready, link, &e);
	if (r < 0) {
		*place = link;
		reply_error(request, r, &e);
	}
}

static void on_head(void *data, struct http_request *request)
{
	struct route_result route;
	struct error e = {};
	int r = route_find(http_request_method(request), http_request_path(request),
		http_request_query(request, "type"), &route, &e);
	(void)data;
	if (r < 0)
		reply_error(request, r, &e);
	else if (route.what == ROUTE_STATE)
		http_request_want(request, HTTP_BODY_MEMORY, ROUTE_BODY_MAX);
}

static int state_read(struct http_request *request, struct route_result *route, struct error *e)
{
	size_t length = 0;
	if (http_request_body_error(request) < 0)
		return error_set(e, -EINVAL, "the body is too large");
	const char *body = http_request_body(request, &length);
	return route_state(body ?: "", length, &route->message.value, e);
}

static void on_ready(void *data, struct http_request *request)
{
	struct guest *guest = data;
	struct link *link = link_of(guest, request);
	struct route_result route;
	struct error e = {};
	int r = route_find(http_request_method(request), http_request_path(request),
		http_request_query(request, "type"), &route, &e);
	if (r == 0 && route.what == ROUTE_STATE)
		r = state_read(request, &route, &e);
	if (r < 0)
		reply_error(request, r, &e);
	else if (!link)
		reply(request, 500, "the connection is not known");
	else if (route.what == ROUTE_TEXT)
		http_reply_text(request, 200, "application/json", alloc_text(route.text),
			strlen(route.text));
	else if (route.what == ROUTE_EVENTS)
		watch(link, request, route.message.value);
	else if (ask(link, request, &route.message) < 0)
		reply(request, 503, "the server does not answer");
}

static void on_done(void *data, struct http_request *request)
{
	struct link *link = link_of(data, request);
	if (link && link->request == request)
		link->request = NULL;
}

static void on_closed(void *data, int fd)
{
	struct guest *guest = data;
	if (fd < 0 || fd >= DESCRIPTORS_MAX || !guest->links[fd])
		return;
	struct link *link = TAKE_PTR(guest->links[fd]);
	put_gone(guest, link->number);
	free(link);
}

static const struct http_calls calls = {
	.head = on_head,
	.ready = on_ready,
	.done = on_done,
	.closed = on_closed,
};

/* -- berthd ---------------------------------------------------------------------------------------- */

static void take_answer(struct guest *guest, const struct guest_message *message, int *fd)
{
	struct link *link = NULL;
	for (size_t i = 0; i < DESCRIPTORS_MAX && !link; i++)
		if (guest->links[i] && guest->links[i]->number == message->connection)
			link = guest->links[i];
	/* Its client has gone, or asks something else by now. */
	if (!link || !link->request || link->serial != message->serial)
		return;
	struct http_request *request = TAKE_PTR(link->request);
	bool is_json = message->value;
	if (*fd >= 0)
		http_reply_file(request, message->status,
			is_json ? "application/json" : "text/plain; charset=utf-8", TAKE_FD(*fd), 0,
			message->body_bytes);
	else
		reply(request, message->status,
			message->status == 404           ? "not found"
				: message->status == 403 ? "not authorized"
				: message->status == 429 ? "too many requests"
							 : "");
}

static void take_connection(struct guest *guest, const struct guest_message *message, int *fd)
{
	if (*fd < 0)
		return;
	if (*fd >= DESCRIPTORS_MAX || guest->links[*fd]) {
		put_gone(guest, message->connection);
		return;
	}
	struct link *link = alloc(struct link);
	link->guest = guest;
	link->number = message->connection;
	guest->links[*fd] = link;
	(void)fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) | O_NONBLOCK);
	int number = TAKE_FD(*fd);
	/* If the server does not take it, it is closed without a word. */
	if (!http_server_add(guest->server, number, NULL))
		on_closed(guest, number);
}

static void on_message(void *data, int fd, uint32_t events)
{
	struct guest *guest = data;
	struct guest_message message;
	(void)events;
	for (;;) {
		cleanup(close) int passed = -1;
		size_t fd_count = 1;
		ssize_t length = channel_receive(fd, &message, sizeof(message), &passed, &fd_count);
		if (length == -EAGAIN)
			return;
		if (length <= 0) {
			loop_stop(guest->loop, 0);
			return;
		}
		if (fd_count == 0)
			passed = -1;
		if ((size_t)length != sizeof(message) || message.version != GUEST_VERSION)
			continue;
		if (message.type == GUEST_CONNECTION)
			take_connection(guest, &message, &passed);
		else if (message.type == GUEST_ANSWER)
			take_answer(guest, &message, &passed);
		else if (message.type == GUEST_EVENT)
			take_event(guest, &message, passed);
	}
}

/* No user, no capability, no file, no network, no program. */
static int lock_in(struct error *e)
{
	static const uint16_t system_calls[] = { SYS_read, SYS_write, SYS_readv, SYS_writev,
		SYS_close, SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_sendfile,
		SYS_shutdown, SYS_setsockopt, SYS_getsockopt, SYS_getsockname, SYS_getpeername,
		SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_ctl, SYS_epoll_create1,
		SYS_timerfd_settime, SYS_timerfd_create, SYS_poll, SYS_ppoll, SYS_fcntl, SYS_lseek,
		SYS_fstat, SYS_newfstatat, SYS_pread64, SYS_openat,
		/* of the time zone: there is none */ SYS_mmap, SYS_munmap, SYS_mremap,
		SYS_mprotect, SYS_madvise, SYS_brk, SYS_futex, SYS_clock_gettime, SYS_gettimeofday,
		SYS_getrandom, SYS_getpid, SYS_gettid, SYS_getuid, SYS_rt_sigaction,
		SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_eventfd2, SYS_dup, SYS_restart_syscall,
		SYS_exit, SYS_exit_group, SYS_tgkill, SYS_rseq, SYS_sched_yield };
	struct jail jail = { .empty_namespaces = getuid() == 0 ? CLONE_NEWNS | CLONE_NEWNET : 0,
		.become_nobody = true,
		.drop_capabilities = true,
		.limit_paths = true,
		.system_calls = system_calls,
		.system_call_count = ARRAY_SIZE(system_calls) };
	return jail_enter(&jail, e);
}

int main(int argc, char **argv)
{
	struct guest *guest = alloc(struct guest);
	struct error e = {};
	guest->channel = process_named_fd("channel");
	if (argc > 1 && text_equal(argv[1], "--help")) {
		printf("usage: berth-guest    started by berthd; see berth-guest(8)\n");
		return 0;
	}
	if (argc > 1 || guest->channel < 0) {
		fprintf(stderr, "berth-guest: is started by berthd; see berth-guest(8)\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	(void)fcntl(guest->channel, F_SETFL, fcntl(guest->channel, F_GETFL) | O_NONBLOCK);
	struct http_options options = { .listen_fd = -1,
		.tmp_dir = -1,
		.connection_limit = GUEST_CONNECTIONS_MAX,
		.connection_bytes = CONNECTION_BYTES,
		.head_timeout_ns = HEAD_NS,
		.idle_timeout_ns = IDLE_NS };
	int r = loop_new(&guest->loop, &e);
	if (r == 0)
		r = loop_add_fd(
			guest->loop, guest->channel, EPOLLIN, on_message, guest, &guest->messages);
	if (r == 0)
		r = http_server_new(guest->loop, &options, &calls, guest, &guest->server, &e);
	if (r == 0)
		r = lock_in(&e);
	if (r < 0) {
		log_error("%s", e.text);
		return 1;
	}
	r = loop_run(guest->loop);
	return r < 0 ? 1 : r;
}
