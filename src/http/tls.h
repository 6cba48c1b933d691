/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls.h - a TLS port on the event loop: each connection that has shaken hands becomes a plain socket.
 *
 * Any client certificate is taken, or none; whose it is, and what that means, is for the owner to say.
 */
#pragma once

#include <sys/socket.h>

#include "base/loop.h"
#include "http/certificate.h"

/* Who is at the other end. */
struct tls_peer {
	struct sockaddr_storage address;
	char *certificate; /* PEM; NULL if there was none, or one that is not valid now */
	char fingerprint[FINGERPRINT_SIZE];
};

void tls_peer_free(struct tls_peer *peer);
DEFINE_CLEANUP(struct tls_peer *, tls_peer_free);

struct tls_options {
	int listen_fd;           /* taken, also on failure */
	const char *certificate; /* the server's, PEM */
	const char *key;
	uint32_t connection_limit;
	uint64_t handshake_timeout_ns;
	/* A connection: its plain end and its peer, both the callee's. */
	void (*accepted)(void *data, int fd, struct tls_peer *peer);
	void *data;
};

struct tls_server;

int tls_server_new(struct loop *loop, const struct tls_options *options, struct tls_server **ret,
	struct error *e) must_use;
/* No new connection; those that are there go on. */
void tls_server_stop(struct tls_server *server);
/* How many connections there are. */
uint32_t tls_server_count(const struct tls_server *server);
/* Drops all connections. */
void tls_server_free(struct tls_server *server);
DEFINE_CLEANUP(struct tls_server *, tls_server_free);
