/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage.h - what a server's system uses, as the agent in it says: numbers that nobody can check.
 */
#pragma once

#include "abi/agent.h"
#include "daemon/api.h"
#include "daemon/instance/instances.h"

/*
 * `reply` answers the request: at once, or, for a server whose agent is there, when that has told what is used now or was
 * too slow.
 */
int server_usage_reply(struct instance *instance, struct request *request,
	int (*reply)(struct instance *instance, struct request *request)) must_use;

/* What was answered in the last minute, for an instance that runs; false if nothing was. */
bool server_usage_last(const struct instance *instance, struct agent_usage *ret);
