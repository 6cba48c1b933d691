/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote.h - the TLS port (core.https_address) and the server's own certificate.
 */
#pragma once

#include <jansson.h>

#include "daemon/service.h"
#include "http/tls.h"

/* Where new connections go: dispatch_add(). */
typedef void remote_accept_call(void *data, int fd, struct tls_peer *peer);

/* Opens the port if there is to be one; one that can't be opened is a warning, not the end. */
int remote_start(
	struct service *service, remote_accept_call *accept, void *data, struct error *e) must_use;
/* No new connection. */
void remote_close(struct service *service);
void remote_stop(struct service *service);

/* The server's certificate, made at the first call; borrowed. */
int remote_certificate(
	struct service *service, const struct certificate **ret, struct error *e) must_use;
/* The same if there is one already, else NULL. */
const struct certificate *remote_known_certificate(const struct service *service);
/* An address and a port that somebody elsewhere can call: "192.0.2.1:8443", "[2001:db8::1]:8443". -EINVAL. */
int remote_check_destination(const char *text, struct error *e) must_use;
/* "192.0.2.1:8443", ...: where clients may come to; a new array, empty without a port. */
json_t *remote_addresses(const struct service *service) must_use;
