/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy.c - moves the bytes of a proxy, in a process that can do nothing else.
 *
 * Theory of operation. Sockets that listen are made first, and the process that connects is started on the
 * other side; then this one gives up everything: it has no file system, no network, no user, only descriptors.
 * A stream is two sockets and what one did not take yet; a side is read only when the other has taken all, so
 * that nobody fills our memory. Packets of one sender belong to one socket until nothing came for a minute. It
 * ends when the instance ends, whatever became of the daemon.
 */
#include "container/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "abi/runner.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/text.h"
#include "container/aside.h"
#include "container/plan.h"
#include "container/proxy_side.h"
#include "host/jail.h"
#include "host/process.h"
#include "model/json.h"

#define BLOCK_BYTES  65536
#define PACKET_BYTES 65536
#define STREAMS_MAX  8192
#define FLOWS_MAX    1024
#define FLOW_IDLE_NS (60 * NS_PER_SEC)
#define SWEEP_NS     (10 * NS_PER_SEC)
#define FULL_NS      (100 * NS_PER_MS)

struct proxy;

/* What one side of a stream sent and the other has not taken; allocated only while there is something. */
struct rest {
	char *bytes;
	size_t length, at;
	bool is_over; /* nothing more comes from this side */
};

struct stream {
	struct proxy *proxy;
	int fd[2];
	struct source *source[2];
	uint32_t events[2];
	struct rest from[2];
	bool is_connecting; /* side 1 */
};

struct flow {
	struct proxy *proxy;
	size_t listener;
	struct sockaddr_storage sender;
	socklen_t sender_size;
	int fd;
	struct source *source;
	uint64_t used_ns;
	struct flow *next;
};

struct listener {
	struct proxy *proxy;
	size_t index;
	int fd;
	struct source *source;
};

struct proxy {
	struct loop *loop;
	struct proxy_request request;
	struct listener listeners[PROXY_PORTS_MAX];
	size_t listener_count;
	int connector;
	struct source *timer, *end;
	struct flow *flows;
	size_t flow_count, stream_count;
	bool is_full;
	char block[BLOCK_BYTES];
};

/* -- streams -------------------------------------------------------------------------------------- */

static void drop(struct stream *stream)
{
	for (int i = 0; i < 2; i++) {
		source_free(stream->source[i]);
		close(stream->fd[i]);
		free(stream->from[i].bytes);
	}
	stream->proxy->stream_count--;
	free(stream);
}

/* Towards the other side of `side`; -1 if the stream is broken. */
static int flush(struct stream *stream, int side)
{
	struct rest *rest = &stream->from[side];
	while (rest->at < rest->length) {
		ssize_t put = send(stream->fd[!side], rest->bytes + rest->at,
			rest->length - rest->at, MSG_NOSIGNAL);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return errno == EAGAIN ? 0 : -1;
		rest->at += (size_t)put;
	}
	free(rest->bytes);
	rest->bytes = NULL;
	rest->length = rest->at = 0;
	if (rest->is_over && shutdown(stream->fd[!side], SHUT_WR) < 0 && errno != ENOTCONN)
		return -1;
	return 0;
}

static int move(struct stream *stream, int side)
{
	struct rest *rest = &stream->from[side];
	char *block = stream->proxy->block;
	if (rest->is_over || rest->length)
		return 0;
	ssize_t got;
	do
		got = recv(stream->fd[side], block, BLOCK_BYTES, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? 0 : -1;
	rest->is_over = got == 0;
	size_t at = 0;
	while (at < (size_t)got) {
		ssize_t put = send(stream->fd[!side], block + at, (size_t)got - at, MSG_NOSIGNAL);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno != EAGAIN)
			return -1;
		if (put < 0)
			break;
		at += (size_t)put;
	}
	if (at < (size_t)got) {
		rest->length = (size_t)got - at;
		rest->bytes = alloc_array(rest->length, char);
		memcpy(rest->bytes, block + at, rest->length);
		return 0;
	}
	return flush(stream, side);
}

static int watch(struct stream *stream)
{
	for (int i = 0; i < 2; i++) {
		uint32_t wanted = 0;
		if (!stream->is_connecting && !stream->from[i].is_over && !stream->from[i].length)
			wanted |= EPOLLIN;
		if (stream->from[!i].length || (stream->is_connecting && i == 1))
			wanted |= EPOLLOUT;
		if (wanted != stream->events[i] && stream->source[i] &&
			source_set_events(stream->source[i], wanted) < 0)
			return -1;
		stream->events[i] = wanted;
	}
	return 0;
}

static bool is_over(const struct stream *stream)
{
	return stream->from[0].is_over && stream->from[1].is_over && !stream->from[0].length &&
		!stream->from[1].length;
}

