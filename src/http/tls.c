/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls.c - TLS by GnuTLS between a TCP socket and one half of a socket pair.
 *
 * Theory of operation. The HTTP server, its upgrades and the files and programs behind them want a plain
 * socket that they may hand on. So TLS ends here: what comes is decrypted into the pair, what the other
 * half writes is encrypted. Each direction holds at most one block, and a side is read only while the
 * block is empty: back-pressure passes through. When the plain half has ended, what the client still
 * sends is read and dropped for a moment, so that the last answer is not lost in a reset.
 */
#include "http/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCK_BYTES 16384 /* of a TLS record */
#define LINGER_NS   (2 * NS_PER_SEC)
#define ACCEPT_MAX  64 /* in one turn of the loop */

#define KEEPALIVE_IDLE_S  60
#define KEEPALIVE_AGAIN_S 20
#define KEEPALIVE_TRIES   3

struct block {
	char *bytes;
	size_t length, at;
};

struct tls_connection {
	struct tls_server *server;
	int fd, plain;
	gnutls_session_t session;
	struct source *fd_source, *plain_source, *timer;
	uint32_t fd_events, plain_events;
	struct tls_peer *peer; /* until it is handed on */
	struct block in, out;
	bool is_shaken;
	bool is_input_over;  /* the client said its last */
	bool is_output_over; /* the plain half has */
	struct tls_connection *before, *after;
};

struct tls_server {
	struct loop *loop;
	struct tls_options options;
	struct source *listen_source;
	gnutls_certificate_credentials_t credentials;
	gnutls_priority_t priority;
	struct tls_connection *connections;
	uint32_t count;
};

void tls_peer_free(struct tls_peer *peer)
{
	if (!peer)
		return;
	free(peer->certificate);
	free(peer);
}

static void drop(struct tls_connection *connection)
{
	struct tls_server *server = connection->server;
	*(connection->before ? &connection->before->after : &server->connections) =
		connection->after;
	if (connection->after)
		connection->after->before = connection->before;
	server->count--;
	source_free(connection->fd_source);
	source_free(connection->plain_source);
	source_free(connection->timer);
	if (connection->session)
		gnutls_deinit(connection->session);
	if (connection->plain >= 0)
		close(connection->plain);
	close(connection->fd);
	tls_peer_free(connection->peer);
	free(connection->in.bytes);
	free(connection->out.bytes);
	free(connection);
}

static void on_timeout(void *data)
{
	drop(data);
}

static int is_again(ssize_t r)
{
	return r == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED;
}

/* -- after the handshake -------------------------------------------------------------------------- */

static bool has_rest(const struct block *block)
{
	return block->at < block->length;
}

/* Each returns -1 if the connection is broken. */

/* The rest of what was decrypted, to the plain half. */
static int write_plain(struct tls_connection *connection)
{
	struct block *in = &connection->in;
	while (has_rest(in)) {
		ssize_t put = send(
			connection->plain, in->bytes + in->at, in->length - in->at, MSG_NOSIGNAL);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN)
			return 0;
		if (put < 0)
			/* Nobody reads any more: what still comes is dropped. */
			put = (ssize_t)(in->length - in->at);
		in->at += (size_t)put;
	}
	return 0;
}

static int pump_in(struct tls_connection *connection)
{
	struct block *in = &connection->in;
	write_plain(connection);
	while (!connection->is_input_over && !has_rest(in)) {
		ssize_t got = gnutls_record_recv(connection->session, in->bytes, BLOCK_BYTES);
		if (got == 0) {
			connection->is_input_over = true;
			shutdown(connection->plain, SHUT_WR);
			break;
		}
		if (is_again(got))
			break;
		if (got < 0 && gnutls_error_is_fatal((int)got))
			return -1;
		/* TLS 1.2 may ask for another handshake: no. */
		if (got < 0)
			continue;
		in->length = (size_t)got;
		in->at = 0;
		write_plain(connection);
	}
	return 0;
}

/* -EAGAIN if the socket takes no more now. */
static int write_record(struct tls_connection *connection)
{
	struct block *out = &connection->out;
	while (has_rest(out)) {
		ssize_t put = gnutls_record_send(
			connection->session, out->bytes + out->at, out->length - out->at);
		if (is_again(put))
			return -EAGAIN;
		if (put < 0)
			return -EIO;
		out->at += (size_t)put;
	}
	return 0;
}

