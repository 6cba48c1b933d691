/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access.h - what a client of the TLS port may ask.
 *
 * Who comes through the unix socket may ask everything. Of the others, a trusted certificate may too,
 * unless it is restricted: then it sees its projects and what they need of the host, and may not ask for
 * what would give it the host (a privileged container, a path or a device of the host). Whoever is not
 * known may ask what this server is and show a token. What no table names is refused.
 */
#pragma once

#include "daemon/api.h"

/* Sets request->client from the certificate. The route need not be known yet. */
void access_read(struct service *service, struct request *request);
/* Once the route is known. -EACCES. */
int access_check(struct service *service, struct request *request, struct error *e) must_use;
/* Once the body is there, for a restricted client. -EACCES with the field. */
int access_check_body(struct service *service, struct request *request, struct error *e) must_use;
