/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote.h - the public API as one server speaks it: paths, envelopes, errors.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"
#include "http/client.h"

struct remote;

struct remote_options {
	const char *server;  /* "https://..." or NULL: the local daemon's socket */
	const char *project; /* or NULL: what the server takes for the default */
	bool is_traced;      /* each request on standard error */
};

static inline void json_decref_cleanup(json_t **json)
{
	json_decref(*json);
}

/* What a server answers. */
struct answer {
	int status;
	json_t *metadata;
	char *operation; /* "/1.0/operations/UUID" of a request that goes on, else NULL */
	char *etag;
	struct client_response response;
};

void answer_done(struct answer *answer);
static inline void answer_done_cleanup(struct answer *local)
{
	answer_done(local);
}

/*
 * Finds the server: `server`, else the socket of $BERTH_SOCKET, $BERTH_DIR/unix.socket or
 * /var/lib/berth/unix.socket. For https the files client.crt, client.key and server.crt of
 * $BERTH_CONFIG_DIR (~/.config/berth). Connects to nobody yet.
 */
int remote_open(
	const struct remote_options *options, struct remote **ret, struct error *e) must_use;
void remote_free(struct remote *remote);
DEFINE_CLEANUP(struct remote *, remote_free);

struct client *remote_client(struct remote *remote);

/* True once a connection was refused: there is no daemon. */
bool remote_is_absent(const struct remote *remote);

/*
 * Sends the request (`target` of it is a path without the project) and reads the envelope. An error of
 * the server is an errno with its sentence: 404 -ENOENT, 401 and 403 -EACCES, 409 -EEXIST, 412 -ESTALE,
 * 4xx -EINVAL, else -EIO. A body that was streamed or is not JSON has no metadata.
 */
int remote_send(struct remote *remote, const struct client_request *request, struct answer *ret,
	struct error *e) must_use;

/* "/1.0/instances/%s" with each argument (only %s) percent-encoded. */
char *path_format(const char *format, ...) must_use printf_like(1, 2);

/* Adds "?name=value" or "&name=value", encoded; takes `path` and returns the new one. */
char *path_query(char *path, const char *name, const char *value) must_use;
