/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.h - a client at the serial console of a server.
 */
#pragma once

#include "daemon/operation.h"
#include "daemon/server/servers.h"

/* *ret is the operation, whose sockets are 0 and control. `project` is whose it is; `resources` is stolen. */
int server_console_start(struct server *server, const char *project, json_t *resources,
	bool is_forced, struct operation **ret, struct error *e) must_use;
