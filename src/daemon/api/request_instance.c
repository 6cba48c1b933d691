/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request_instance.c - finds it, and keeps requests in its queue.
 */
#include "daemon/api/request_instance.h"

#include "daemon/dispatch.h"
#include "daemon/instance/turn.h"

int request_instance(
	struct service *service, struct request *request, struct instance **ret, struct error *e)
{
	return instance_get(
		service, request_project(request), request_param(request, "name"), ret, e);
}

struct waiting {
	struct request *request;
	struct turn *turn;
};

static void client_gone(void *data)
{
	struct waiting *waiting = data;
	turn_leave(waiting->turn);
	free(waiting);
}

static void my_turn(void *data, struct instance *instance, int code, const struct error *e)
{
	struct waiting *waiting = data;
	struct request *request = waiting->request;
	(void)instance;
	free(waiting);
	request->is_deferred = false;
	request->gone = NULL;
	request->has_turn = true;
	if (code < 0)
		reply_error(request, code, e);
	else
		dispatch_again(request);
}

bool request_waits(struct request *request, struct instance *instance)
{
	if (request->has_turn ? !instance->doing : !turn_is_needed(instance))
		return false;
	struct waiting *waiting = alloc(struct waiting);
	waiting->request = request;
	waiting->turn = turn_wait(instance,
		&(struct turn_options){
			.limit_ns = TURN_LIMIT_NS, .call = my_turn, .data = waiting });
	request_defer(request, client_gone, waiting);
	return true;
}
