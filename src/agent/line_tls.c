/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line_tls.c - OpenSSL does TLS; that the server is the right one is said by its certificate, whole, and by nothing
 * else: no name, no authority, no date.
 */
#include "agent/line_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_SECONDS 15
#define HEAD_MAX       4096
#define BLOCK_BYTES    16384
#define LINGER_MS      2000

static int dial(const struct sockaddr_storage *address, int *ret, struct error *e)
{
	socklen_t size = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
							: sizeof(struct sockaddr_in);
	const struct timeval limit = { .tv_sec = ANSWER_SECONDS };
	/* A peer that went without a word is missed after a minute. */
	int on = 1, idle = 30, again = 10, tries = 3;
	cleanup(close) int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_errno(e, "make a socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &again, sizeof(again));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof(tries));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (const struct sockaddr *)address, size) < 0)
		return error_errno(e, "connect");
	*ret = TAKE_FD(fd);
	return 0;
}

static int check_pin(const SSL *ssl, const struct line_settings *settings, struct error *e)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned int length = 0;
	X509 *certificate = SSL_get1_peer_certificate(ssl);
	bool is_right = certificate &&
		X509_digest(certificate, EVP_sha256(), digest, &length) == 1 &&
		length == LINE_PIN_BYTES && CRYPTO_memcmp(digest, settings->pin, length) == 0;
	X509_free(certificate);
	return is_right ? 0
			: error_set(e, -EKEYREJECTED,
				  "who answers has another certificate than the daemon's");
}

/* Nothing is read beyond the answer's end: it is the agent's. */
static int upgrade(SSL *ssl, const struct line_settings *settings, struct error *e)
{
	char request[512], head[HEAD_MAX];
	size_t have = 0;
	int length = snprintf(request, sizeof(request),
		"GET /1.0/berth/agent HTTP/1.1\r\nHost: berth\r\nConnection: Upgrade\r\n"
		"Upgrade: berth-agent\r\nAuthorization: Bearer %s\r\n\r\n",
		settings->key);
	if (SSL_write(ssl, request, length) != length)
		return error_set(e, -EPIPE, "the daemon hung up");
	while (have < sizeof(head) - 1) {
		if (SSL_read(ssl, head + have, 1) != 1)
			return error_set(e, -EPIPE, "the daemon did not answer");
		head[++have] = '\0';
		if (have >= 4 && memcmp(head + have - 4, "\r\n\r\n", 4) == 0)
			break;
	}
	int status = line_answer_read(head);
	if (status != 101)
		return error_set(e, -EACCES, "the daemon does not take this key now (%d)", status);
	return 0;
}

int line_dial(SSL_CTX *context, const struct line_settings *settings,
	const struct sockaddr_storage *address, SSL **ret, struct error *e)
{
	int fd = -1;
	int r = dial(address, &fd, e);
	if (r < 0)
		return r;
	SSL *ssl = SSL_new(context);
	if (!ssl || SSL_set_fd(ssl, fd) != 1) {
		SSL_free(ssl);
		close(fd);
		return error_set(e, -ENOMEM, "no memory for TLS");
	}
	if (SSL_connect(ssl) != 1)
		r = error_set(e, -EPROTO, "TLS: %s",
			ERR_reason_error_string(ERR_peek_error()) ?: "the peer hung up");
	ERR_clear_error();
	if (r == 0)
		r = check_pin(ssl, settings, e);
	if (r == 0)
		r = upgrade(ssl, settings, e);
	if (r == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		r = error_errno(e, "the socket");
	if (r < 0) {
		line_drop(ssl);
		return r;
	}
	*ret = ssl;
	return 0;
}

void line_drop(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);
	SSL_free(ssl);
	close(fd);
}

/* What OpenSSL waits for; 0 if the connection is over. */
static int wanted(SSL *ssl, int r)
{
	int why = SSL_get_error(ssl, r);
	ERR_clear_error();
	return why == SSL_ERROR_WANT_READ ? POLLIN : why == SSL_ERROR_WANT_WRITE ? POLLOUT : 0;
}

