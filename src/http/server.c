/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.c - libmicrohttpd below our loop.
 *
 * Theory of operation. libmicrohttpd keeps its sockets in an epoll descriptor of its own, which is one
 * source of our loop; when it is ready, or the library's own timeout is, run() lets it work. A request
 * that nobody has answered when its handler returns is suspended: the library forgets its socket and we
 * watch it ourselves, only to see the client go. The answer resumes it. After an upgrade the handler
 * owns a duplicate of the socket and the library's half is closed at once, so that a websocket costs
 * nothing here.
 */
#include "http/server.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <string.h>

#include "http/body.h"
#include "http/uri.h"

#define CONNECTION_MEMORY_BYTES 32768
#define STREAM_BLOCK_BYTES      16384
#define HEADERS_MAX             24
#define QUERIES_MAX             32
#define DRAIN_BYTES             MIB /* what is read and dropped so that a refusal arrives in order */

/* A client that is to send a head, or a small body, by `deadline_ns`. */
struct connection {
	int fd;
	bool is_waited_for;
	uint64_t deadline_ns;
	struct tls_peer *peer; /* of a TLS port's connection */
	struct connection *before, *after;
};

struct http_server {
	struct loop *loop;
	struct MHD_Daemon *daemon;
	struct source *ready;
	struct source *timer;
	struct source *deadline_timer;
	struct connection *oldest, *youngest;
	struct http_request *suspended;
	bool is_run_due;
	bool is_closed;
	struct tls_peer *added; /* whose connection is being added now */
	struct http_options options;
	const struct http_calls *calls;
	void *data;
};

struct pair {
	char *name;
	char *value;
};

struct http_request {
	struct http_server *server;
	struct MHD_Connection *connection;
	struct connection *client;
	const char *method;
	const char *path;
	struct pair queries[QUERIES_MAX];
	size_t query_count;
	bool has_bad_query;
	uint64_t length;
	struct body body;
	bool is_ready;
	bool is_suspended;
	bool is_gone;
	struct source *watch;                /* for the client's going while suspended */
	struct http_request *before, *after; /* of the suspended */
	struct pair headers[HEADERS_MAX];
	size_t header_count;
	unsigned int status;
	struct MHD_Response *response;
	bool is_queued;
	http_upgrade_call *upgrade;
	void *upgrade_data;
	void *user;
};

struct stream {
	struct http_request *request;
	int fd;
	struct source *source;
};

/* In the next turn of the loop, not within a call of the library. */
static void run_soon(struct http_server *server)
{
	if (server->is_run_due)
		return;
	server->is_run_due = true;
	timer_set(server->timer, loop_now());
}

static void run(struct http_server *server)
{
	server->is_run_due = false;
	timer_stop(server->timer);
	MHD_run(server->daemon);
	unsigned long long timeout_ms;
	if (server->is_run_due || MHD_get_timeout(server->daemon, &timeout_ms) == MHD_NO)
		return;
	if (timeout_ms == 0)
		run_soon(server);
	else
		timer_set_after(server->timer, timeout_ms * NS_PER_MS);
}

static void on_timer(void *data)
{
	run(data);
}

static void on_ready(void *data, int fd, uint32_t events)
{
	(void)fd, (void)events;
	run(data);
}

/* -- deadlines ------------------------------------------------------------------------------------ */

static void stop_waiting(struct http_server *server, struct connection *client)
{
	if (!client->is_waited_for)
		return;
	client->is_waited_for = false;
	*(client->before ? &client->before->after : &server->oldest) = client->after;
	*(client->after ? &client->after->before : &server->youngest) = client->before;
	client->before = client->after = NULL;
}

static void wait_for(struct http_server *server, struct connection *client)
{
	stop_waiting(server, client);
	client->is_waited_for = true;
	client->deadline_ns = loop_now() + server->options.head_timeout_ns;
	client->before = server->youngest;
	*(server->youngest ? &server->youngest->after : &server->oldest) = client;
	server->youngest = client;
	if (server->oldest == client)
		timer_set(server->deadline_timer, client->deadline_ns);
}

