/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console_request.h - what a runner of any kind is asked about its console.
 */
#pragma once

#include "runner/console.h"
#include "runner/control.h"

/*
 * Answers RUNNER_ATTACH, RUNNER_CONSOLE_LOG and RUNNER_CONSOLE_CLEAR; any other request is false and untouched.
 * `console` is NULL for an instance that has none. The descriptors of what is answered are owned from now on.
 */
bool console_request(struct console *console, struct control_peer *peer,
	const struct runner_header *request, const int *fds, size_t fd_count) must_use;