static int pump_out(struct tls_connection *connection)
{
	struct block *out = &connection->out;
	while (!connection->is_output_over) {
		int r = write_record(connection);
		if (r < 0)
			return r == -EAGAIN ? 0 : -1;
		ssize_t got = read(connection->plain, out->bytes, BLOCK_BYTES);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return 0;
		if (got > 0) {
			out->length = (size_t)got;
			out->at = 0;
			continue;
		}
		connection->is_output_over = true;
		if (gnutls_bye(connection->session, GNUTLS_SHUT_WR) < 0 ||
			connection->is_input_over)
			return -1;
		shutdown(connection->fd, SHUT_WR);
		timer_set_after(connection->timer, LINGER_NS);
	}
	return connection->is_input_over ? -1 : 0;
}

static int watch(struct tls_connection *connection)
{
	uint32_t wanted = 0;
	if (!connection->is_input_over && !has_rest(&connection->in))
		wanted |= EPOLLIN;
	if (has_rest(&connection->out))
		wanted |= EPOLLOUT;
	if (wanted != connection->fd_events && source_set_events(connection->fd_source, wanted) < 0)
		return -1;
	connection->fd_events = wanted;
	wanted = 0;
	if (!connection->is_output_over && !has_rest(&connection->out))
		wanted |= EPOLLIN;
	if (has_rest(&connection->in))
		wanted |= EPOLLOUT;
	/* A half that hung up would be told of again and again. */
	if (connection->is_output_over) {
		source_free(TAKE_PTR(connection->plain_source));
		return 0;
	}
	if (wanted != connection->plain_events &&
		source_set_events(connection->plain_source, wanted) < 0)
		return -1;
	connection->plain_events = wanted;
	return 0;
}

static void pump(struct tls_connection *connection)
{
	if (pump_in(connection) < 0 || pump_out(connection) < 0 || watch(connection) < 0)
		drop(connection);
}

static void on_plain(void *data, int fd, uint32_t events)
{
	(void)fd, (void)events;
	pump(data);
}

/* -- the handshake -------------------------------------------------------------------------------- */

/* What the client showed; a certificate of another time is as good as none. */
static void read_peer(struct tls_connection *connection)
{
	unsigned int count = 0;
	const gnutls_datum_t *list = gnutls_certificate_get_peers(connection->session, &count);
	cleanup(certificate_done) struct certificate certificate = {};
	uint64_t now_s = (uint64_t)time(NULL);
	if (!list || count == 0 ||
		certificate_read(list[0].data, list[0].size, &certificate, NULL) < 0 ||
		certificate.from_s > now_s || certificate.until_s < now_s)
		return;
	struct tls_peer *peer = connection->peer;
	peer->certificate = TAKE_PTR(certificate.pem);
	memcpy(peer->fingerprint, certificate.fingerprint, sizeof(peer->fingerprint));
}

static int hand_on(struct tls_connection *connection)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -1;
	connection->plain = pair[0];
	connection->is_shaken = true;
	timer_stop(connection->timer);
	read_peer(connection);
	connection->in.bytes = alloc_array(BLOCK_BYTES, char);
	connection->out.bytes = alloc_array(BLOCK_BYTES, char);
	connection->plain_events = EPOLLIN;
	struct tls_server *server = connection->server;
	if (loop_add_fd(server->loop, connection->plain, EPOLLIN, on_plain, connection,
		    &connection->plain_source) < 0) {
		close(pair[1]);
		return -1;
	}
	server->options.accepted(server->options.data, pair[1], TAKE_PTR(connection->peer));
	return 0;
}

static int shake(struct tls_connection *connection)
{
	int r = gnutls_handshake(connection->session);
	if (r == 0)
		return hand_on(connection);
	if (r < 0 && gnutls_error_is_fatal(r))
		return -1;
	uint32_t wanted = gnutls_record_get_direction(connection->session) ? EPOLLOUT : EPOLLIN;
	if (wanted != connection->fd_events && source_set_events(connection->fd_source, wanted) < 0)
		return -1;
	connection->fd_events = wanted;
	return 0;
}

static void on_fd(void *data, int fd, uint32_t events)
{
	(void)fd, (void)events;
	struct tls_connection *connection = data;
	if (!connection->is_shaken && shake(connection) < 0) {
		drop(connection);
		return;
	}
	if (connection->is_shaken)
		pump(connection);
}