static void on_deadline(void *data)
{
	struct http_server *server = data;
	uint64_t now = loop_now();
	while (server->oldest && server->oldest->deadline_ns <= now) {
		struct connection *client = server->oldest;
		stop_waiting(server, client);
		/* The library sees the end of the stream and drops the connection. */
		shutdown(client->fd, SHUT_RDWR);
	}
	if (server->oldest)
		timer_set(server->deadline_timer, server->oldest->deadline_ns);
}

static void on_connection(void *data, struct MHD_Connection *connection, void **context,
	enum MHD_ConnectionNotificationCode code)
{
	struct http_server *server = data;
	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		struct connection *gone = TAKE_PTR(*context);
		if (gone) {
			if (server->calls->closed)
				server->calls->closed(server->data, gone->fd);
			stop_waiting(server, gone);
			tls_peer_free(gone->peer);
		}
		free(gone);
		return;
	}
	struct connection *client = alloc(struct connection);
	client->peer = TAKE_PTR(server->added);
	client->fd =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	wait_for(server, client);
	*context = client;
}

/* -- requests ------------------------------------------------------------------------------------- */

static enum MHD_Result on_query(
	void *data, enum MHD_ValueKind kind, const char *name, const char *value)
{
	(void)kind;
	struct http_request *request = data;
	struct pair *pair = &request->queries[request->query_count];
	if (request->query_count == QUERIES_MAX ||
		uri_decode(name, strlen(name), &pair->name) < 0) {
		request->has_bad_query = true;
		return MHD_NO;
	}
	if (!value)
		value = "";
	if (uri_decode(value, strlen(value), &pair->value) < 0) {
		free(pair->name);
		pair->name = NULL;
		request->has_bad_query = true;
		return MHD_NO;
	}
	request->query_count++;
	return MHD_YES;
}

static uint64_t body_length(struct MHD_Connection *connection)
{
	const char *text = MHD_lookup_connection_value(
		connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING);
	if (text)
		return UINT64_MAX;
	text = MHD_lookup_connection_value(
		connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
	uint64_t length;
	return text && text_to_u64(text, &length) == 0 ? length : 0;
}

static enum MHD_Result queue(struct http_request *request)
{
	request->is_queued = true;
	return MHD_queue_response(request->connection, request->status, request->response);
}

static enum MHD_Result begin(struct http_server *server, struct MHD_Connection *connection,
	const char *path, const char *method, void **context)
{
	struct http_request *request = alloc(struct http_request);
	*context = request;
	request->server = server;
	request->connection = connection;
	request->client = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
				  ->socket_context;
	request->method = method;
	request->path = path;
	request->length = body_length(connection);
	MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, on_query, request);
	if (request->length == 0)
		stop_waiting(server, request->client);

	server->calls->head(server->data, request);
	/* A refused upload is not read to its end; a refused small body is, to keep the connection. */
	if (request->response && request->length > DRAIN_BYTES) {
		stop_waiting(server, request->client);
		return queue(request);
	}
	if (request->body.mode == HTTP_BODY_FILE)
		stop_waiting(server, request->client);
	return MHD_YES;
}

static void resume(struct http_request *request)
{
	if (!request->is_suspended)
		return;
	request->is_suspended = false;
	source_free(request->watch);
	request->watch = NULL;
	*(request->before ? &request->before->after : &request->server->suspended) = request->after;
	if (request->after)
		request->after->before = request->before;
	request->before = request->after = NULL;
	MHD_resume_connection(request->connection);
	run_soon(request->server);
}

static void on_client_event(void *data, int fd, uint32_t events)
{
	(void)fd, (void)events;
	struct http_request *request = data;
	request->is_gone = true;
	resume(request);
}

