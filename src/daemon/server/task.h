/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.h - the lines that berthd and the deploy agent exchange (agent/deploy.h).
 */
#pragma once

#include "daemon/server/servers.h"

/* The task `name` of the server, with the serial of its stored task; the caller owns it. */
char *server_task_lines(const struct server *server, const char *name) must_use;

/* "erased DISK METHOD MS BYTES" lines as the record of an erasure: an array. */
json_t *server_task_erased(const char *lines) must_use;

/* The rest of the line that begins with `word`, at most 100 bytes that can be shown; NULL. The caller owns it. */
char *server_task_word(const char *lines, const char *word) must_use;
