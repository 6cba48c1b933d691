/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.c - /1.0/instances/{name}/exec.
 */
#include "daemon/instance/exec.h"
#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/api/request_instance.h"

static int post_exec(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	struct operation *operation = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = exec_start(instance, request_json(request), &operation, e);
	return r < 0 ? r : reply_operation(request, operation);
}

const struct route exec_routes[] = {
	{ "POST", "/1.0/instances/{name}/exec", REQUEST_JSON, post_exec, 0 },
	{},
};