static void suspend(struct http_request *request)
{
	struct http_server *server = request->server;
	request->is_suspended = true;
	request->after = server->suspended;
	if (request->after)
		request->after->before = request;
	server->suspended = request;
	MHD_suspend_connection(request->connection);
	if (loop_add_fd(server->loop, request->client->fd, EPOLLRDHUP, on_client_event, request,
		    &request->watch) < 0)
		request->watch = NULL;
}

static enum MHD_Result on_access(void *data, struct MHD_Connection *connection, const char *path,
	const char *method, const char *version, const char *upload, size_t *upload_size,
	void **context)
{
	(void)version;
	struct http_server *server = data;
	struct http_request *request = *context;
	if (!request)
		return begin(server, connection, path, method, context);
	if (request->is_gone)
		return MHD_NO;
	if (*upload_size > 0) {
		body_take(&request->body, upload, *upload_size);
		*upload_size = 0;
		/* Nobody will read the answer of one who goes on and on. */
		bool is_dropped = request->response || request->body.error ||
			request->body.mode == HTTP_BODY_NONE;
		return is_dropped &&
				request->body.taken_bytes >
					request->body.limit_bytes + 16 * DRAIN_BYTES
			? MHD_NO
			: MHD_YES;
	}
	if (!request->is_ready) {
		request->is_ready = true;
		stop_waiting(server, request->client);
		body_end(&request->body);
		if (!request->response)
			server->calls->ready(server->data, request);
	}
	if (request->response)
		return queue(request);
	suspend(request);
	return MHD_YES;
}

static void on_completed(void *data, struct MHD_Connection *connection, void **context,
	enum MHD_RequestTerminationCode code)
{
	(void)connection, (void)code;
	struct http_server *server = data;
	struct http_request *request = *context;
	if (!request)
		return;
	*context = NULL;
	source_free(request->watch);
	if (request->upgrade)
		request->upgrade(request->upgrade_data, -1, NULL, 0);
	else if (!server->is_closed)
		wait_for(server, request->client);
	server->calls->done(server->data, request);
	if (request->response)
		MHD_destroy_response(request->response);
	for (size_t i = 0; i < request->query_count; i++) {
		free(request->queries[i].name);
		free(request->queries[i].value);
	}
	for (size_t i = 0; i < request->header_count; i++) {
		free(request->headers[i].name);
		free(request->headers[i].value);
	}
	body_done(&request->body);
	free(request);
}

/* Path and query reach us as they were sent: a "%2F" in a name is no slash. */
static size_t keep_escapes(void *data, struct MHD_Connection *connection, char *text)
{
	(void)data, (void)connection;
	return strlen(text);
}

int http_server_new(struct loop *loop, const struct http_options *options,
	const struct http_calls *calls, void *data, struct http_server **ret, struct error *e)
{
	struct http_server *server = alloc(struct http_server);
	server->loop = loop;
	server->options = *options;
	server->calls = calls;
	server->data = data;
	server->timer = loop_add_timer(loop, on_timer, server);
	server->deadline_timer = loop_add_timer(loop, on_deadline, server);
	struct MHD_OptionItem listening[] = {
		{ MHD_OPTION_LISTEN_SOCKET, options->listen_fd, NULL },
		{ MHD_OPTION_END, 0, NULL },
	};
	if (options->listen_fd < 0) /* the library refuses the option then */
		listening[0] = listening[1];
	server->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
			MHD_ALLOW_UPGRADE | (options->listen_fd < 0 ? MHD_USE_NO_LISTEN_SOCKET : 0),
		0, NULL, NULL, on_access, server, MHD_OPTION_ARRAY, listening,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)options->connection_limit,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)(options->connection_bytes ?: CONNECTION_MEMORY_BYTES),
		MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned int)(options->idle_timeout_ns / NS_PER_SEC), MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, server, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
		MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_END);
	if (!server->daemon) {
		if (options->listen_fd >= 0)
			close(options->listen_fd);
		http_server_free(server);
		return error_set(e, -ENOMEM, "the HTTP server did not start");
	}
	int fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	int r = loop_add_fd(loop, fd, EPOLLIN, on_ready, server, &server->ready);
	if (r < 0) {
		http_server_free(server);
		return error_code(e, r, "watch the HTTP server");
	}
	/* The listening socket joins the library's epoll only when the library first runs. */
	run_soon(server);
	*ret = server;
	return 0;
}

