/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch.h - from HTTP to a handler: finds the route, checks who asks, reads the body.
 */
#pragma once

#include "daemon/api.h"

struct dispatch;

struct dispatch_options {
	int listen_fd; /* taken */
	const struct route *const
		*routes; /* tables, each with a NULL method last; a NULL table last */
	gid_t group;     /* whose members are trusted, or (gid_t)-1 */
};

int dispatch_new(struct service *service, const struct dispatch_options *options,
	struct dispatch **ret, struct error *e) must_use;
/* One more connection, of the TLS port; takes both. */
void dispatch_add(struct dispatch *dispatch, int fd, struct tls_peer *peer);
/* No new connection; requests that are there go on. */
void dispatch_close(struct dispatch *dispatch);
void dispatch_free(struct dispatch *dispatch);
DEFINE_CLEANUP(struct dispatch *, dispatch_free);

/* Calls the handler once more, of a request that it deferred without having changed anything. */
void dispatch_again(struct request *request);

/*
 * True if `path` (encoded) is an instance of `pattern`; its parameters are decoded into `params` then,
 * which hold REQUEST_PARAMS_MAX.
 */
bool dispatch_match(
	const char *pattern, const char *path, struct request_param *params, size_t *ret_count);
