/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.c - the serial line that a server's berth-metal has.
 *
 * A serial line has no size: what a client says of its own is not passed on.
 */
#include "daemon/server/console.h"

#include <errno.h>

#include "base/text.h"
#include "daemon/instance/terminal.h"
#include "daemon/server/bmc.h"
#include "model/json.h"

/* The server may be gone meanwhile: it is found by its name. */
struct line {
	struct service *service;
	char *name;
	bool is_forced;
};

static void attached(void *data, int code, json_t *answer, const struct error *e)
{
	(void)answer;
	terminal_attached(data, code, e);
}

static int attach(void *data, struct terminal *terminal, int fd, struct error *e)
{
	const struct line *line = data;
	struct server *server = server_find(line->service, line->name);
	if (!server)
		return error_set(e, -ENOENT, "The server is gone");
	return server_bmc_attach(server, fd, line->is_forced, attached, terminal, e);
}

static void forget(void *data, struct terminal *terminal)
{
	struct line *line = data;
	struct server *server = server_find(line->service, line->name);
	if (server)
		server_bmc_unask(server, terminal);
	free(line->name);
	free(line);
}

int server_console_start(struct server *server, const char *project, json_t *resources,
	bool is_forced, struct operation **ret, struct error *e)
{
	static const struct terminal_source source = { attach, NULL, forget };
	cleanup(json_decref) json_t *owned = resources;
	if (!server->bmc)
		return error_set(e, -ENOTCONN, "%s: no BMC is known of it", server->name);
	struct line *line = alloc(struct line);
	*line = (struct line){ server->service, alloc_text(server->name), is_forced };
	*ret = terminal_start(server->service,
		&(struct terminal_options){ &source, line, project, TAKE_PTR(owned) });
	return 0;
}
