/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal.h - a container's terminal: sent to who wants it, or pumped to our own.
 */
#pragma once

#include "base/error.h"

/* Sends the descriptor over the unix socket at `path`. */
int terminal_send(const char *path, int terminal, struct error *e) must_use;

/*
 * Waits for the child `pidfd` and passes signals on; with a terminal (-1: none) pumps it to our standard
 * input and output, which are made raw. *ret is the wait status. Closes `terminal`.
 */
int terminal_wait(int terminal, int pidfd, int *ret, struct error *e) must_use;