int line_wait(SSL *ssl)
{
	char c;
	for (;;) {
		int r = SSL_peek(ssl, &c, 1);
		if (r > 0)
			return 1;
		struct pollfd poll_fd = { .fd = SSL_get_fd(ssl), .events = (short)wanted(ssl, r) };
		if (!poll_fd.events)
			return 0;
		if (poll(&poll_fd, 1, -1) < 0 && errno != EINTR)
			return 0;
	}
}

struct block {
	uint8_t bytes[BLOCK_BYTES];
	size_t length, at;
};

struct pump {
	SSL *ssl;
	int agent;
	struct block in, out;
	int net_events, agent_events; /* what is waited for */
	bool is_net_over, is_agent_over;
};

static bool has_rest(const struct block *block)
{
	return block->at < block->length;
}

/* Each: 1 something moved, 0 it waits, -1 the connection is broken. */

static int from_net(struct pump *pump)
{
	struct block *in = &pump->in;
	if (!has_rest(in) && !pump->is_net_over) {
		int n = SSL_read(pump->ssl, in->bytes, sizeof(in->bytes));
		int wants = n > 0 ? 0 : wanted(pump->ssl, n);
		pump->net_events |= wants;
		if (n <= 0 && wants)
			return 0;
		in->length = n > 0 ? (size_t)n : 0;
		in->at = 0;
		if (n <= 0) {
			pump->is_net_over = true;
			shutdown(pump->agent, SHUT_WR);
		}
		return 1;
	}
	if (!has_rest(in))
		return 0;
	ssize_t n = send(
		pump->agent, in->bytes + in->at, in->length - in->at, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0)
		in->at += (size_t)n;
	else if (errno == EAGAIN)
		pump->agent_events |= POLLOUT;
	else if (errno != EINTR)
		in->at = in->length; /* nobody reads it any more */
	return n != -1 || errno != EAGAIN;
}

static int from_agent(struct pump *pump)
{
	struct block *out = &pump->out;
	if (has_rest(out)) {
		int n = SSL_write(pump->ssl, out->bytes + out->at, (int)(out->length - out->at));
		int wants = n > 0 ? 0 : wanted(pump->ssl, n);
		pump->net_events |= wants;
		if (n <= 0)
			return wants ? 0 : -1;
		out->at += (size_t)n;
		return 1;
	}
	if (pump->is_agent_over)
		return 0;
	ssize_t n = recv(pump->agent, out->bytes, sizeof(out->bytes), MSG_DONTWAIT);
	if (n < 0 && errno == EINTR)
		return 1;
	if (n < 0 && errno == EAGAIN) {
		pump->agent_events |= POLLIN;
		return 0;
	}
	out->length = n > 0 ? (size_t)n : 0;
	out->at = 0;
	pump->is_agent_over = n <= 0;
	return 1;
}

/* So that the last words are not lost in a reset: what still comes is read and dropped. */
static void linger(const struct pump *pump)
{
	int fd = SSL_get_fd(pump->ssl);
	char dropped[1024];
	(void)SSL_shutdown(pump->ssl);
	ERR_clear_error();
	(void)shutdown(fd, SHUT_WR);
	for (;;) {
		struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
		if (poll(&poll_fd, 1, LINGER_MS) <= 0 || read(fd, dropped, sizeof(dropped)) <= 0)
			return;
	}
}

void line_pump(SSL *ssl, int agent)
{
	static struct pump pump;
	pump = (struct pump){ .ssl = ssl, .agent = agent };
	for (;;) {
		pump.net_events = pump.agent_events = 0;
		int in = from_net(&pump), out = from_agent(&pump);
		if (in < 0 || out < 0)
			return;
		if (pump.is_agent_over && !has_rest(&pump.out)) {
			linger(&pump);
			return;
		}
		if (in || out)
			continue;
		/* One that is not waited for would be told of for ever once it hung up. */
		struct pollfd fds[] = { { pump.net_events ? SSL_get_fd(ssl) : -1,
						(short)pump.net_events, 0 },
			{ pump.agent_events ? agent : -1, (short)pump.agent_events, 0 } };
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
	}
}
