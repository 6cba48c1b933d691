/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line_tls.h - a TLS connection to a server that is known by its certificate's fingerprint alone. By OpenSSL.
 */
#pragma once

#include <openssl/ssl.h>

#include "agent/line_settings.h"

/*
 * Connects, shakes hands, compares the certificate, asks for the upgrade: what follows is the agent's protocol. The
 * socket is non-blocking then. -EKEYREJECTED if the certificate is another one; -EACCES if the daemon says no.
 */
int line_dial(SSL_CTX *context, const struct line_settings *settings,
	const struct sockaddr_storage *address, SSL **ret, struct error *e) must_use;
/* Closes the socket, says nothing. */
void line_drop(SSL *ssl);

/* Waits until the daemon says something. 1, or 0 if the connection is over. */
int line_wait(SSL *ssl);
/* Both ways, until one side has ended and what it said is on its way. */
void line_pump(SSL *ssl, int agent);