bool http_server_add(struct http_server *server, int fd, struct tls_peer *peer)
{
	if (server->is_closed) {
		close(fd);
		tls_peer_free(peer);
		return false;
	}
	/* The library calls on_connection() before it returns, or not at all. */
	server->added = peer;
	const struct sockaddr_storage unix_address = { .ss_family = AF_UNIX };
	const struct sockaddr *address =
		(const struct sockaddr *)(peer ? &peer->address : &unix_address);
	socklen_t size = address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
		: address->sa_family == AF_INET         ? sizeof(struct sockaddr_in)
							: sizeof(sa_family_t);
	bool is_taken = MHD_add_connection(server->daemon, fd, address, size) == MHD_YES;
	tls_peer_free(TAKE_PTR(server->added));
	run_soon(server);
	return is_taken;
}

void http_server_close(struct http_server *server)
{
	if (server->is_closed)
		return;
	server->is_closed = true;
	int fd = MHD_quiesce_daemon(server->daemon);
	if (fd >= 0)
		close(fd);
	/* Who has not asked anything yet is not waited for. */
	while (server->oldest) {
		struct connection *client = server->oldest;
		stop_waiting(server, client);
		shutdown(client->fd, SHUT_RDWR);
	}
	run_soon(server);
}

void http_server_free(struct http_server *server)
{
	if (!server)
		return;
	source_free(server->ready);
	if (server->daemon) {
		server->is_closed = true;
		while (server->suspended) {
			server->suspended->is_gone = true;
			resume(server->suspended);
		}
		MHD_stop_daemon(server->daemon);
	}
	source_free(server->timer);
	source_free(server->deadline_timer);
	free(server);
}

void http_request_set_user(struct http_request *request, void *user)
{
	request->user = user;
}

void *http_request_user(const struct http_request *request)
{
	return request->user;
}

const char *http_request_method(const struct http_request *request)
{
	return request->method;
}

const char *http_request_path(const struct http_request *request)
{
	return request->path;
}

bool http_request_has_bad_query(const struct http_request *request)
{
	return request->has_bad_query;
}

const char *http_request_query(const struct http_request *request, const char *name)
{
	for (size_t i = 0; i < request->query_count; i++)
		if (text_equal(request->queries[i].name, name))
			return request->queries[i].value;
	return NULL;
}

