/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rescue.h - a shell for the owner of a server whose own system does not come up.
 */
#pragma once

#include "agent/task.h"

/* On the console, and by ssh if there are keys; both for as long as the agent runs. */
int rescue_start(const struct task *task, struct error *e) must_use;

/*
 * The server's port is moved into its owner's network: from now on somebody else gives it its address, and the daemon is
 * out of reach. Does not return.
 */
_Noreturn void rescue_move(const char *mac);
