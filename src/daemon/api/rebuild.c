/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rebuild.c - POST /1.0/instances/{name}/rebuild.
 */
#include <errno.h>

#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/api/request_instance.h"
#include "daemon/instance/rebuild.h"
#include "daemon/task.h"
#include "model/json.h"

/* {"source": {"type": "image", "alias" or "fingerprint"}} or {"source": {"type": "none"}} */
static int post_rebuild(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	json_t *source = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = json_read_object(request_json(request), "", "source", &source, e);
	if (r < 0)
		return r;
	if (!source)
		return error_set(e, -EINVAL, "source: is missing");
	if (request_waits(request, instance))
		return 0;
	struct task *task = task_new(service);
	r = instance_rebuild(instance, source, task_done, task, e);
	return task_reply(task, r, request,
		&(struct operation_options){ .description = "Rebuilding instance",
			.project = instance->project,
			.resources = instance_resources(instance) });
}

const struct route rebuild_routes[] = {
	{ "POST", "/1.0/instances/{name}/rebuild", REQUEST_JSON, post_rebuild, 0 },
	{},
};