const char *http_request_header(const struct http_request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

uint64_t http_request_length(const struct http_request *request)
{
	return request->length;
}

const struct tls_peer *http_request_remote(const struct http_request *request)
{
	return request->client->peer;
}

int http_request_peer(const struct http_request *request, struct ucred *ret)
{
	/* The half of a pair would say that we are there ourselves. */
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	if (request->client->peer || !info || info->client_addr->sa_family != AF_UNIX)
		return -ENOTCONN;
	socklen_t size = sizeof(*ret);
	if (getsockopt(request->client->fd, SOL_SOCKET, SO_PEERCRED, ret, &size) < 0)
		return -errno;
	return ret->uid == (uid_t)-1 ? -ENOTCONN : 0;
}

int http_request_socket(const struct http_request *request)
{
	return request->client->fd;
}

struct loop *http_request_loop(const struct http_request *request)
{
	return request->server->loop;
}

void http_request_want(struct http_request *request, enum http_body body, uint64_t limit_bytes)
{
	body_start(&request->body, request->connection, body, limit_bytes,
		request->server->options.tmp_dir);
}

int http_request_body_error(const struct http_request *request)
{
	return request->body.error;
}

const char *http_request_body(const struct http_request *request, size_t *ret_length)
{
	*ret_length = request->body.text.length;
	return text_str(&request->body.text);
}

size_t http_request_part_count(const struct http_request *request)
{
	return request->body.part_count;
}

struct http_part *http_request_part(struct http_request *request, size_t index)
{
	return index < request->body.part_count ? &request->body.parts[index] : NULL;
}

/* -- answers -------------------------------------------------------------------------------------- */

void http_reply_header(struct http_request *request, const char *name, const char *value)
{
	if (request->header_count == HEADERS_MAX || strpbrk(value, "\r\n"))
		return;
	request->headers[request->header_count++] = (struct pair){
		.name = alloc_text(name),
		.value = alloc_text(value),
	};
}

bool http_request_is_answered(const struct http_request *request)
{
	return request->response != NULL;
}

/* Takes `response`. */
static void answer(struct http_request *request, unsigned int status, const char *type,
	struct MHD_Response *response)
{
	assert(response && !request->response);
	request->status = status;
	request->response = response;
	if (type)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	for (size_t i = 0; i < request->header_count; i++)
		MHD_add_response_header(
			response, request->headers[i].name, request->headers[i].value);
	resume(request);
}

void http_reply_text(struct http_request *request, unsigned int status, const char *type,
	char *body, size_t length)
{
	answer(request, status, type,
		MHD_create_response_from_buffer(length, body, MHD_RESPMEM_MUST_FREE));
}

void http_reply_file(struct http_request *request, unsigned int status, const char *type, int fd,
	uint64_t offset, uint64_t length)
{
	answer(request, status, type, MHD_create_response_from_fd_at_offset64(length, fd, offset));
}

static void on_stream_ready(void *data, int fd, uint32_t events)
{
	(void)fd, (void)events;
	struct stream *stream = data;
	source_free(stream->source);
	stream->source = NULL;
	resume(stream->request);
}

static ssize_t read_stream(void *data, uint64_t position, char *buffer, size_t size)
{
	(void)position;
	struct stream *stream = data;
	ssize_t got;
	do
		got = read(stream->fd, buffer, size);
	while (got < 0 && errno == EINTR);
	if (got > 0)
		return got;
	if (got == 0)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (errno != EAGAIN || stream->request->is_gone)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (loop_add_fd(stream->request->server->loop, stream->fd, EPOLLIN, on_stream_ready, stream,
		    &stream->source) < 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	suspend(stream->request);
	return 0;
}

static void free_stream(void *data)
{
	struct stream *stream = data;
	source_free(stream->source);
	close(stream->fd);
	free(stream);
}

void http_reply_stream(struct http_request *request, unsigned int status, const char *type, int fd)
{
	struct stream *stream = alloc(struct stream);
	stream->request = request;
	stream->fd = fd;
	int flags = fcntl(fd, F_GETFL);
	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	answer(request, status, type,
		MHD_create_response_from_callback(
			MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_stream, stream, free_stream));
}

static void on_upgrade(void *data, struct MHD_Connection *connection, void *context,
	const char *early, size_t early_length, MHD_socket socket,
	struct MHD_UpgradeResponseHandle *handle)
{
	(void)connection, (void)context;
	struct http_request *request = data;
	http_upgrade_call *call = TAKE_PTR(request->upgrade);
	int fd = fcntl(socket, F_DUPFD_CLOEXEC, 3);
	call(request->upgrade_data, fd, early, early_length);
	MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
	run_soon(request->server);
}

void http_reply_upgrade(
	struct http_request *request, const char *protocol, http_upgrade_call *call, void *data)
{
	request->upgrade = call;
	request->upgrade_data = data;
	struct MHD_Response *response = MHD_create_response_for_upgrade(on_upgrade, request);
	assert(response);
	MHD_add_response_header(response, MHD_HTTP_HEADER_UPGRADE, protocol);
	answer(request, MHD_HTTP_SWITCHING_PROTOCOLS, NULL, response);
}