static int go_on(struct stream *stream)
{
	if (stream->is_connecting) {
		int code = 0;
		socklen_t size = sizeof(code);
		struct sockaddr_storage peer;
		socklen_t peer_size = sizeof(peer);
		if (getsockopt(stream->fd[1], SOL_SOCKET, SO_ERROR, &code, &size) < 0 || code)
			return -1;
		if (getpeername(stream->fd[1], (struct sockaddr *)&peer, &peer_size) < 0)
			return errno == ENOTCONN ? watch(stream) : -1;
		stream->is_connecting = false;
	}
	for (int i = 0; i < 2; i++)
		if (flush(stream, i) < 0 || move(stream, i) < 0)
			return -1;
	return is_over(stream) ? -1 : watch(stream);
}

/* A side that is gone says so without end. What it sent is delivered yet, what was for it is not. */
static int leave(struct stream *stream, int side)
{
	struct rest *rest = &stream->from[!side];
	source_free(TAKE_PTR(stream->source[side]));
	free(rest->bytes);
	*rest = (struct rest){ .is_over = true };
	return is_over(stream) ? -1 : watch(stream);
}

static void on_stream(void *data, int fd, uint32_t events)
{
	struct stream *stream = data;
	int side = fd == stream->fd[1];
	/* Both directions are gone at once. */
	bool is_broken = (events & EPOLLERR) && !stream->is_connecting;
	int r = is_broken ? -1 : go_on(stream);
	if (r == 0 && (events & EPOLLHUP) && !stream->is_connecting && stream->from[side].is_over)
		r = leave(stream, side);
	if (r < 0)
		drop(stream);
}

static void add_header(struct stream *stream)
{
	char text[128] = "PROXY UNKNOWN\r\n", from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
	struct sockaddr_storage ends[2];
	socklen_t sizes[2] = { sizeof(ends[0]), sizeof(ends[1]) };
	if (getpeername(stream->fd[0], (struct sockaddr *)&ends[0], &sizes[0]) == 0 &&
		getsockname(stream->fd[0], (struct sockaddr *)&ends[1], &sizes[1]) == 0) {
		const struct sockaddr_in *four = (const void *)ends;
		const struct sockaddr_in *four_to = (const void *)&ends[1];
		const struct sockaddr_in6 *six = (const void *)ends;
		const struct sockaddr_in6 *six_to = (const void *)&ends[1];
		if (ends[0].ss_family == AF_INET &&
			inet_ntop(AF_INET, &four->sin_addr, from, sizeof(from)) &&
			inet_ntop(AF_INET, &four_to->sin_addr, to, sizeof(to)))
			snprintf(text, sizeof(text), "PROXY TCP4 %s %s %u %u\r\n", from, to,
				ntohs(four->sin_port), ntohs(four_to->sin_port));
		else if (ends[0].ss_family == AF_INET6 &&
			inet_ntop(AF_INET6, &six->sin6_addr, from, sizeof(from)) &&
			inet_ntop(AF_INET6, &six_to->sin6_addr, to, sizeof(to)))
			snprintf(text, sizeof(text), "PROXY TCP6 %s %s %u %u\r\n", from, to,
				ntohs(six->sin6_port), ntohs(six_to->sin6_port));
	}
	stream->from[0].bytes = alloc_text(text);
	stream->from[0].length = strlen(text);
}