static int open_session(struct tls_connection *connection)
{
	static const gnutls_datum_t http11 = { (unsigned char *)(uintptr_t) "http/1.1", 8 };
	struct tls_server *server = connection->server;
	int r = gnutls_init(&connection->session,
		GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS);
	if (r == 0)
		r = gnutls_priority_set(connection->session, server->priority);
	if (r == 0)
		r = gnutls_credentials_set(
			connection->session, GNUTLS_CRD_CERTIFICATE, server->credentials);
	if (r == 0)
		r = gnutls_alpn_set_protocols(connection->session, &http11, 1, 0);
	if (r < 0)
		return r;
	gnutls_certificate_server_set_request(connection->session, GNUTLS_CERT_REQUEST);
	gnutls_transport_set_int(connection->session, connection->fd);
	gnutls_handshake_set_timeout(connection->session, GNUTLS_INDEFINITE_TIMEOUT);
	return 0;
}

static void begin(struct tls_server *server, int fd, const struct sockaddr_storage *address)
{
	struct tls_connection *connection = alloc(struct tls_connection);
	connection->server = server;
	connection->fd = fd;
	connection->plain = -1;
	connection->fd_events = EPOLLIN;
	connection->peer = alloc(struct tls_peer);
	connection->peer->address = *address;
	connection->after = server->connections;
	if (connection->after)
		connection->after->before = connection;
	server->connections = connection;
	server->count++;
	connection->timer = loop_add_timer(server->loop, on_timeout, connection);
	timer_set_after(connection->timer, server->options.handshake_timeout_ns);
	int on = 1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* One that went without a word, as a server whose power was cut, is missed after some minutes. */
	int idle = KEEPALIVE_IDLE_S, again = KEEPALIVE_AGAIN_S, tries = KEEPALIVE_TRIES;
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &again, sizeof(again));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof(tries));
	if (open_session(connection) < 0 ||
		loop_add_fd(server->loop, fd, EPOLLIN, on_fd, connection, &connection->fd_source) <
			0)
		drop(connection);
}

static void on_listen(void *data, int fd, uint32_t events)
{
	(void)events;
	struct tls_server *server = data;
	for (size_t i = 0; i < ACCEPT_MAX; i++) {
		struct sockaddr_storage address = {};
		socklen_t size = sizeof(address);
		int got = accept4(
			fd, (struct sockaddr *)&address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (got < 0)
			return;
		if (server->count >= server->options.connection_limit)
			close(got);
		else
			begin(server, got, &address);
	}
}

int tls_server_new(struct loop *loop, const struct tls_options *options, struct tls_server **ret,
	struct error *e)
{
	struct tls_server *server = alloc(struct tls_server);
	server->loop = loop;
	server->options = *options;
	const gnutls_datum_t certificate = { (unsigned char *)(uintptr_t)options->certificate,
		(unsigned int)strlen(options->certificate) };
	const gnutls_datum_t key = { (unsigned char *)(uintptr_t)options->key,
		(unsigned int)strlen(options->key) };
	int r = gnutls_certificate_allocate_credentials(&server->credentials);
	if (r == 0)
		r = gnutls_certificate_set_x509_key_mem(
			server->credentials, &certificate, &key, GNUTLS_X509_FMT_PEM);
	if (r >= 0)
		r = gnutls_priority_init(
			&server->priority, "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2", NULL);
	if (r < 0) {
		tls_server_free(server);
		return error_set(e, -EINVAL, "TLS: %s", gnutls_strerror(r));
	}
	server->options.certificate = server->options.key = NULL;
	r = loop_add_fd(
		loop, options->listen_fd, EPOLLIN, on_listen, server, &server->listen_source);
	if (r < 0) {
		tls_server_free(server);
		return error_code(e, r, "watch the TLS port");
	}
	*ret = server;
	return 0;
}

void tls_server_stop(struct tls_server *server)
{
	if (!server || server->options.listen_fd < 0)
		return;
	source_free(TAKE_PTR(server->listen_source));
	close(TAKE_FD(server->options.listen_fd));
}

uint32_t tls_server_count(const struct tls_server *server)
{
	return server->count;
}

void tls_server_free(struct tls_server *server)
{
	if (!server)
		return;
	while (server->connections)
		drop(server->connections);
	tls_server_stop(server);
	if (server->priority)
		gnutls_priority_deinit(server->priority);
	if (server->credentials)
		gnutls_certificate_free_credentials(server->credentials);
	free(server);
}
