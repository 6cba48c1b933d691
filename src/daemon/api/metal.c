/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metal.c - what only an instance on a server of its own can: rescue.
 */
#include <errno.h>

#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/api/request_instance.h"
#include "daemon/server/instance.h"
#include "daemon/task.h"
#include "model/json.h"

static int of_request(
	struct service *service, struct request *request, struct instance **ret, struct error *e)
{
	int r = request_instance(service, request, ret, e);
	if (r == 0 && !((*ret)->kind->can & KIND_IS_SERVER))
		r = error_set(e, -EOPNOTSUPP, "A %s has no server of its own", (*ret)->kind->name);
	return r;
}

static int reply_task(struct request *request, struct task *task, int r,
	const struct instance *instance, const char *description)
{
	return task_reply(task, r, request,
		&(struct operation_options){ .description = description,
			.project = instance ? instance->project : NULL,
			.resources = instance ? instance_resources(instance) : NULL });
}

/* {"end": false} */
static int post_rescue(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	bool is_end = false;
	int r = of_request(service, request, &instance, e);
	if (r == 0)
		r = json_read_bool(request_json(request), "", "end", &is_end, e);
	if (r < 0)
		return r;
	if (request_waits(request, instance))
		return 0;
	struct task *task = task_new(service);
	r = is_end ? server_instance_unrescue(instance, task_done, task, e)
		   : server_instance_rescue(instance, task_done, task, e);
	return reply_task(
		request, task, r, instance, is_end ? "Ending the rescue" : "Rescuing instance");
}

const struct route metal_routes[] = {
	{ "POST", "/1.0/instances/{name}/rescue", REQUEST_JSON, post_rescue, 0 },
	{},
};