static void set_usual(const struct proxy_request *request, const int fds[2])
{
	int on = 1;
	const enum proxy_protocol protocols[] = { request->listen.protocol,
		request->connect.protocol };
	for (int i = 0; i < 2; i++) {
		if (protocols[i] != PROXY_TCP)
			continue;
		(void)setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		(void)setsockopt(fds[i], SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	}
}

/* Takes `fd`. */
static void begin(struct listener *listener, int fd)
{
	struct proxy *proxy = listener->proxy;
	int to = proxy_connect(proxy->connector, (uint32_t)listener->index);
	if (to < 0) {
		close(fd);
		return;
	}
	struct stream *stream = alloc(struct stream);
	*stream = (struct stream){
		.proxy = proxy,
		.fd = { fd, to },
		.is_connecting = true,
		.events = { 0, EPOLLOUT },
	};
	proxy->stream_count++;
	set_usual(&proxy->request, stream->fd);
	if (proxy->request.has_header)
		add_header(stream);
	for (int i = 0; i < 2; i++)
		if (loop_add_fd(proxy->loop, stream->fd[i], stream->events[i], on_stream, stream,
			    &stream->source[i]) < 0) {
			drop(stream);
			return;
		}
}

/* -- packets -------------------------------------------------------------------------------------- */

static void forget(struct flow *flow)
{
	struct flow **at = &flow->proxy->flows;
	while (*at != flow)
		at = &(*at)->next;
	*at = flow->next;
	flow->proxy->flow_count--;
	source_free(flow->source);
	close(flow->fd);
	free(flow);
}

static void on_reply(void *data, int fd, uint32_t events)
{
	struct flow *flow = data;
	(void)events;
	ssize_t got = recv(fd, flow->proxy->block, PACKET_BYTES, MSG_DONTWAIT);
	if (got < 0 && errno != EAGAIN && errno != EINTR) {
		forget(flow);
		return;
	}
	if (got < 0)
		return;
	flow->used_ns = loop_now();
	(void)sendto(flow->proxy->listeners[flow->listener].fd, flow->proxy->block, (size_t)got,
		MSG_DONTWAIT, (const struct sockaddr *)&flow->sender, flow->sender_size);
}

static struct flow *flow_of(
	struct listener *listener, const struct sockaddr_storage *sender, socklen_t size)
{
	struct proxy *proxy = listener->proxy;
	struct flow *oldest = NULL;
	for (struct flow *flow = proxy->flows; flow; flow = flow->next) {
		if (flow->listener == listener->index && flow->sender_size == size &&
			memcmp(&flow->sender, sender, size) == 0)
			return flow;
		if (!oldest || flow->used_ns < oldest->used_ns)
			oldest = flow;
	}
	if (proxy->flow_count >= FLOWS_MAX)
		forget(oldest);
	int fd = proxy_connect(proxy->connector, (uint32_t)listener->index);
	if (fd < 0)
		return NULL;
	struct flow *flow = alloc(struct flow);
	*flow = (struct flow){ .proxy = proxy,
		.listener = listener->index,
		.sender = *sender,
		.sender_size = size,
		.fd = fd,
		.next = proxy->flows };
	proxy->flows = flow;
	proxy->flow_count++;
	if (loop_add_fd(proxy->loop, fd, EPOLLIN, on_reply, flow, &flow->source) == 0)
		return flow;
	forget(flow);
	return NULL;
}

static void on_packet(struct listener *listener)
{
	struct proxy *proxy = listener->proxy;
	struct sockaddr_storage sender = {};
	socklen_t size = sizeof(sender);
	ssize_t got = recvfrom(listener->fd, proxy->block, PACKET_BYTES, MSG_DONTWAIT,
		(struct sockaddr *)&sender, &size);
	struct flow *flow = got < 0 ? NULL : flow_of(listener, &sender, size);
	if (!flow)
		return;
	flow->used_ns = loop_now();
	(void)send(flow->fd, proxy->block, (size_t)got, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* -- the whole ------------------------------------------------------------------------------------ */

static void set_listening(struct proxy *proxy, bool is_on)
{
	proxy->is_full = !is_on;
	for (size_t i = 0; i < proxy->listener_count; i++)
		(void)!source_set_events(proxy->listeners[i].source, is_on ? EPOLLIN : 0);
}

static void on_timer(void *data)
{
	struct proxy *proxy = data;
	uint64_t now = loop_now();
	if (proxy->is_full && proxy->stream_count < STREAMS_MAX)
		set_listening(proxy, true);
	for (struct flow *flow = proxy->flows, *next; flow; flow = next) {
		next = flow->next;
		if (now - flow->used_ns > FLOW_IDLE_NS)
			forget(flow);
	}
	timer_set_after(proxy->timer, proxy->is_full ? FULL_NS : SWEEP_NS);
}

static void on_listen(void *data, int fd, uint32_t events)
{
	struct listener *listener = data;
	struct proxy *proxy = listener->proxy;
	(void)events;
	if (proxy->request.listen.protocol == PROXY_UDP) {
		on_packet(listener);
		return;
	}
	int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (got >= 0)
		begin(listener, got);
	/* Out of descriptors: who waits is served when others have gone. */
	bool is_out = got < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM);
	if (is_out || proxy->stream_count >= STREAMS_MAX) {
		set_listening(proxy, false);
		timer_set_after(proxy->timer, FULL_NS);
	}
}

static void on_end(void *data, int fd, uint32_t events)
{
	struct proxy *proxy = data;
	(void)fd, (void)events;
	loop_stop(proxy->loop, 0);
}

static int read_u32(const json_t *object, const char *field, uint32_t *ret, struct error *e)
{
	uint64_t value = *ret;
	int r = json_read_u64(object, "", field, &value, e);
	if (r == 0 && value > UINT32_MAX)
		r = error_set(e, -EINVAL, "%s: too large", field);
	*ret = (uint32_t)value;
	return r;
}

static int read_request(const json_t *json, struct proxy_request *ret, struct error *e)
{
	static const char *const known[] = { "file", "listen", "connect", "inside", "header",
		"mode", "uid", "gid", "run_as_uid", "run_as_gid", NULL };
	const char *listen = NULL, *connect = NULL;
	ret->mode = 0644;
	int r = json_read_known(json, "", known, e);
	if (r == 0)
		r = json_require_text(json, "", "file", &ret->file, e);
	if (r == 0)
		r = json_require_text(json, "", "listen", &listen, e);
	if (r == 0)
		r = json_require_text(json, "", "connect", &connect, e);
	if (r == 0)
		r = json_read_bool(json, "", "inside", &ret->listens_inside, e);
	if (r == 0)
		r = json_read_bool(json, "", "header", &ret->has_header, e);
	if (r == 0)
		r = read_u32(json, "mode", &ret->mode, e);
	if (r == 0)
		r = read_u32(json, "uid", &ret->uid, e);
	if (r == 0)
		r = read_u32(json, "gid", &ret->gid, e);
	if (r == 0)
		r = read_u32(json, "run_as_uid", &ret->run_as_uid, e);
	if (r == 0)
		r = read_u32(json, "run_as_gid", &ret->run_as_gid, e);
	if (r == 0)
		r = proxy_address_parse(listen, &ret->listen, e);
	if (r == 0)
		r = proxy_address_parse(connect, &ret->connect, e);
	if (r == 0)
		r = proxy_check_pair(&ret->listen, &ret->connect, e);
	return r;
}

/* The lock says that we live, and who we are; the text what we do. It stays open for good. */
static int take_file(int dir, const char *name, const json_t *json, struct error *e)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	cleanup(free) char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_errno(e, "open %s", name);
	if (fcntl(fd, F_SETLK, &lock) < 0)
		return error_errno(e, "lock %s", name);
	if (ftruncate(fd, 0) < 0 || file_write_all(fd, text, strlen(text)) < 0)
		return error_errno(e, "write %s", name);
	return 0;
}

static int jail(struct error *e)
{
	static const struct jail jail = { .empty_namespaces =
						  CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC,
		.become_nobody = true,
		.drop_capabilities = true,
		.limit_paths = true };
	return jail_enter(&jail, e);
}

static int prepare(struct proxy *proxy, const json_t *json, int pidfd, struct error *e)
{
	cleanup(close) int dir = process_named_fd("dir");
	cleanup(container_free) struct container *container = NULL;
	int fds[PROXY_PORTS_MAX];
	if (dir < 0 || pidfd < 0)
		return error_set(e, -EINVAL, "the descriptors dir and pidfd are wanted");
	int r = read_request(json, &proxy->request, e);
	if (r == 0)
		r = plan_read_file(dir, RUNNER_PLAN_FILE, &container, e);
	if (r == 0)
		r = take_file(dir, proxy->request.file, json, e);
	if (r == 0)
		r = proxy_start_connector(&proxy->request, container, pidfd, &proxy->connector, e);
	if (r == 0)
		r = proxy_listen(&proxy->request, container, pidfd, fds, &proxy->listener_count, e);
	if (r == 0)
		r = jail(e);
	if (r == 0)
		r = loop_new(&proxy->loop, e);
	for (size_t i = 0; r == 0 && i < proxy->listener_count; i++) {
		struct listener *listener = &proxy->listeners[i];
		*listener = (struct listener){ proxy, i, fds[i], NULL };
		r = loop_add_fd(
			proxy->loop, fds[i], EPOLLIN, on_listen, listener, &listener->source);
	}
	if (r == 0)
		r = loop_add_fd(proxy->loop, pidfd, EPOLLIN, on_end, proxy, &proxy->end);
	return r;
}

int proxy_main(void)
{
	struct error e = {};
	cleanup(json_decref) json_t *json = NULL;
	struct proxy *proxy = alloc(struct proxy);
	int channel = process_named_fd("channel"), pidfd = process_named_fd("pidfd");
	if (channel < 0) {
		log_error("proxy: the descriptor channel is wanted");
		free(proxy);
		return 2;
	}
	int r = aside_request(&json, &e);
	if (r == 0)
		r = prepare(proxy, json, pidfd, &e);
	aside_answer(channel, r, &e);
	close(channel);
	if (r == 0) {
		proxy->timer = loop_add_timer(proxy->loop, on_timer, proxy);
		timer_set_after(proxy->timer, SWEEP_NS);
		r = loop_run(proxy->loop);
	}
	/* All that is left goes with the process. */
	return r < 0 ? 1 : 0;
}
