/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.c - /1.0/berth/agent: where the agent of a server's system calls, with the key of its instance and for
 * nothing else. To anybody else it says no.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/server/line.h"

#define PROTOCOL "berth-agent"
#define SCHEME   "Bearer "
#define KEY_MAX  128

struct call {
	struct service *service;
	char key[KEY_MAX];
};

/* Between the answer and now the server may have gone another way. */
static void upgraded(void *data, int fd, const void *early, size_t early_length)
{
	struct call *call = data;
	struct server *server = fd < 0 ? NULL : server_line_find(call->service, call->key);
	(void)early;
	/* Helpers wait on it: it may block them. */
	int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);
	bool is_good = server && early_length == 0 && flags >= 0 &&
		fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0;
	if (is_good)
		server_line_park(server, fd);
	else if (fd >= 0)
		close(fd);
	explicit_bzero(call->key, sizeof(call->key));
	free(call);
}

static int get_agent(struct service *service, struct request *request, struct error *e)
{
	const char *given = request_header(request, "Authorization");
	const char *key = given && text_starts(given, SCHEME) ? given + strlen(SCHEME) : "";
	size_t length = strlen(key);
	const struct server *server = length < KEY_MAX ? server_line_find(service, key) : NULL;
	if (!server)
		return error_set(e, -EACCES, "not authorized");
	if (!text_equal(request_header(request, "Upgrade"), PROTOCOL))
		return error_set(e, -EINVAL, "Upgrade: must be " PROTOCOL);
	struct call *call = alloc(struct call);
	call->service = service;
	memcpy(call->key, key, length + 1);
	int r = reply_upgrade(request, PROTOCOL, upgraded, call, e);
	if (r < 0) {
		explicit_bzero(call->key, sizeof(call->key));
		free(call);
		return r;
	}
	log_debug("an agent called server=%s", server->name);
	return 0;
}

const struct route agent_routes[] = {
	{ "GET", "/1.0/berth/agent", REQUEST_NONE, get_agent, ROUTE_NO_PROJECT },
	{},
};
